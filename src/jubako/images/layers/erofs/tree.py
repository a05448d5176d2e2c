"""The names of the tree that an index will show, in little memory.

Each name is one row of a few arrays, about 30 bytes and the name itself, so that a million of them
fits where objects of Python's would take ten times that.  A row is found through a hash table of
row numbers with open addressing; rows are replaced but never removed.
"""

from __future__ import annotations

import array
import os
from heapq import merge
from itertools import accumulate

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs.format import DIRECTORY, DIRENT, MAX_NAME_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = 512 << 20  # of all names
_MIX = 0x9E3779B1  # odd: the same name in all directories does not meet itself in the table
_RUN = 1 << 16  # rows whose names are in memory at the same time
_NO_ROW = bytes(5)  # in keys to sort by: after the name a zero and the number of the row


class Tree:
    """Rows of (directory, name) -> (file type, reference).

    A directory is known by a number, the root's is 0; it is the reference of its own row, so that
    rows of a directory that was replaced belong to a number that no row refers to any more.
    References of other files mean what the caller wants, below 1 << 32.

    types, references: columns, by row; row 0 is the root.
    """

    def __init__(self) -> None:
        self.types = bytearray((DIRECTORY,))
        self.references = array.array("I", (0,))
        self._directories = array.array("I", (0,))
        self._hashes = array.array("I", (0,))
        self._ends = array.array("I", (0,))  # of each name; it begins where the last one ends
        self._names = bytearray()
        self._table = array.array("I", bytes(4 << 10))
        self._mask = (1 << 10) - 1

    def __len__(self) -> int:
        return len(self.types)

    def name(self, row: int) -> bytes:
        """The name of a row; the root has none."""
        ends = self._ends
        return bytes(self._names[ends[row - 1] : ends[row]]) if row else b""

    def find(self, directory: int, name: bytes) -> int:
        """The row of a name, or 0."""
        key = (hash(name) ^ directory * _MIX) & 0xFFFFFFFF
        table, mask, hashes = self._table, self._mask, self._hashes
        slot = key & mask
        while row := table[slot]:
            if hashes[row] == key and self._directories[row] == directory:
                ends = self._ends
                if self._names[ends[row - 1] : ends[row]] == name:
                    return row
            slot = slot + 1 & mask
        return 0

    def add(self, directory: int, name: bytes, file_type: int, reference: int) -> int:
        """Make a row for a name that has none; returns its number.

        Raises InvalidArgument for a name that is too long, or too many of them.
        """
        if len(name) > MAX_NAME_BYTES:
            raise InvalidArgument(f"{os.fsdecode(name)!r}: File name too long")
        row = len(self.types)
        if row * 5 > self._mask * 3:
            self._grow()
        names = self._names
        names += name
        if len(names) > MAX_BYTES:
            raise InvalidArgument(f"the names of the archive take more than {MAX_BYTES} bytes")
        key = (hash(name) ^ directory * _MIX) & 0xFFFFFFFF
        self.types.append(file_type)
        self.references.append(reference)
        self._directories.append(directory)
        self._hashes.append(key)
        self._ends.append(len(names))
        table, mask = self._table, self._mask
        slot = key & mask
        while table[slot]:
            slot = slot + 1 & mask
        table[slot] = row
        return row

    def replace(self, row: int, file_type: int, reference: int) -> None:
        """Let a name mean something else."""
        self.types[row] = file_type
        self.references[row] = reference

    def _grow(self) -> None:
        size = (self._mask + 1) * 4
        self._mask = mask = size - 1
        self._table = table = array.array("I", bytes(4 * size))
        for row, key in enumerate(self._hashes):
            if row:
                slot = key & mask
                while table[slot]:
                    slot = slot + 1 & mask
                table[slot] = row

    def close(self) -> None:
        """Give up finding and adding, and the memory for it."""
        self._table = self._hashes = array.array("I")

    def name_bytes(self, directories: int) -> array.array[int]:
        """How many bytes the names in each directory take; directories: how many there are."""
        sizes = array.array("Q", bytes(8 * directories))
        start = 0
        for directory, end in zip(self._directories, self._ends, strict=True):
            sizes[directory] += end - start + DIRENT.size
            start = end
        return sizes

    def listing(self, directories: int) -> Iterator[tuple[int, array.array[int], int]]:
        """Each directory that can be reached, after the one it is in.

        directories: how many numbers are in use.  With each come the rows of its names, and how
        many of these are directories.
        """
        ends = array.array("I", bytes(4 * (directories + 1)))
        for directory in self._directories:
            ends[directory + 1] += 1
        ends[1] -= 1  # the root is in no directory
        ends = array.array("I", accumulate(ends))
        rows = array.array("I", bytes(4 * (len(self) - 1)))
        for row in range(1, len(self)):
            directory = self._directories[row]
            rows[ends[directory]] = row
            ends[directory] += 1  # was where they begin, and becomes where they end
        waiting = array.array("I", (0,))
        types, references = self.types, self.references
        for directory in waiting:
            start = ends[directory - 1] if directory else 0
            children = rows[start : ends[directory]]
            before = len(waiting)
            waiting.extend(references[row] for row in children if types[row] == DIRECTORY)
            yield directory, children, len(waiting) - before

    def in_order(self, rows: array.array[int], *more: bytes) -> Iterable[tuple[bytes, int]]:
        """Names and rows in the order of names; more: names among them that have row 0."""
        others = [name + _NO_ROW for name in more]
        if len(rows) <= _RUN:
            return map(_split, sorted([*others, *map(self._key, rows)]))
        # Of a large directory only rows are kept in order, and names are made again.
        runs = (rows[at : at + _RUN] for at in range(0, len(rows), _RUN))
        ordered = [array.array("I", sorted(run, key=self.name)) for run in runs]
        return map(_split, merge(others, *(map(self._key, run) for run in ordered)))

    def _key(self, row: int) -> bytes:
        return self.name(row) + b"\0" + row.to_bytes(4, "big")


def _split(key: bytes) -> tuple[bytes, int]:
    return key[:-5], int.from_bytes(key[-4:], "big")
