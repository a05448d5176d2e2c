"""An index built from a layer's tar.

The rules are those of the overlay driver (see `unpack`), applied to a tree in memory.
"""

from __future__ import annotations

import array
import errno
import os
import stat

from jubako.errors import InvalidArgument
from jubako.images.layers import whiteout
from jubako.images.layers.erofs import format
from jubako.images.layers.erofs.attributes import attributes_of
from jubako.images.layers.erofs.inodes import Inodes
from jubako.images.layers.erofs.listing import Listing, reserve_root
from jubako.images.layers.erofs.namespace import Namespace, Unresolved
from jubako.images.layers.erofs.output import Output
from jubako.images.layers.erofs.xattrs import XattrPool
from jubako.images.layers.members import (
    check_device,
    check_owner,
    check_root,
    hard_link_target,
    invalid_hard_link,
)
from jubako.images.layers.paths import clean
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    Limits,
    TarReader,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Buffer = bytes | memoryview

_MAX_WHITEOUT_BYTES = 256 << 20
_SPECIAL = {
    CHARACTER: (format.CHARACTER, stat.S_IFCHR),
    BLOCK: (format.BLOCK, stat.S_IFBLK),
    FIFO: (format.FIFO, stat.S_IFIFO),
}


class Layer:
    """What an index shows. size_bytes: of files and links' targets.

    has_root: the archive has an entry for the root.  is_opaque: no lower layer shows.
    """

    __slots__ = ("has_root", "is_opaque", "size_bytes")

    def __init__(self) -> None:
        self.has_root = self.is_opaque = False
        self.size_bytes = 0


def build(buffers: Iterable[Buffer], fd: int, limits: Limits | None = None) -> Layer:
    """Read a tar to its end and write an index of it to the empty file `fd`.

    Equal archives give equal indexes.  fd: readable and writable; it stays the caller's.
    Raises InvalidArgument (hostile or malformed archive, or one that EROFS cannot hold), OSError
    (writing), and what the iteration of `buffers` raises.
    """
    limits = limits or Limits()
    reader = TarReader(buffers, limits=limits)
    builder = _Builder(Output(fd), limits)
    for entry in reader:
        builder.add(entry, reader.position, reader.payload())
    reader.drain()
    return builder.finish(reader.position)


def build_placed(
    entries: Iterable[tuple[int, Entry]], data_bytes: int, fd: int, limits: Limits | None = None
) -> Layer:
    """`build` for content that lies elsewhere than in a tar.

    entries: each with the position of its content in the data, a multiple of 512; none is sparse.
    data_bytes: the length of the data.
    """
    builder = _Builder(Output(fd), limits or Limits())
    for position, entry in entries:
        builder.add(entry, position, ())
    return builder.finish(data_bytes)


