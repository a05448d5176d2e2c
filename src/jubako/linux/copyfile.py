"""The content of a file into another, in the kernel: copy_file_range(2), else sendfile(2)."""

from __future__ import annotations

import errno
import os

from jubako.linux.atomic import write_all

_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16  # for less, looking for holes costs more than writing them
_AT_ONCE_BYTES = 1 << 30  # of one call: interrupts come through in between
_OTHERWISE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def copy_data(source: int, target: int, size: int) -> None:
    """Copy the first `size` bytes to an empty file, the data but not the holes.

    It then has that size also when the source has become shorter.  Raises OSError.
    """
    if size <= _SMALL_BYTES:
        data = os.pread(source, size, 0)
        write_all(target, data)
        if len(data) < size:
            os.ftruncate(target, size)
        return
    os.ftruncate(target, size)
    position = 0
    while position < size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return  # a hole up to the end
            raise
        end = min(os.lseek(source, position, os.SEEK_HOLE), size)
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(target, position, os.SEEK_SET)
        _copy_range(source, target, end - position)
        position = end


def _copy_range(source: int, target: int, count: int) -> None:
    """From and to the current positions; the file system may share the blocks."""
    while count > 0:
        try:
            done = os.copy_file_range(source, target, min(count, _AT_ONCE_BYTES))
        except OSError as exc:
            if exc.errno not in _OTHERWISE:
                raise
            _send(source, target, count)
            return
        if done == 0:
            return  # it became shorter
        count -= done


def _send(source: int, target: int, count: int) -> None:
    while count > 0:
        try:
            done = os.sendfile(target, source, None, min(count, _AT_ONCE_BYTES))
        except OSError as exc:
            if exc.errno not in _OTHERWISE:
                raise
            chunk = os.read(source, min(count, _CHUNK_BYTES))
            write_all(target, chunk)
            done = len(chunk)
        if done == 0:
            return
        count -= done
