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

_CACHED = 4096  # paths of directories; archives go through directories one after another


class Unresolved(Exception):
    """A path leads to no directory; errno: ENOENT, ENOTDIR or ELOOP, as the kernel would say."""

    def __init__(self, number: int):
        super().__init__(os.strerror(number))
        self.errno = number


class Namespace:
    """The tree, with its directories by path.

    Links are followed inside the root, `..` ends there, as for a process whose root it is.
    max_implied: how many directories may be made without an entry for them.
    readlink: the target of a link, by its reference.
    """

    def __init__(self, max_implied: int, readlink: Callable[[int], bytes]):
        self.tree = Tree()
        self.directories = Directories()
        self._readlink = readlink
        self._paths: dict[bytes, int] = {b"": 0}
        self._max_implied = max_implied
        self._implied = 0

    def directory(self, path: bytes, *, make: bool = True) -> int:
        """The number of a directory, which is made if it is missing; b"" is the root.

        path: clean (see `paths.clean`).  Raises Unresolved, with ENOENT only without `make`, and
        with it InvalidArgument for a link that leads to nothing.
        """
        known = path
        while (found := self._paths.get(known)) is None:
            known = known[: max(known.rfind(b"/"), 0)]
        at = len(known) + 1 if known else 0
        while at <= len(path) and path:
            end = path.find(b"/", at)
            end = len(path) if end < 0 else end
            found = self._enter(found, path, at, end, make)
            if len(self._paths) >= _CACHED:
                self.replaced()
            self._paths[path[:end]] = found
            at = end + 1
        return found

    def _enter(self, here: int, path: bytes, start: int, end: int, make: bool) -> int:
        """The directory that the component path[start:end] means in another one."""
        tree = self.tree
        name = path[start:end]
        row = tree.find(here, name)
        if not row:
            if not make:
                raise Unresolved(errno.ENOENT)
            return self._make(here, name)
        if tree.types[row] == DIRECTORY:
            return tree.references[row]
        if tree.types[row] != SYMLINK:
            raise Unresolved(errno.ENOTDIR)
        try:
            return self._follow(here, name)
        except Unresolved as exc:
            if exc.errno != errno.ENOENT or not make:
                raise
            raise InvalidArgument(
                f"{os.fsdecode(path)!r}: {os.fsdecode(path[:end])!r} is a link that leads to "
                "nothing in the archive"
            ) from exc

    def _follow(self, here: int, name: bytes) -> int:
        tree = self.tree
        waiting = [name]
        links = 0
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

    def _make(self, parent: int, name: bytes) -> int:
        """Make a directory that the archive uses without an entry for it."""
        self._implied += 1
        if self._implied > self._max_implied:
            raise InvalidArgument(f"archive makes more than {self._max_implied} directories")
        new = self.directories.add(parent)
        self.tree.add(parent, name, DIRECTORY, new)
        return new

    def replaced(self) -> None:
        """Must be called when a directory or a link makes room for something else."""
        self._paths.clear()
        self._paths[b""] = 0
