"""Files of the kernel that are read again and again, kept open: half the cost of opening each."""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.linux.cgroups import files

_MAX_BYTES = 1 << 18  # the longest, cpuacct.usage_percpu, has 20 bytes a processor


class KeptFiles:
    """Files that `find` has read, open until `close`.

    When this process may not have more files open, they are opened each time, as without this.
    """

    __slots__ = ("_fds",)

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}  # -1: there is no such file

    def find(self, path: str) -> str | None:
        """Its content, as `files.find` gives it: None when there is no such file, or no more."""
        fd = self._fds.get(path)
        if fd is None:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    return files.find(path)
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise KernelError.from_oserror("read", error, path=path) from error
                fd = -1
            self._fds[path] = fd
        if fd < 0:
            return None
        try:
            return os.pread(fd, _MAX_BYTES, 0).decode(errors="replace")
        except OSError as error:
            # ENODEV: the group was removed; ESRCH, EINVAL: the process of a file of /proc is gone
            if error.errno in (errno.ENODEV, errno.EOPNOTSUPP, errno.ESRCH, errno.EINVAL):
                return None
            raise KernelError.from_oserror("read", error, path=path) from error

    def close(self) -> None:
        """Close all of them; what is read later opens them anew."""
        for fd in self._fds.values():
            if fd >= 0:
                os.close(fd)
        self._fds.clear()
