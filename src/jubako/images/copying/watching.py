"""How far a copy has come: told for each layer while its bytes pass."""

from __future__ import annotations

from jubako.images.reporting import EXISTS, WAITING, Reporter, short
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set

    from jubako.images.progress import Progress

    Buffer = bytes | memoryview


class Watch:
    """What layers pass through, on either side of a copy.

    sizes: bytes of the layers' tars, by diff ID, the lowest layer first.  passing, passed: a
    layer's status while it passes and afterwards.
    """

    def __init__(
        self, progress: Progress | None, sizes: Mapping[str, int], passing: str, passed: str
    ):
        self._reporter = Reporter(progress)
        self._sizes = sizes
        self._passing = passing
        self._passed = passed

    def announce(self, missing: Set[str]) -> None:
        """Tell which layers will pass, the topmost first as a push does it."""
        for diff_id in reversed(list(self._sizes)):
            name = short(Digest(diff_id))
            if diff_id in missing:
                self._reporter.say(WAITING, name, size=self._sizes[diff_id])
            else:
                self._reporter.say(EXISTS, name)

    def __call__(self, digest: str, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """The same pieces, counted if they are of a layer."""
        if digest not in self._sizes:
            yield from pieces
            return
        name = short(Digest(digest))
        counted = self._reporter.counter(self._passing, name, self._sizes[digest])
        for piece in pieces:
            size = len(piece)  # before it is taken: a memoryview is valid until the next step
            yield piece
            counted(size)
        self._reporter.say(self._passed, name)
