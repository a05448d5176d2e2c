"""The driver `overlay`: a layer is a directory tree, usable on every kernel."""

from __future__ import annotations

from jubako.images.layers.split import assemble
from jubako.images.layers.unpack import unpack
from jubako.linux.atomic import syncfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jubako.images.tar import Limits

    Buffer = bytes | memoryview


class OverlayDriver:
    """See `driver.LayerDriver`.  limits: what an archive may contain."""

    name = "overlay"

    def __init__(self, limits: Limits | None = None):
        self._limits = limits

    def unpack(self, buffers: Iterable[Buffer], directory: str) -> int:
        return unpack(buffers, directory, self._limits)

    def archive(self, directory: str) -> Iterator[Buffer]:
        return assemble(directory)

    def make_durable(self, directories: Sequence[str]) -> None:
        # One pass over the file system costs less than an fsync for each of thousands of files.
        syncfs(directories[0])
