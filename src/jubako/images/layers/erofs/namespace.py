"""Paths of an archive, resolved in the tree that it describes as the kernel would resolve them."""

from __future__ import annotations

import errno
import os

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs.directories import Directories
from jubako.images.layers.erofs.format import DIRECTORY, SYMLINK
from jubako.images.layers.erofs.tree import Tree
from jubako.linux.openat2 import MAX_LINKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CACHED = 1024  # paths of directories; archives go through directories one after another


class Unresolved(Exception):
    """A path leads to no directory; errno: ENOENT, ENOTDIR or ELOOP, as the kernel would say."""

    def __init__(self, number: int):
        super().__init__(os.strerror(number))
        self.errno = number


class Namespace:
    """The tree, with its directories by path.

    Links are followed inside the root, `..` ends there, as for a process whose root it is.
    readlink: the target of a link, by its reference.
    """

    def __init__(self, max_implied: int, readlink: Callable[[int], bytes]):
        self.tree = Tree()
        self.directories = Directories()
        self._readlink = readlink
        self._paths: dict[bytes, int] = {}
        self._max_implied = max_implied
        self._implied = 0

    def directory(self, path: bytes, *, make: bool = True) -> int:
        """The number of a directory, which is made if it is missing; b"" is the root.

        Raises Unresolved, with ENOENT only without `make`, and InvalidArgument for a link that
        leads to nothing.
        """
        if not path:
            return 0
        found = self._paths.get(path)
        if found is None:
            if len(self._paths) >= _CACHED:
                self._paths.clear()
            try:
                found = self._walk(path)
            except Unresolved as exc:
                if exc.errno != errno.ENOENT or not make:
                    raise
                found = self._make(path)
            self._paths[path] = found
        return found

    def _walk(self, path: bytes) -> int:
        here = links = 0
        tree = self.tree
        waiting = path.split(b"/")
        waiting.reverse()
        while waiting:
            name = waiting.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = self.directories.parents[here]
                continue
            row = tree.find(here, name)
            if not row:
                raise Unresolved(errno.ENOENT)
            if tree.types[row] == DIRECTORY:
                here = tree.references[row]
            elif tree.types[row] == SYMLINK:
                links += 1
                if links > MAX_LINKS:
                    raise Unresolved(errno.ELOOP)
                target = self._readlink(tree.references[row])
                if target.startswith(b"/"):
                    here = 0
                waiting.extend(reversed(target.split(b"/")))
            else:
                raise Unresolved(errno.ENOTDIR)
        return here

    def _make(self, path: bytes) -> int:
        """Make the directories that the archive uses without an entry for them."""
        here, missing = path, list[bytes]()
        found = -1
        while found < 0:
            here, _, name = here.rpartition(b"/")
            missing.append(name)
            try:
                found = self._walk(here)
            except Unresolved as exc:
                if exc.errno != errno.ENOENT:
                    raise
        self._implied += len(missing)
        if self._implied > self._max_implied:
            raise InvalidArgument(f"archive makes more than {self._max_implied} directories")
        for name in reversed(missing):
            here = here + b"/" + name if here else name
            if self.tree.find(found, name):
                raise InvalidArgument(
                    f"{os.fsdecode(path)!r}: {os.fsdecode(here)!r} is a link that leads to nothing "
                    "in the archive"
                )
            new = self.directories.add(found)
            self.tree.add(found, name, DIRECTORY, new)
            found = new
        return found

    def replaced(self) -> None:
        """Must be called when a directory or a link makes room for something else."""
        self._paths.clear()
