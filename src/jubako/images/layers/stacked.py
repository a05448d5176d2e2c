"""What a stack of layers shows as one file system, as a tar, without mounting it.

By the rules of overlayfs: the topmost level that has a name decides, directories of all levels are
one, down to an opaque one, and a whiteout hides what is below.  To walk through a mount instead
costs five times as much: each file would become an inode of two file systems, for one look.
"""

from __future__ import annotations

import struct

from jubako.errors import IntegrityError, KernelError
from jubako.images.layers.erofs.format import DIRECTORY
from jubako.images.layers.levels import DirectoryLevel, IndexLevel
from jubako.images.layers.tree import become_hard_link
from jubako.images.tar import TarWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from jubako.images.layers import Layer
    from jubako.images.layers.levels import Level, Name
    from jubako.images.tar import Entry

    Buffer = bytes | memoryview
    Part = tuple[int, int]  # of a directory: the level, and its number there
    Found = tuple[int, Name]

_TOGETHER_BYTES = 1 << 18  # small files are written together


class StackTar:
    """An iterable of buffers, which nobody changes any more; a context manager.

    stack: the layers, the topmost first.  upper: a directory above them, or None.
    Names are sorted, there is no entry for the root, sockets are left out, as in `TreeTar`.
    Raises IntegrityError (a damaged layer), KernelError.
    """

    def __init__(self, stack: Sequence[Layer], upper: str | None):
        self._levels: list[Level] = []
        self._what = ", ".join(layer.directory for layer in stack)
        try:
            if upper is not None:
                self._levels.append(DirectoryLevel(upper, changing=True))
            for layer in stack:
                if layer.driver == "erofs":
                    self._levels.append(IndexLevel(layer.directory))
                else:
                    self._levels.append(DirectoryLevel(layer.tree, changing=False))
        except BaseException as exc:
            self.close()
            self._explain(exc)
            raise
        self._links: dict[tuple[int, Hashable], bytes] = {}
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0
        self._writer = TarWriter(self._waiting.append)

    def __enter__(self) -> StackTar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the levels; idempotent."""
        while self._levels:
            self._levels.pop().close()

    def __iter__(self) -> Iterator[Buffer]:
        try:
            for level, path, name, shown in self._walk():
                yield from self._tell(level, path, name, shown)
            self._writer.close()
            yield self._take()
        except Exception as exc:
            self._explain(exc)
            raise

    def _explain(self, exc: BaseException) -> None:
        if isinstance(exc, KernelError):
            raise exc
        if isinstance(exc, OSError):
            raise KernelError.from_oserror("read layer", exc) from exc
        if isinstance(exc, (ValueError, LookupError, struct.error)):
            raise IntegrityError(
                f"the index of a layer is damaged: {exc}: {self._what[:400]}",
                hint="check the layers: jubako image verify",
            ) from exc

    # --- which names -----------------------------------------------------------------------------

    def _walk(self) -> Iterator[tuple[int, bytes, Name, bytes]]:
        """Level, directory, name and whole path of everything that shows, in order."""
        waiting = [self._directory(b"", [(level, 0) for level in range(len(self._levels))])]
        while waiting:
            step = next(waiting[-1], None)
            if step is None:
                waiting.pop()
                continue
            path, shown, found = step
            level, name = found[0]
            yield level, path, name, shown
            if name[1] == DIRECTORY:
                waiting.append(self._directory(shown, self._parts(shown, found)))

    def _directory(
        self, path: bytes, parts: list[Part]
    ) -> Iterator[tuple[bytes, bytes, list[Found]]]:
        """Each name that shows, with the levels that have it."""
        prefix = path + b"/" if path else b""
        for name, found in sorted(self._union(path, parts).items()):
            level, first = found[0]
            if not self._levels[level].is_whiteout(path, first):
                yield path, prefix + name, found

    def _union(self, path: bytes, parts: list[Part]) -> dict[bytes, list[Found]]:
        names: dict[bytes, list[Found]] = {}
        for level, number in parts:
            for name in self._levels[level].names(path, number):
                names.setdefault(name[0], []).append((level, name))
        return names

    def _parts(self, path: bytes, found: list[Found]) -> list[Part]:
        """The directories that are one under this path."""
        parts: list[Part] = []
        for level, (_, file_type, number) in found:
            if file_type != DIRECTORY:
                break
            parts.append((level, number))
            if len(found) > 1 and self._levels[level].is_opaque(path, number):
                break
        return parts

    # --- what they are ---------------------------------------------------------------------------

    def _tell(self, level: int, path: bytes, name: Name, shown: bytes) -> Iterator[Buffer]:
        if name[1] == DIRECTORY:
            shown += b"/"
        member = self._levels[level].member(path, name, shown)
        if member is None:
            return  # it vanished: the container may be running
        entry, identity, pieces = member
        if identity is not None and self._is_another_name(entry, (level, identity)):
            pieces = ()
        self._writer.add_header(entry)
        self._waiting_bytes += 512
        for piece in pieces:
            if len(piece) > _TOGETHER_BYTES:
                yield self._take()
                yield piece
            else:
                self._waiting.append(bytes(piece))
                self._waiting_bytes += len(piece)
        self._writer.pad(entry.payload_bytes)
        if self._waiting_bytes > _TOGETHER_BYTES:
            yield self._take()

    def _is_another_name(self, entry: Entry, identity: tuple[int, Hashable]) -> bool:
        first = self._links.setdefault(identity, entry.name)
        if first is entry.name:
            return False
        become_hard_link(entry, first)
        return True

    def _take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return taken
