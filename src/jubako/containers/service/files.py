"""The files of containers: in, out, compared, and made into images."""

from __future__ import annotations

from contextlib import nullcontext

from jubako.containers.events import report
from jubako.containers.service.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

    from jubako.containers.files.places import PathStat
    from jubako.containers.files.transfer import Archive, Copied
    from jubako.images.stream import Readable


class Files(Part):
    """Copy, diff, export, commit."""

    def stat_path(self, reference: str, path: str) -> PathStat:
        """What is at a path in it, whether it runs or not; a last link is not followed.

        Raises NotFound (the container, the file), InvalidArgument.
        """
        from jubako.containers.files import transfer

        self._recover()
        return transfer.stat_path(self._services, reference, path)

    def get_archive(
        self, reference: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStat, Archive]:
        """A file or directory of it as a tar: a readable stream and an iterable, to be closed.

        Names begin with the path's last component; of `DIR/.` with `./`.  Volumes, binds and, of a
        running container, what it has in memory are there; /proc, /sys and their kin look empty.
        While the stream of a container that does not run is open, it cannot be started.
        follow_link: what a link at `path` leads to, instead of the link.
        Raises NotFound, InvalidArgument.
        """
        from jubako.containers.files import transfer

        self._recover()
        return transfer.get_archive(self._services, reference, path, follow_link=follow_link)

    def put_archive(self, reference: str, path: str, stream: Readable) -> None:
        """Unpack a tar, plain or compressed, into a directory of it, with the archive's owners.

        A directory is never replaced by something else nor the other way round.  After an error
        what was unpacked before stays.
        Raises NotFound (the directory), InvalidArgument (no directory, read-only, a bad archive).
        """
        from jubako.containers.files import transfer

        self._recover()
        transfer.put_archive(self._services, reference, path, stream)

    def copy_from(
        self,
        reference: str,
        path: str,
        destination: str,
        *,
        follow_link: bool = False,
        archive: bool = False,
    ) -> Copied:
        """Copy a file or directory of it to the host, by the rules of `docker cp`.

        follow_link: if `path` is a link, copy what it names.  archive: keep the owners; else the
        files belong to the caller.
        Raises NotFound, InvalidArgument in Docker's words, KernelError.
        """
        from jubako.containers.files import transfer

        self._recover()
        return transfer.copy_from(
            self._services, reference, path, destination, follow_link=follow_link, archive=archive
        )

    def copy_matching(
        self,
        reference: str,
        pattern: str,
        destination: str,
        *,
        follow_link: bool = False,
        archive: bool = False,
    ) -> Copied:
        """Copy everything that matches a pattern to a directory of the host; see `copy_from`.

        pattern: a path whose last component may hold `*`, `?` and `[...]`, as in a shell.
        Raises NotFound (nothing matches), InvalidArgument (the destination is no directory).
        """
        from jubako.containers.files import transfer

        self._recover()
        return transfer.copy_matching(
            self._services,
            reference,
            pattern,
            destination,
            follow_link=follow_link,
            archive=archive,
        )

    def copy_to(
        self, reference: str, source: str | Readable, path: str, *, follow_link: bool = False
    ) -> Copied:
        """Copy a file or directory of the host into it, with its owners; see `copy_from`.

        source: a path, or a tar to unpack into a directory.
        """
        from jubako.containers.files import transfer

        self._recover()
        return transfer.copy_to(self._services, reference, source, path, follow_link=follow_link)

    def changes(self, reference: str) -> Sequence[dict[str, Any]]:
        """What it has changed in the files of its image: `Path` and `Kind` (0 changed, 1 added,
        2 deleted), sorted, parents first."""
        from jubako.containers.files.diff import changes

        return changes(self._services, self._get(reference))

    def export(self, reference: str, out: BinaryIO) -> None:
        """Write its root filesystem to `out` as a tar, without its volumes."""
        from jubako.containers.files.archive import export

        container = self._get(reference)
        export(self._services, container, out)
        report(self._services.store, container.record, "export")

    def commit(
        self,
        reference: str,
        target: str | None = None,
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of what it is now; returns the image's ID.

        target: the new image's name.  changes: Dockerfile instructions on its config.
        pause: freeze it meanwhile if it runs.
        """
        from jubako.containers.files.archive import commit

        container = self._get(reference)
        with self._lifecycle.frozen(container.id) if pause else nullcontext():
            return commit(
                self._services, container, target, author=author, message=message, changes=changes
            )
