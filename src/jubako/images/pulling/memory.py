"""Memory that the layers of a pull share."""

from __future__ import annotations

import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Memory:
    """So many bytes; who wants some waits until others have given theirs back.

    Whoever has some must not wait for anybody who waits here.
    """

    def __init__(self, total_bytes: int):
        self._total_bytes = total_bytes
        self._left_bytes = total_bytes
        self._freed = threading.Condition()

    @contextmanager
    def room(self, wanted_bytes: int) -> Iterator[None]:
        """Room for something; what is larger than everything gets everything, alone."""
        taken = min(wanted_bytes, self._total_bytes)
        with self._freed:
            self._freed.wait_for(lambda: self._left_bytes >= taken)
            self._left_bytes -= taken
        try:
            yield
        finally:
            with self._freed:
                self._left_bytes += taken
                self._freed.notify_all()
