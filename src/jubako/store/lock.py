"""Locks between processes, by flock(2) on files in the run directory.

The kernel drops such a lock when its holder dies, so a crash never leaves one behind.  Order, where
one process needs several: container locks (by ID) before `images`, `networks`, `volumes`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from jubako.errors import KernelError, Unavailable

_POLL_S = 0.005  # flock has no time-out of its own


class Lock:
    """An flock on `path`; a context manager.

    shared: many holders may share it.  timeout_s: None waits for ever, 0 tries once; when it runs
    out the lock raises Unavailable.  The descriptor is close-on-exec but is inherited by fork: the
    lock is free when every copy is closed, which lets a starter hand its lock to a child.
    """

    def __init__(self, path: str, *, shared: bool = False, timeout_s: float | None = None):
        self.path = path
        self._mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._timeout_s = timeout_s
        self.fd = -1

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock; the file is made if missing and stays."""
        deadline = _deadline(self._timeout_s)
        while True:
            fd = self._open()
            try:
                _wait(fd, self._mode, deadline, self.path)
                if self._is_current(fd):
                    self.fd = fd
                    return
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # the file was removed and made anew while we waited: take the new one

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise KernelError.from_oserror("open lock", exc, path=self.path) from exc

    def _is_current(self, fd: int) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return there.st_ino == os.fstat(fd).st_ino

    def release(self) -> None:
        """Close this process's copy of the lock; harmless when it is not held."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _wait(fd: int, mode: int, deadline: float | None, path: str) -> None:
    if deadline is None:
        fcntl.flock(fd, mode)
        return
    while True:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
            return
        except OSError as exc:
            if exc.errno != errno.EWOULDBLOCK:
                raise KernelError.from_oserror("flock", exc, path=path) from exc
        if time.monotonic() >= deadline:
            name = os.path.basename(path)
            raise Unavailable(f"lock {name}: held by another command", subject=name)
        time.sleep(_POLL_S)


def wait_released(path: str, timeout_s: float | None = None) -> None:
    """Until nobody holds an exclusive lock on the file at `path`, which need not exist.

    Raises Unavailable after `timeout_s`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _wait(fd, fcntl.LOCK_SH, _deadline(timeout_s), path)
    finally:
        os.close(fd)


def is_held(path: str) -> bool:
    """Whether some process holds an exclusive lock on the file at `path` (False: no such file)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)
