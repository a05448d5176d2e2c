"""Tar archives as image layers use them: a streaming reader and a writer of our own.

Names, link targets and attribute values are `bytes`, exactly as in the archive: an image may hold
names that are not UTF-8.  The reader follows POSIX pax, GNU tar and Go's archive/tar (which decides
what Docker accepts), reads strictly forward and takes bounded memory whatever it is fed.
"""

from __future__ import annotations

from jubako.images.tar.entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    Limits,
)
from jubako.images.tar.reader import TarReader
from jubako.images.tar.writer import TarWriter

__all__ = [
    "BLOCK",
    "CHARACTER",
    "DIRECTORY",
    "FIFO",
    "HARDLINK",
    "REGULAR",
    "SYMLINK",
    "Entry",
    "Limits",
    "TarReader",
    "TarWriter",
]
