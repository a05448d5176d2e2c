"""A layer on its way in: read ahead, inflated and hashed on threads beside the one that unpacks.

    file -> [reading, inflating] -> queue -> unpacking (caller's thread)
                                         \\-> queue -> [hashing]

zlib, isal, hashlib and all reads and writes release the interpreter lock, so these overlap.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import deque

from jubako.errors import InvalidArgument, KernelError
from jubako.images import compression
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    class Readable(Protocol):
        """The one method of a binary file that is needed; it may return fewer bytes."""

        def read(self, size: int, /) -> bytes: ...

    class Writable(Protocol):
        """The one method of a binary file that is needed; it takes all that it is given."""

        def write(self, data: bytes | memoryview, /) -> object: ...

    Buffer = bytes | memoryview

CHUNK_BYTES = 1 << 20
QUEUE_BYTES = 8 << 20  # between two threads: enough for neither to wait for the other's hiccups
SMALL_BYTES = 8 << 20  # to hand so few to another thread takes as long as what it does with them
_STUCK_S = 1.0  # how long to wait for a thread that hangs in a read nobody needs any more


def read_chunks(stream: Readable) -> Iterator[bytes]:
    """The rest of a stream, which may be a pipe, in chunks.  Raises KernelError."""
    try:
        fd = _regular_file(stream)
        if fd is not None:
            while chunk := os.read(fd, CHUNK_BYTES):
                yield chunk
            return
        read: Callable[[int], bytes] = getattr(
            stream, "read1", stream.read
        )  # read1: do not wait for a full chunk
        while chunk := read(CHUNK_BYTES):
            yield chunk
    except OSError as exc:
        if isinstance(exc, KernelError):
            raise
        raise KernelError.from_oserror("read archive", exc) from exc


def _regular_file(stream: Readable) -> int | None:
    """The descriptor if reading it directly is the same: a file of which nothing is buffered."""
    fileno, tell = getattr(stream, "fileno", None), getattr(stream, "tell", None)
    if fileno is None or tell is None:
        return None
    try:
        fd: int = fileno()
        if stat.S_ISREG(os.fstat(fd).st_mode) and tell() == os.lseek(fd, 0, os.SEEK_CUR):
            return fd
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        pass
    return None


class Channel:
    """Buffers on their way from one thread to another; iterating it takes them out in order.

    At most `limit_bytes` wait in it: then `put` blocks, and so bounds the memory of a pipeline.  A
    buffer that is larger than that passes alone.
    """

    def __init__(self, limit_bytes: int = QUEUE_BYTES):
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._buffers: deque[Buffer] = deque()
        self._bytes = 0
        self._ended = False
        self._aborted = False
        self._error: BaseException | None = None

    def put(self, buffer: Buffer) -> bool:
        """Add a buffer, which must not change any more; False if nobody wants it."""
        with self._lock:
            while self._bytes and self._bytes + len(buffer) > self._limit_bytes:
                if self._aborted:
                    return False
                self._emptied.wait()
            if self._aborted:
                return False
            self._buffers.append(buffer)
            self._bytes += len(buffer)
            self._filled.notify()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; the reader gets what is there, and then the error if there is one."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._error = error
            self._filled.notify_all()

    def abort(self, error: BaseException | None = None) -> None:
        """Drop everything, from any thread: the reader gets the error or the end at once."""
        with self._lock:
            self._aborted = True
            self._buffers.clear()
            self._bytes = 0
            if not self._ended:
                self._ended = True
                self._error = error
            self._filled.notify_all()
            self._emptied.notify_all()

    def __iter__(self) -> Iterator[Buffer]:
        while True:
            with self._lock:
                while not self._buffers:
                    if self._ended:
                        if self._error is not None:
                            raise self._error
                        return
                    self._filled.wait()
                buffer = self._buffers.popleft()
                self._bytes -= len(buffer)
                self._emptied.notify()
            yield buffer


class Prefetch:
    """Iterates `buffers` on a thread of its own, some of them ahead; errors arrive in order.

    patient: `close` waits until the thread has ended however long that takes, because the iterator
    will be used again.  after_bytes: so many come without the thread, which a small stream is done
    sooner without.
    """

    def __init__(
        self,
        buffers: Iterable[Buffer],
        *,
        patient: bool = False,
        queue_bytes: int = QUEUE_BYTES,
        after_bytes: int = 0,
    ):
        self._buffers = iter(buffers)
        self._channel = Channel(queue_bytes)
        self._patient = patient
        self._after_bytes = after_bytes
        self._thread: threading.Thread | None = None
        if not after_bytes:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        buffers = self._let_go()
        error: BaseException | None = None
        try:
            for buffer in buffers:
                if not self._channel.put(buffer):
                    break
        except BaseException as exc:  # it is raised again in the consumer's thread
            error = exc
        self._channel.end(error)

    def __iter__(self) -> Iterator[Buffer]:
        while self._thread is None:
            buffer = next(self._buffers, None)
            if buffer is None:
                return
            self._after_bytes -= len(buffer)
            yield buffer
            if self._after_bytes <= 0:
                self._start()
        yield from self._channel
        self._thread.join()

    def abort(self, error: BaseException) -> None:
        """Let the consumer fail with `error` now, whatever the thread waits for; any thread."""
        self._channel.abort(error)

    def close(self) -> None:
        """End the thread; idempotent."""
        self._channel.abort()
        if self._thread is not None:
            self._thread.join(None if self._patient else _STUCK_S)
        else:
            self._let_go()

    def _let_go(self) -> Iterator[Buffer]:
        """The iterator, which whoever has it now ends, with what it has open, by forgetting it."""
        buffers, self._buffers = self._buffers, iter(())
        return buffers


class Hashing:
    """SHA-256 of what passes by, computed on a thread unless it is little."""

    def __init__(self, queue_bytes: int = QUEUE_BYTES) -> None:
        self._channel = Channel(queue_bytes)
        self._hasher = hashlib.sha256()
        self._before_bytes = SMALL_BYTES
        self._thread: threading.Thread | None = None

    def _run(self) -> None:
        for buffer in self._channel:
            self._hasher.update(buffer)

    def update(self, buffer: Buffer) -> None:
        """Take a buffer, which must not change any more."""
        if self._thread is None:
            self._before_bytes -= len(buffer)
            if self._before_bytes >= 0:
                self._hasher.update(buffer)
                return
            self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
            self._thread.start()
        self._channel.put(buffer)

    def digest(self) -> Digest:
        """Wait for the end of the work."""
        self._channel.end()
        self._join()
        return Digest.from_hasher(self._hasher)

    def close(self) -> None:
        """End the thread; idempotent."""
        self._channel.abort()
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()


class LayerStream:
    """The uncompressed bytes of one layer; a context manager that ends its threads.

        with LayerStream(read_chunks(file)) as stream:
            for buffer in stream: ...
            diff_id = stream.diff_id()

    buffers: the layer as stored, plain or compressed.  nested: `buffers` is part of another stream,
    which is read on after this layer; it is then always read up to the layer's end by `drain`.
    compression: one of the names in `compression`.  blob_bytes, tar_bytes: how much has passed, as
    stored and uncompressed.  queue_bytes: what may wait in each of its two queues.
    Raises InvalidArgument for damaged streams.
    """

    def __init__(
        self,
        buffers: Iterable[Buffer],
        *,
        nested: bool = False,
        want_blob_digest: bool = False,
        queue_bytes: int = QUEUE_BYTES,
    ):
        self._input = iter(buffers)
        self._blob_hasher = hashlib.sha256() if want_blob_digest else None
        self.blob_bytes = 0
        self.tar_bytes = 0
        start, counted = peek(self._input, compression.MAGIC_BYTES)
        self.compression = compression.detect(start)
        self._raw = self._count(counted)
        self._prefetch: Prefetch | None = None
        self._buffers: Iterable[Buffer] = self._raw
        plain = self.compression == compression.PLAIN
        if not plain:
            self._buffers = compression.inflate(self.compression, self._raw)
        if not (plain and nested):
            self._prefetch = Prefetch(
                self._buffers, patient=nested, queue_bytes=queue_bytes, after_bytes=SMALL_BYTES
            )
            self._buffers = self._prefetch
        self._hash = Hashing(queue_bytes)

    def _count(self, buffers: Iterator[Buffer]) -> Iterator[Buffer]:
        hasher = self._blob_hasher if self.compression != compression.PLAIN else None
        for buffer in buffers:
            self.blob_bytes += len(buffer)
            if hasher is not None:
                hasher.update(buffer)
            yield buffer

    def __iter__(self) -> Iterator[Buffer]:
        update = self._hash.update
        for buffer in self._buffers:
            self.tar_bytes += len(buffer)
            update(buffer)
            yield buffer

    def diff_id(self) -> Digest:
        """The digest of the uncompressed bytes; only after the iteration has ended."""
        return self._hash.digest()

    def blob_digest(self) -> Digest:
        """The digest of the bytes as stored; only if it was asked for, and after the iteration."""
        if self.compression == compression.PLAIN:
            return self._hash.digest()
        if self._blob_hasher is None:
            raise ValueError("the digest of the blob was not asked for")
        return Digest.from_hasher(self._blob_hasher)

    def __enter__(self) -> LayerStream:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._prefetch is not None:
            self._prefetch.close()
        self._hash.close()


def peek(buffers: Iterator[Buffer], size: int) -> tuple[bytes, Iterator[Buffer]]:
    """The first `size` bytes (fewer at the end) and an iterator that still yields all of it."""
    seen: deque[Buffer] = deque()
    start = b""
    while len(start) < size:
        buffer = next(buffers, None)
        if buffer is None:
            break
        seen.append(bytes(buffer))  # a view may not outlive the next step
        start += bytes(buffer[: size - len(start)])

    def rest() -> Iterator[Buffer]:
        while seen:
            yield seen.popleft()
        yield from buffers

    return start, rest()


def plain_chunks(stream: Readable, what: str | None) -> Iterator[Buffer]:
    """The inflated bytes of a stream of any format, without a thread.

    what: names the stream when it is empty, which is an error then; None: it may be.
    """
    start, buffers = peek(read_chunks(stream), compression.MAGIC_BYTES)
    if not start and what is not None:
        raise InvalidArgument(f"{what} is empty")
    name = compression.detect(start)
    return buffers if name == compression.PLAIN else compression.inflate(name, buffers)
