"""`image verify`: is everything that images are made of on disk, and is it what its digest says?

What is looked at, of some images or of all: configs, the lists of layers, manifests, kept blobs,
layers; of all images also what belongs to none.  Repairs are those of `repairing`.
"""

from __future__ import annotations

import os

from jubako.errors import IntegrityError, NotFound
from jubako.images import records
from jubako.images.layers.temporary import temporary_directory
from jubako.images.lazy.places import is_arriving, refuse_arriving
from jubako.images.verifying.checking import Checker, Damage
from jubako.linux.removal import remove_tree
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jubako.images import ImageService

    Check = Callable[[], Damage | None]

CONFIG, LAYERS, MANIFEST, BLOB, LAYER, ORPHAN = (
    *("config", "layer list", "manifest", "blob", "layer", "orphan"),
)
_MAX_DOCUMENT_BYTES = 4 << 20  # of a config or a manifest


class Finding:
    """Something that is damaged, missing, or there for nothing.

    kind: `config`, `layer list`, `manifest`, `blob` or `layer`; `orphan` is no damage.
    subject: its digest, or a directory.  images: names, or short IDs, of those that need it.
    problem: what is wrong.  whole_tar: of a layer, whose exact tar can still be read.
    repaired: whether all is well again.  remedy: what was done, or what to do about it.
    """

    __slots__ = __match_args__ = (
        *("kind", "subject", "image_ids", "images", "problem", "whole_tar", "repaired", "remedy"),
    )

    def __init__(self, kind: str, subject: str, image_ids: Sequence[str], damage: Damage):
        self.kind = kind
        self.subject = subject
        self.image_ids = tuple(image_ids)
        self.images: tuple[str, ...] = ()
        self.problem = damage.text
        self.whole_tar = damage.whole_tar
        self.repaired = False
        self.remedy = ""


def verify(images: ImageService, references: Sequence[str], *, repair: bool) -> list[Finding]:
    """See `ImageService.verify`."""
    from jubako.images.verifying.repairing import Repair

    chosen = [images.resolve(reference) for reference in references]
    for image_id in chosen:
        refuse_arriving(images.store, images.diff_ids(image_id), f"verify {image_id}")
    # With the lock of the session nothing is deleted, neither by others.
    with images.session() as session:
        findings = _Verification(images, chosen).run()
        work = Repair(images, session, findings)
        for finding in findings:
            finding.images = tuple(work.name(image_id) for image_id in finding.image_ids)
            if repair:
                work.repair(finding)
            else:
                finding.remedy = work.advice(finding)
    if repair:
        images.collect()
        images.store.flush()
    return findings


class _Verification:
    """chosen: IDs of images; none is all, and what belongs to none."""

    def __init__(self, images: ImageService, chosen: Sequence[str]):
        self._images = images
        self._everything = not chosen
        query = "SELECT id FROM images ORDER BY id"
        self._ids = chosen or [row[0] for row in images.store.db.execute(query)]
        self._checks: list[tuple[str, str, list[str], Check]] = []

    def run(self) -> list[Finding]:
        scratch, lock = temporary_directory(self._images.store, f"{self._images.store.path}/layers")
        try:
            self._plan(Checker(self._images.content, self._images.layers, scratch))
            found = self._execute()
        finally:
            remove_tree(scratch)
            os.close(lock)
        return found + (self._orphans() if self._everything else [])

    # --- what there is to check; only this looks into the database --------------------------------

    def _plan(self, checker: Checker) -> None:
        of_layer: dict[str, list[str]] = {}
        of_manifest: dict[str, list[str]] = {}
        for image_id in dict.fromkeys(self._ids):
            row = records.row(self._images.store, image_id)
            diff_ids = records.diff_ids(self._images.store, image_id)
            if is_arriving(self._images.store, diff_ids):
                continue  # all of it is verified when it has arrived
            config = row["config"].encode()
            self._add(CONFIG, image_id, [image_id], self._config(Digest(image_id), config))
            self._add(LAYERS, image_id, [image_id], self._list(config, diff_ids))
            for diff_id in diff_ids:
                users = of_layer.setdefault(diff_id, [])
                if image_id not in users:
                    users.append(image_id)
            query = "SELECT digest FROM manifests WHERE image_id = ?"
            for (digest,) in self._images.store.db.execute(query, (image_id,)):
                of_manifest.setdefault(digest, []).append(image_id)
        for digest, users in of_manifest.items():
            self._add(MANIFEST, digest, users, self._document(Digest(digest)))
        for diff_id, users in of_layer.items():
            self._add(LAYER, diff_id, users, self._layer(checker, diff_id))
            for blob in self._images.blobs.of_layer(Digest(diff_id)):
                if self._images.content.exists(blob.digest):
                    self._add(BLOB, blob.digest, users, self._blob(checker, blob.digest))

    def _add(self, kind: str, subject: str, users: Sequence[str], check: Check) -> None:
        self._checks.append((kind, subject, list(users), check))

    def _config(self, image_id: Digest, config: bytes) -> Check:
        if Digest.of(config) != image_id:
            damage = Damage("the config in the database has another digest")
            return lambda: damage
        return self._document(image_id)

    @staticmethod
    def _list(config: bytes, diff_ids: Sequence[str]) -> Check:
        from jubako.images.config_check import parse_config

        def check() -> Damage | None:
            wanted = parse_config(config, "config")["rootfs"]["diff_ids"]
            if [*wanted] == [*diff_ids]:
                return None
            return Damage("the database lists other layers than the config")

        return check

    def _document(self, digest: Digest) -> Check:
        def check() -> Damage | None:
            try:
                self._images.content.read(digest, _MAX_DOCUMENT_BYTES)
            except (NotFound, IntegrityError) as exc:
                return Damage(str(exc))
            return None

        return check

    def _layer(self, checker: Checker, diff_id: str) -> Check:
        if not self._images.layers.exists(diff_id):
            damage = Damage("it was damaged and given up")
            return lambda: damage
        return lambda: checker.layer(diff_id)

    @staticmethod
    def _blob(checker: Checker, digest: Digest) -> Check:
        return lambda: checker.blob(digest)

    # --- the work ---------------------------------------------------------------------------------

    def _execute(self) -> list[Finding]:
        from concurrent.futures import ThreadPoolExecutor

        def run(planned: tuple[str, str, list[str], Check]) -> Finding | None:
            kind, subject, users, check = planned
            damage = check()
            return None if damage is None else Finding(kind, subject, users, damage)

        threads = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(threads, "verify") as pool:
            return [finding for finding in pool.map(run, self._checks) if finding is not None]

    def _orphans(self) -> list[Finding]:
        from jubako.images.removing.garbage import orphans

        damage = Damage("no image needs it")
        return [Finding(ORPHAN, subject, [], damage) for subject in orphans(self._images)]
