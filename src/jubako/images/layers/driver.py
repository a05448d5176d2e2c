"""What a layer driver does; for type checkers only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol


class LayerDriver(Protocol):
    """Turns a layer's tar into something overlayfs can use as a lower directory, and back.

    Life cycle of one layer: `unpack` into an empty directory that nobody else sees; the store
    checks the digest, lets it be made durable and renames it; from then on it never changes;
    `archive` as often as needed; in the end the store deletes the directory.  Drivers keep no state
    of their own and know no names of layers; several threads may use one.

        driver.unpack(stream, "/root/layers/.ingest/7-0")   # returns bytes of content
        driver.make_durable(["/root/layers/.ingest/7-0"])
        os.rename("/root/layers/.ingest/7-0", "/root/layers/<hex>")
        b"".join(driver.archive("/root/layers/<hex>"))      # the same tar, bit for bit
    """

    name: str

    def unpack(self, buffers: Iterable[bytes | memoryview], directory: str) -> int:
        """Read a tar to its end and store it below `directory`; returns the size in bytes.

        Raises InvalidArgument (hostile or malformed archive), KernelError; the caller then removes
        the directory.
        """
        ...

    def archive(self, directory: str) -> Iterator[bytes | memoryview]:
        """The tar that was unpacked, bit for bit, in pieces of 1 MiB that nobody changes any more.

        Raises IntegrityError, KernelError.
        """
        ...

    def make_durable(self, directories: Sequence[str]) -> None:
        """Once this returns, all of these layers survive a power failure.  Raises KernelError."""
        ...
