"""The bytes of a blob that have come so far: an interrupted pull goes on from them.

    content/.partial/<algorithm>-<hex>    from the blob's first byte on, nothing missing between

Who holds the file's flock fetches the blob; others wait for it and then look whether the layer is
there.  The file stays when its process fails or dies, and after the last byte until the image is
written down: then it becomes the blob of the content store, or goes.  A file that nobody holds may
be deleted by anybody who takes its lock first.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time

from jubako.errors import KernelError
from jubako.linux.atomic import fsync_dir, start_writing, write_all
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jubako.images import ImageService
    from jubako.images.content.blobs import Blob
    from jubako.oci.digest import Digest
    from jubako.store import Store

DIRECTORY = ".partial"
MAX_AGE_S = 7 * 24 * 3600.0
_READ_BYTES = 1 << 18


class Partial:
    """The file of one blob.

        partial = Partial(store, digest)
        if partial.try_lock():
            for piece in partial.replay(): ...      # what is there already
            partial.append(piece) ...               # what comes
            partial.unlock()

    Between `try_lock` and `unlock` one thread writes; `unlock` may come from another one, and what
    is appended after it is an error.
    """

    def __init__(self, store: Store, digest: Digest):
        self.digest = digest
        directory = store.directory("content", DIRECTORY)
        self.path = f"{directory}/{digest.algorithm}-{digest.encoded}"
        self._fd = -1
        self._use = threading.Lock()  # a number that was closed may be another file's by now
        self.size = 0
        self._started = 0  # bytes of which the disk was told

    @property
    def is_locked(self) -> bool:
        """Whether it is this object that has the file."""
        return self._fd >= 0

    def try_lock(self) -> bool:
        """Take the file, made if missing, unless somebody else has it.  Raises KernelError."""
        while True:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            except OSError as exc:
                raise KernelError.from_oserror("open", exc, path=self.path) from exc
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            if _is_at(fd, self.path):
                self._fd = fd
                self.size = os.fstat(fd).st_size
                return True
            os.close(fd)  # it was renamed or deleted in between

    def replay(self) -> Iterator[bytes]:
        """The bytes that are there.  Raises KernelError."""
        at = 0
        try:
            while piece := os.pread(self._fd, _READ_BYTES, at):
                at += len(piece)
                yield piece
        except OSError as exc:
            raise KernelError.from_oserror("read", exc, path=self.path) from exc

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes.  Raises KernelError (ENOSPC)."""
        with self._use:
            try:
                write_all(self._fd, data)
            except OSError as exc:
                raise KernelError.from_oserror("write", exc, path=self.path) from exc
            self.size += len(data)

    def start_writing(self, least_bytes: int = 1) -> None:
        """Let the disk begin with what was added since the last time, if it is that much."""
        size = self.size - self._started
        if size >= least_bytes:
            start_writing(self._fd, self._started, size)
            self._started = self.size

    def clear(self) -> None:
        """Forget all bytes: they are not those of the blob."""
        try:
            os.ftruncate(self._fd, 0)
        except OSError as exc:
            raise KernelError.from_oserror("truncate", exc, path=self.path) from exc
        self.size = self._started = 0

    def make_durable(self) -> None:
        """Bring the bytes to the disk, as those of a blob, which never change.

        Raises KernelError.
        """
        try:
            os.fchmod(self._fd, 0o400)
            os.fsync(self._fd)
        except OSError as exc:
            raise KernelError.from_oserror("fsync", exc, path=self.path) from exc

    def become(self, path: str) -> None:
        """Give the file its final name.  Raises KernelError."""
        try:
            os.rename(self.path, path)
        except OSError as exc:
            raise KernelError.from_oserror("commit blob", exc, path=path) from exc

    def unlock(self) -> None:
        """Let others have it; an empty file goes.  Idempotent."""
        with self._use:
            fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if not self.size and _is_at(fd, self.path):
                os.unlink(self.path)
        except OSError as exc:
            raise KernelError.from_oserror("unlink", exc, path=self.path) from exc
        finally:
            os.close(fd)


def _is_at(fd: int, path: str) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (os.fstat(fd).st_dev, os.fstat(fd).st_ino)


def settle(images: ImageService, blobs: Iterable[Blob]) -> None:
    """Make complete files blobs of the content store if the root keeps such, else delete them.

    blobs: their rows, which are there because their digests were verified.  Those without a file
    are left alone, and so are files that somebody else holds.  Idempotent.  Raises KernelError.
    """
    kept: list[Partial] = []
    try:
        for blob in blobs:
            partial = Partial(images.store, blob.digest)
            if os.path.exists(partial.path) and partial.try_lock():
                kept.append(partial)
                if not _is_kept(images, blob, partial):
                    partial.clear()
                    kept.pop().unlock()
        _commit(images, kept)
    finally:
        for partial in kept:
            partial.unlock()


def _is_kept(images: ImageService, blob: Blob, partial: Partial) -> bool:
    if partial.size != blob.size_bytes or images.content.exists(blob.digest):
        return False
    return images.blobs.keeps(blob, partial.path)


def _commit(images: ImageService, partials: Sequence[Partial]) -> None:
    # All are synced before any is renamed: the first takes the file system's journal along, and
    # the others find it done.
    for partial in partials:
        partial.make_durable()
    directories = set()
    for partial in partials:
        directories.add(images.store.directory("content", partial.digest.algorithm))
        partial.become(images.content.path(partial.digest))
        point("images.pull.kept")
    for directory in directories:
        fsync_dir(directory)


def remove_abandoned(store: Store, older_than_s: float = MAX_AGE_S) -> int:
    """Delete the files to which nothing was added for that long and that nobody holds.

    0: all of them.  Returns the bytes that were freed.  Raises KernelError.
    """
    directory = f"{store.path}/content/{DIRECTORY}"
    freed = 0
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return 0
    for name in names:
        freed += _remove(f"{directory}/{name}", time.time() - older_than_s)
    return freed


def _remove(path: str, before: float) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(fd)
        if found.st_mtime > before or not _is_at(fd, path):
            return 0
        os.unlink(path)
        return found.st_blocks * 512
    except BlockingIOError:
        return 0
    except OSError as exc:
        raise KernelError.from_oserror("unlink", exc, path=path) from exc
    finally:
        os.close(fd)


def size_bytes(store: Store) -> int:
    """Bytes on disk of all such files."""
    directory = f"{store.path}/content/{DIRECTORY}"
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in entries)
    except FileNotFoundError:
        return 0
