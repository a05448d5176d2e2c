"""The content store: blobs found by their digest.

    content/<algorithm>/<hex>    complete and checked, mode 0400
    content/.ingest/<pid>-<n>    being written; flocked by its process

Ingest, check size and digest, sync, rename, sync the directory: a blob under its final name is
right, whatever was killed when.  Blobs never change; two writers of one blob both succeed.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os

from jubako.errors import IntegrityError, KernelError, NotFound
from jubako.linux.atomic import fsync_dir, write_all
from jubako.oci.digest import Digest
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.store import Store

_INGEST = ".ingest"
_serial = itertools.count()
_READ_BYTES = 1 << 20


class ContentStore:
    """The blobs of one root."""

    def __init__(self, store: Store):
        self._store = store
        self._directory = f"{store.path}/content"

    def path(self, digest: Digest) -> str:
        """Where the blob is, if it is there."""
        return f"{self._directory}/{digest.algorithm}/{digest.encoded}"

    def exists(self, digest: Digest) -> bool:
        return os.access(self.path(digest), os.F_OK)

    def size(self, digest: Digest) -> int:
        """Bytes.  Raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}", subject=digest) from None

    def read(self, digest: Digest, limit_bytes: int) -> bytes:
        """A small blob, checked against its digest.

        Raises NotFound, IntegrityError (damaged, or more than `limit_bytes`).
        """
        data = b"".join(self._pieces(digest, limit_bytes))
        digest.check(data, f"blob {self.path(digest)}")
        return data

    def stream(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of a blob.  Raises NotFound, and IntegrityError at the end if it is damaged."""
        hasher = digest.new_hasher()
        for piece in self._pieces(digest, None):
            hasher.update(piece)
            yield piece
        digest.check_hasher(hasher, f"blob {self.path(digest)}")

    def _pieces(self, digest: Digest, limit_bytes: int | None) -> Iterator[bytes]:
        path = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}", subject=digest) from None
        try:
            left = limit_bytes
            while piece := os.read(fd, _READ_BYTES):
                if left is not None:
                    left -= len(piece)
                    if left < 0:
                        raise IntegrityError(f"blob {path}: more than {limit_bytes} bytes")
                yield piece
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise KernelError.from_oserror("read", exc, path=path) from exc
        finally:
            os.close(fd)

    def write(self, data: bytes) -> Digest:
        """Store a small blob; returns its digest.  Idempotent."""
        digest = Digest.of(data)
        if not self.exists(digest):
            with self.ingest() as ingest:
                ingest.write(data)
                ingest.commit(digest, len(data))
        return digest

    def ingest(self) -> Ingest:
        """A blob to be written; see `Ingest`."""
        return Ingest(self._store, self)

    def remove(self, digest: Digest) -> None:
        """Delete a blob; idempotent."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return
        except OSError as exc:
            raise KernelError.from_oserror("remove", exc) from exc

    def all(self) -> set[Digest]:
        """The digests of all blobs."""
        found: set[Digest] = set()
        try:
            algorithms = os.listdir(self._directory)
        except FileNotFoundError:
            return found
        for algorithm in algorithms:
            if not algorithm.startswith("."):  # .ingest, and .partial of pulls
                for name in os.listdir(f"{self._directory}/{algorithm}"):
                    found.add(Digest(f"{algorithm}:{name}"))
        return found

    def recover(self) -> bool:
        """Delete what killed processes were writing; whether there was any.  Idempotent."""
        found = False
        directory = f"{self._directory}/{_INGEST}"
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return False
        for name in names:
            path = f"{directory}/{name}"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
                found = True
            except (BlockingIOError, FileNotFoundError):
                continue
            finally:
                os.close(fd)
        return found


class Ingest:
    """A blob on its way in; a context manager that forgets it unless it was committed.

    with content.ingest() as ingest:
        ingest.write(data)
        ingest.commit(digest, size)
    """

    def __init__(self, store: Store, content: ContentStore):
        self._store = store
        self._content = content
        self._fd = -1
        self._path = ""
        self._written = 0
        self._hashers = {"sha256": hashlib.sha256()}

    def __enter__(self) -> Ingest:
        directory = self._store.directory("content", _INGEST)
        while True:
            self._path = f"{directory}/{os.getpid()}-{next(_serial)}"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                fd = os.open(self._path, flags, 0o400)
            except FileExistsError:
                continue
            except OSError as exc:
                raise KernelError.from_oserror("create", exc) from exc
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                self._fd = fd
                return self
            os.close(fd)  # taken for abandoned in the moment before the lock

    def __exit__(self, *exc: object) -> None:
        if self._path:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
        os.close(self._fd)

    def write(self, data: bytes | memoryview) -> None:
        """Append.  Raises KernelError (ENOSPC)."""
        for hasher in self._hashers.values():
            hasher.update(data)
        self._written += len(data)
        try:
            write_all(self._fd, data)
        except OSError as exc:
            raise KernelError.from_oserror("write blob", exc, path=self._path) from exc

    def commit(self, digest: Digest, size_bytes: int | None = None) -> None:
        """Check size, then digest, and give the blob its final name; durable on return.

        Raises IntegrityError, which names both values, KernelError.
        """
        if size_bytes is not None and self._written != size_bytes:
            raise IntegrityError(
                f"blob {digest}: expected {size_bytes} bytes, found {self._written}",
                subject=digest,
            )
        digest.check_hasher(self._hasher(digest), "blob")
        directory = self._store.directory("content", digest.algorithm)
        try:
            os.fsync(self._fd)
            point("images.blob.synced")
            os.rename(self._path, self._content.path(digest))
        except OSError as exc:
            raise KernelError.from_oserror("commit blob", exc, path=digest) from exc
        self._path = ""
        fsync_dir(directory)
        point("images.blob.committed")

    def _hasher(self, digest: Digest) -> hashlib._Hash:
        found = self._hashers.get(digest.algorithm)
        if found is not None:
            return found
        hasher = digest.new_hasher()  # rare enough to read the file again
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(fd, _READ_BYTES):
                hasher.update(piece)
        except OSError as exc:
            raise KernelError.from_oserror("read", exc, path=self._path) from exc
        finally:
            os.close(fd)
        return hasher
