"""The on-disk format of EROFS, as far as an index needs it.

Sources: Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of the kernel.  All numbers are
little endian; a block has 512 bytes, so that every payload of a tar begins at one.  An inode is
found by its number, which is its position in units of 32 bytes.
"""

from __future__ import annotations

import struct

BLOCK_BITS = 9
BLOCK_BYTES = 1 << BLOCK_BITS
MAX_BLOCKS = (1 << 32) - 1  # of one device; the last address stands for a hole
SLOT_BITS = 5  # inodes begin at multiples of 32 bytes
SLOT_BYTES = 1 << SLOT_BITS

SUPER_OFFSET = 1024
DEVICE_SLOT = 9  # the table of devices follows the superblock, in units of 128 bytes
META_OFFSET = SUPER_OFFSET + BLOCK_BYTES  # where inodes may begin

_MAGIC = 0xE0F5E1E2
_COMPAT_CHECKSUM = 0x1
_COMPAT_MTIME = 0x2
_INCOMPAT_CHUNKED_FILE = 0x4
_INCOMPAT_DEVICE_TABLE = 0x8
_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
_DEVICE = struct.Struct("<64sII56x")

# File types of directory entries; the index uses them everywhere.
FILE, DIRECTORY, CHARACTER, BLOCK, FIFO, SYMLINK = 1, 2, 3, 4, 5, 7

# Layouts of an inode's data, with the bit that marks the extended form.
FLAT_PLAIN = 0 << 1 | 1
FLAT_INLINE = 2 << 1 | 1
CHUNK_BASED = 4 << 1 | 1

# format, xattr count, mode, 0, size, union, inode number, uid, gid, mtime, its nanoseconds, links
INODE = struct.Struct("<HHHHQIIIIqII16x")
INODE_BYTES = INODE.size
LINKS_OFFSET = 44
SIZE_OFFSET = 8
# An inode without attributes whose data is one chunk of the tar, up to the next slot.
ONE_CHUNK_INODE = struct.Struct("<HHHHQIIIIqII16xHHI24x")

CHUNK_INDEX = struct.Struct("<HHI")  # 0, device, block
CHUNK_INDEXES = 0x20  # of a chunk format, whose lowest five bits tell how long a chunk is
MAX_CHUNK_BITS = BLOCK_BITS + 31
TAR_DEVICE = 1
HOLE = 0xFFFFFFFF

DIRENT = struct.Struct("<QHBB")  # inode number, offset of the name, file type, 0
MAX_NAME_BYTES = 255

XATTR_HEADER = struct.Struct("<IB7x")  # name filter, number of shared attributes
XATTR_ENTRY = struct.Struct("<BBH")  # bytes of the name, index of its prefix, bytes of the value


def chunk_bits(size: int) -> int:
    """The least chunk, as a power of two of bytes, that holds `size` bytes, or the largest."""
    return min(max((size - 1).bit_length(), BLOCK_BITS), MAX_CHUNK_BITS)


def chunk_format(bits: int) -> int:
    """The `union` field of a chunk-based inode."""
    return CHUNK_INDEXES | bits - BLOCK_BITS


def device_number(major: int, minor: int) -> int:
    """The `union` field of a device's inode; major has 12 bits, minor 20."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def of_device_number(union: int) -> tuple[int, int]:
    """Major and minor of what `device_number` made."""
    return union >> 8 & 0xFFF, union & 0xFF | union >> 12 & ~0xFF


def superblock(
    *, root: int, inodes: int, blocks: int, xattr_block: int, uuid: bytes, tar_blocks: int
) -> bytes:
    """The block at SUPER_OFFSET: superblock and table of devices, with its checksum."""

    def pack(checksum: int) -> bytes:
        return _SUPERBLOCK.pack(
            _MAGIC,
            checksum,
            _COMPAT_CHECKSUM | _COMPAT_MTIME,
            BLOCK_BITS,
            0,
            root,
            inodes,
            0,  # the time when it was made: the same tar gives the same index
            0,
            blocks,
            0,  # inode numbers count from the beginning of the file
            xattr_block,
            uuid,
            b"",
            _INCOMPAT_CHUNKED_FILE | _INCOMPAT_DEVICE_TABLE,
            0,
            1,
            DEVICE_SLOT,
            0,
            0,
            0,
            0,
        )

    rest = _DEVICE.pack(b"", tar_blocks, 0)
    rest += bytes(BLOCK_BYTES - _SUPERBLOCK.size - len(rest))
    return pack(_crc32c(pack(0) + rest)) + rest


def read_superblock(data: bytes) -> tuple[int, int]:
    """Of what `superblock` made: the root's inode number and the block of shared attributes.

    Raises ValueError for anything else.
    """
    fields = _SUPERBLOCK.unpack(data[: _SUPERBLOCK.size])
    if fields[0] != _MAGIC or fields[3] != BLOCK_BITS or fields[10]:
        raise ValueError("not an index")
    return fields[5], fields[11]


def _crc32c(data: bytes) -> int:
    """CRC-32C as the kernel counts it: from all ones, not inverted at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc
