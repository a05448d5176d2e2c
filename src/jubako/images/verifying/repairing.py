"""Making damaged parts of images good again from what else is there, or saying what is lost."""

from __future__ import annotations

from jubako.errors import IntegrityError, JubakoError, NotFound
from jubako.images import records
from jubako.images.stream import LayerStream
from jubako.images.verifying.verification import BLOB, CONFIG, LAYER, LAYERS, MANIFEST, ORPHAN
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jubako.images import ImageService
    from jubako.images.layers.session import Session
    from jubako.images.verifying.verification import Finding

    Buffer = bytes | memoryview

_SHORT = 12  # digits of an ID
_FREE = "`jubako image prune` frees it"


class Repair:
    """The repairs of one verification.  findings: all of it, to know what is not damaged."""

    def __init__(self, images: ImageService, session: Session, findings: Sequence[Finding]):
        self._images = images
        self._session = session
        self._damaged = {finding.subject for finding in findings}

    # --- words ------------------------------------------------------------------------------------

    def name(self, image_id: str) -> str:
        """A name of an image, or its short ID."""
        names = records.references(self._images.store.db, image_id)
        tags = [name for name in names if name.digest is None]
        chosen = (tags or names)[:1]
        return chosen[0].familiar() if chosen else image_id.partition(":")[2][:_SHORT]

    def advice(self, finding: Finding) -> str:
        """What the user can do about it."""
        if finding.kind == ORPHAN:
            return _FREE
        if finding.kind == LAYER and not self._sources(finding):
            return self._again(finding)
        if finding.kind == MANIFEST:
            return self._again(finding)
        return "`jubako image verify --repair` makes it good"

    def _again(self, finding: Finding) -> str:
        """How what is lost comes back."""
        db = self._images.store.db
        for image_id in finding.image_ids:
            names = records.references(db, image_id)
            digests = [name for name in names if name.digest is not None]
            repositories = {name.name for name in digests}
            tags = [name for name in names if name.digest is None and name.name in repositories]
            for name in (tags or digests)[:1]:
                return f"`jubako pull {name.familiar()}` fetches it again"
        return "it is lost here: load, import or build the image again"

    # --- deeds ------------------------------------------------------------------------------------

    def repair(self, finding: Finding) -> None:
        """Do what can be done; `repaired` and `remedy` then say what came of it."""
        work: dict[str, Callable[[Finding], None]] = {
            CONFIG: self._config,
            LAYERS: self._list,
            MANIFEST: self._manifest,
            BLOB: self._blob,
            LAYER: self._layer,
            ORPHAN: self._orphan,
        }
        try:
            work[finding.kind](finding)
        except JubakoError as exc:
            finding.remedy = f"the repair failed: {exc}; {self._again(finding)}"

    @staticmethod
    def _orphan(finding: Finding) -> None:
        _done(finding, "freed")  # when all repairs are done: it takes the lock alone

    def _config(self, finding: Finding) -> None:
        store, content, image_id = self._images.store, self._images.content, finding.subject
        data = records.row(store, image_id)["config"].encode()
        if Digest.of(data) == image_id:
            content.remove(Digest(image_id))
            content.write(data)
            return _done(finding, "written again from the database")
        data = content.read(Digest(image_id), 4 << 20)
        with store.transaction() as db:
            db.execute("UPDATE images SET config = ? WHERE id = ?", (data.decode(), image_id))
        return _done(finding, "read again from its blob")

    def _list(self, finding: Finding) -> None:
        image_id = finding.subject
        config = records.config_of(records.row(self._images.store, image_id))
        with self._images.store.transaction() as db:
            db.execute("DELETE FROM image_layers WHERE image_id = ?", (image_id,))
            db.executemany(
                "INSERT INTO image_layers (image_id, position, diff_id) VALUES (?, ?, ?)",
                [(image_id, *pair) for pair in enumerate(config["rootfs"]["diff_ids"])],
            )
        _done(finding, "read again from the config; verify once more")

    def _manifest(self, finding: Finding) -> None:
        self._images.content.remove(Digest(finding.subject))
        finding.remedy = self._again(finding)

    def _blob(self, finding: Finding) -> None:
        """The layer is what counts: a blob of it is for sending, and for repairs like these."""
        digest, content = Digest(finding.subject), self._images.content
        content.remove(digest)
        try:
            with content.ingest() as ingest:
                for piece in self._images.blobs.open(digest):
                    ingest.write(piece)
                ingest.commit(digest)
        except (NotFound, IntegrityError):
            return _done(finding, "deleted: a push compresses the layer anew")
        return _done(finding, "made again of the layer")

    def _layer(self, finding: Finding) -> None:
        for source, what in self._sources(finding):
            with LayerStream(source) as stream:
                staged = self._session.unpack(stream)
            if staged.diff_id == finding.subject:
                self._session.replace(staged)
                self._damaged.discard(finding.subject)
                return _done(finding, f"made again of {what}")
            self._session.discard(staged)
        # Without its row the next pull or load that has the layer puts it in this one's place.
        with self._images.store.transaction() as db:
            db.execute("DELETE FROM layers WHERE diff_id = ?", (finding.subject,))
        finding.remedy = self._again(finding)

    def _sources(self, finding: Finding) -> list[tuple[Iterator[Buffer], str]]:
        """Where the bytes of a layer can be read."""
        diff_id = Digest(finding.subject)
        found: list[tuple[Iterator[Buffer], str]] = []
        if finding.whole_tar:
            copies = map(bytes, self._images.layers.archive(diff_id))  # read ahead, on a thread
            found.append((copies, "its own tar"))
        for blob in self._images.blobs.of_layer(diff_id):
            if blob.digest not in self._damaged and self._images.content.exists(blob.digest):
                found.append((iter(self._images.content.stream(blob.digest)), f"{blob.digest}"))
        return found


def _done(finding: Finding, remedy: str) -> None:
    finding.repaired = True
    finding.remedy = remedy
