"""Two trees compared name by name: one as an archive describes it, one as it lies on disk."""

from __future__ import annotations

import os
import stat

from jubako.images.layers.paths import DIRECTORY_FLAGS
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARED = ("user.", "trusted.", "security.")  # what is below `system.` file systems make up
_IGNORED = "security.selinux"  # the host's policy
_READ_BYTES = 1 << 20


def differences(expected: int, found: int, *, content: bool = False) -> Iterator[str]:
    """What is different, a sentence each; nothing if the trees are equal.

    expected, found: open directories.  Type, mode, owner, size, device, time, links and attributes
    are compared, of the roots nothing.  Times of what an archive does not describe, directories on
    the way and whiteouts, are zero in `expected` and nobody's.  content: also what is in the files.
    Raises OSError.
    """
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        with _Pair(expected, found, path) as pair:
            for name in sorted(pair.names[0] | pair.names[1]):
                below = path + b"/" + name if path else name
                if name not in pair.names[1]:
                    yield f"{os.fsdecode(below)!r} is missing"
                elif name not in pair.names[0]:
                    yield f"{os.fsdecode(below)!r} is not of this layer"
                else:
                    what = pair.compare(name, content=content)
                    if what:
                        yield f"{os.fsdecode(below)!r} has another {what}"
                    elif pair.is_directory(name):
                        waiting.append(below)


class _Pair:
    """The same directory of both trees."""

    def __init__(self, expected: int, found: int, path: bytes):
        name = os.fsdecode(path) or "."
        self._fds: list[int] = []
        try:
            for root in (expected, found):
                self._fds.append(open_in_root(root, name, DIRECTORY_FLAGS))
            self.names = [set(map(os.fsencode, os.listdir(fd))) for fd in self._fds]
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> _Pair:
        return self

    def __exit__(self, *exc: object) -> None:
        for fd in self._fds:
            os.close(fd)

    def _status(self, name: bytes) -> list[os.stat_result]:
        return [os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in self._fds]

    def is_directory(self, name: bytes) -> bool:
        return stat.S_ISDIR(self._status(name)[0].st_mode)

    def compare(self, name: bytes, *, content: bool) -> str:
        """What is different, as a noun; "" if nothing is."""
        here, there = self._status(name)
        if stat.S_IFMT(here.st_mode) != stat.S_IFMT(there.st_mode):
            return "type"
        if here.st_mode != there.st_mode:
            return "mode"
        if (here.st_uid, here.st_gid) != (there.st_uid, there.st_gid):
            return "owner"
        if not stat.S_ISDIR(here.st_mode) and here.st_nlink != there.st_nlink:
            return "number of links"
        if here.st_mtime_ns not in (0, there.st_mtime_ns):
            return "time"
        return self._compare_kind(name, here, there, content) or self._compare_attributes(name)

    def _compare_kind(
        self, name: bytes, here: os.stat_result, there: os.stat_result, content: bool
    ) -> str:
        mode = here.st_mode
        if stat.S_ISREG(mode):
            if here.st_size != there.st_size:
                return "size"
            if content and not self._has_equal_content(name):
                return "content"
        elif stat.S_ISLNK(mode):
            if len({os.readlink(name, dir_fd=fd) for fd in self._fds}) > 1:
                return "target"
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            if here.st_rdev != there.st_rdev:
                return "device"
        return ""

    def _has_equal_content(self, name: bytes) -> bool:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        here, there = (os.open(name, flags, dir_fd=fd) for fd in self._fds)
        try:
            while True:
                piece = os.read(here, _READ_BYTES)
                if piece != os.read(there, _READ_BYTES):
                    return False
                if not piece:
                    return True
        finally:
            os.close(here)
            os.close(there)

    def _compare_attributes(self, name: bytes) -> str:
        try:
            here, there = (_attributes(b"/proc/self/fd/%d/%s" % (fd, name)) for fd in self._fds)
        except OSError:  # a file system without attributes: they were left out when it was made
            return ""
        return "" if here == there else "set of attributes"


def _attributes(path: bytes) -> dict[str, bytes]:
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith(_COMPARED) and name != _IGNORED
    }