class _Builder:
    def __init__(self, out: Output, limits: Limits):
        self._out = out
        out.reserve(format.META_OFFSET)
        self._root_at = reserve_root(out)
        self._inodes = Inodes(out)
        self._pool = XattrPool()
        self._names = Namespace(limits.max_entries, self._inodes.readlink)
        self._tree = self._names.tree
        self._directories = self._names.directories
        self._whiteout_bytes = 0
        self._whiteouts = whiteout.Whiteouts(self._keep)
        self._linked = array.array("I")
        self._replaced = False
        self._layer = Layer()

    # --- the archive -----------------------------------------------------------------------------

    def add(self, entry: Entry, position: int, pieces: Iterable[memoryview]) -> None:
        """Take the next entry; its content lies from byte `position` on, and comes in `pieces`."""
        path = clean(entry.name, entry.name)
        parent_path, _, base = path.rpartition(b"/")
        if whiteout.concerns(path, base):
            self._whiteouts.add(path)
            return
        kind = entry.kind
        if not path:
            check_root(entry)
            check_owner(entry, path)
            self._layer.has_root = True
            self._directories.describe(0, entry, attributes_of(entry))
            return
        check_owner(entry, path)
        parent = self._parent(parent_path)
        if kind == REGULAR:
            self._put(parent, base, format.FILE, self._file(entry, path, position, pieces))
            self._layer.size_bytes += entry.size
        elif kind == DIRECTORY:
            self._directory(entry, parent, base)
        elif kind == SYMLINK:
            self._put(parent, base, format.SYMLINK, self._symlink(entry, path))
        elif kind == HARDLINK:
            self._hard_link(entry, path, parent, base)
        else:
            check_device(entry)
            file_type, mode = _SPECIAL[kind]
            device = format.device_number(entry.major, entry.minor) if kind != FIFO else 0
            body = self._attributes(entry, path)
            number = self._inodes.special(entry, mode | entry.mode, device, body)
            self._put(parent, base, file_type, number)

    def _parent(self, path: bytes) -> int:
        try:
            return self._names.directory(path)
        except Unresolved as exc:
            raise _unresolved(path, exc) from exc

    def _keep(self, size: int) -> None:
        self._whiteout_bytes += size
        if self._whiteout_bytes > _MAX_WHITEOUT_BYTES:
            raise InvalidArgument(
                f"the whiteouts of the archive take more than {_MAX_WHITEOUT_BYTES} bytes"
            )

    def _attributes(self, entry: Entry, path: bytes) -> bytes:
        return self._pool.encode(attributes_of(entry), path) if entry.xattrs else b""

    def _file(self, entry: Entry, path: bytes, position: int, pieces: Iterable[memoryview]) -> int:
        body = self._attributes(entry, path)
        if position + entry.payload_bytes > format.MAX_BLOCKS * format.BLOCK_BYTES:
            raise InvalidArgument(f"{os.fsdecode(path)!r}: the archive is too large for EROFS")
        if entry.segments is None:
            return self._inodes.file(entry, position, body)
        return self._inodes.sparse_file(entry, position, pieces, body)

    def _directory(self, entry: Entry, parent: int, base: bytes) -> None:
        tree = self._tree
        row = tree.find(parent, base)
        if row and tree.types[row] == format.DIRECTORY:
            number = tree.references[row]
        else:
            number = self._directories.add(parent)
            self._put(parent, base, format.DIRECTORY, number)
        self._directories.describe(number, entry, attributes_of(entry))

    def _symlink(self, entry: Entry, path: bytes) -> int:
        if not entry.link:
            raise InvalidArgument(f"{os.fsdecode(path)!r}: {os.strerror(errno.ENOENT)}")
        self._layer.size_bytes += len(entry.link)
        return self._inodes.symlink(entry, self._attributes(entry, path))

    def _hard_link(self, entry: Entry, path: bytes, parent: int, base: bytes) -> None:
        target = hard_link_target(entry, path)
        if target == path:
            return  # GNU tar writes this when a file is named twice on its command line
        target_path, _, target_base = target.rpartition(b"/")
        tree = self._tree
        try:
            row = tree.find(self._names.directory(target_path, make=False), target_base)
        except Unresolved as exc:
            raise invalid_hard_link(entry, path, str(exc)) from exc
        if not row:
            raise invalid_hard_link(entry, path, os.strerror(errno.ENOENT))
        if tree.types[row] == format.DIRECTORY:
            raise invalid_hard_link(entry, path, os.strerror(errno.EPERM))
        self._linked.append(tree.references[row])
        self._put(parent, base, tree.types[row], tree.references[row])

    def _put(self, parent: int, base: bytes, file_type: int, reference: int) -> None:
        """Give a name to an inode; what had it before is gone, with all that is in it."""
        tree = self._tree
        row = tree.find(parent, base)
        if not row:
            tree.add(parent, base, file_type, reference)
            return
        old = tree.types[row]
        if old == format.DIRECTORY or old == format.SYMLINK:
            self._names.replaced()
        self._replaced = True
        tree.replace(row, file_type, reference)

    # --- at the end ------------------------------------------------------------------------------

    def finish(self, tar_bytes: int) -> Layer:
        """Write all that had to wait; tar_bytes: the length of the archive."""
        self._apply_whiteouts()
        out, inodes, layer = self._out, self._inodes, self._layer
        self._tree.close()
        listing = Listing(
            out,
            inodes,
            self._tree,
            self._directories,
            linked=self._linked,
            measure=self._replaced,
        )
        listing.write(self._root_at, self._pool)
        if self._replaced:
            layer.size_bytes = listing.size_bytes
        xattr_block = out.align(format.BLOCK_BYTES) // format.BLOCK_BYTES
        out.append(self._pool.data)
        digest = out.finish()
        out.put(
            format.SUPER_OFFSET,
            format.superblock(
                root=self._root_at >> format.SLOT_BITS,
                inodes=inodes.amount + len(self._directories),
                blocks=out.position // format.BLOCK_BYTES,
                xattr_block=xattr_block,
                uuid=digest,
                tar_blocks=-(-tar_bytes // format.BLOCK_BYTES),
            ),
        )
        return layer

    def _apply_whiteouts(self) -> None:
        tree = self._tree
        for parent_path, name in self._whiteouts.hidden():
            parent = self._whiteout_directory(parent_path)
            if parent is None:
                continue
            row = tree.find(parent, name)
            if not row:
                hidden = Entry(name, CHARACTER)
                number = self._inodes.special(hidden, stat.S_IFCHR, 0, b"")
                tree.add(parent, name, format.CHARACTER, number)
            elif tree.types[row] == format.DIRECTORY:
                # This layer brings it: what lower layers had in it is gone.
                self._directories.set_opaque(tree.references[row])
        for path in self._whiteouts.opaque():
            if not path:
                # The kernel merges the roots of all layers whatever their attributes say.
                self._layer.is_opaque = True
            elif (parent := self._whiteout_directory(path)) is not None:
                self._directories.set_opaque(parent)

    def _whiteout_directory(self, path: bytes) -> int | None:
        """The directory, or None if a file of this layer hides it anyway."""
        try:
            return self._names.directory(path)
        except Unresolved as exc:
            if exc.errno == errno.ENOTDIR:
                return None
            raise _unresolved(path, exc) from exc


def _unresolved(path: bytes, reason: Unresolved) -> InvalidArgument:
    return InvalidArgument(f"{os.fsdecode(path)!r}: {reason}")
