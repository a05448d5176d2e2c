"""Descriptors of the directories that an archive works in."""

from __future__ import annotations

import errno
import os

from jubako.errors import InvalidArgument, KernelError
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN = 128  # descriptors kept; archives go through directories one after another
_IMPLIED_MODE = 0o755  # of directories that have no entry of their own, as Docker makes them
_PATH = os.O_PATH | os.O_DIRECTORY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Parents:
    """A cache of open directories below `root`, by their paths as the archive names them.

    Each path is resolved by openat2 inside the root.  `replaced` must be called when a directory or
    a link makes room for something else, because paths may then lead elsewhere.

    base: where in the root the archive's paths begin, b"" or a path that ends in a slash.
    check: sees every directory that is opened, and raises if nothing may be made in there.
    """

    def __init__(
        self,
        root: int,
        max_implied: int,
        *,
        base: bytes = b"",
        check: Callable[[int], None] | None = None,
    ):
        self._root = root
        self._base = base
        self._check = check
        self._open: dict[bytes, int] = {}
        self._max_implied = max_implied
        self._implied = 0

    def get(self, path: bytes, *, make: bool = True) -> int:
        """A descriptor of the directory, which is made if it is missing; b"" is the base.

        It stays open until the next call that does not find its path in the cache.
        Raises KernelError (ENOTDIR, ELOOP...), InvalidArgument (a link that leads to nothing).
        """
        if not path and not self._base:
            return self._root
        fd = self._open.get(path)
        if fd is not None:
            return fd
        if len(self._open) >= _OPEN:
            self.close()
        try:
            fd = open_in_root(self._root, os.fsdecode(self._base + path), _PATH)
        except KernelError as exc:
            if exc.errno != errno.ENOENT or not make or not path:
                raise
            fd = self._make(path)
        if self._check is not None:
            try:
                self._check(fd)
            except BaseException:
                os.close(fd)
                raise
        self._open[path] = fd
        return fd

    def _make(self, path: bytes) -> int:
        """Make the directories that the archive uses without an entry for them."""
        here, missing = path, list[bytes]()
        fd = -1
        while fd < 0:
            here, _, name = here.rpartition(b"/")
            missing.append(name)
            try:
                fd = open_in_root(self._root, os.fsdecode(self._base + here) or ".", _PATH)
            except KernelError as exc:
                if exc.errno != errno.ENOENT or not here:
                    raise
        self._implied += len(missing)
        if self._implied > self._max_implied:
            os.close(fd)
            raise InvalidArgument(f"archive makes more than {self._max_implied} directories")
        while missing:
            name = missing.pop()
            here = here + b"/" + name if here else name
            try:
                os.mkdir(name, 0o700, dir_fd=fd)
                child = os.open(name, _DIRECTORY, dir_fd=fd)
            except FileExistsError:
                raise InvalidArgument(
                    f"{os.fsdecode(path)!r}: {os.fsdecode(here)!r} is a link that leads to nothing "
                    "in the archive"
                ) from None
            finally:
                os.close(fd)
            fd = child
            if os.getegid() and not os.geteuid():
                os.fchown(fd, 0, 0)
            os.fchmod(fd, _IMPLIED_MODE)
        return fd

    def replaced(self, keep: int) -> None:
        """Forget all paths but those of the descriptor `keep`."""
        for path in [path for path, fd in self._open.items() if fd != keep]:
            os.close(self._open.pop(path))

    def close(self) -> None:
        """Close everything but the root; the object stays usable."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
