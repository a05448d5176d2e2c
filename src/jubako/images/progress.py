"""How far a transfer has come: one event after another, as Docker's API tells them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Progress = Callable[["Event"], None]


class Event:
    """A step.

    status: `Pulling fs layer`, `Downloading`, `Pull complete`...: Docker's words, which its clients
    show; of a copy, which it does not have, `Sending`, `Sent`, `Receiving`, `Received`.  id: the
    short digest of a layer, "" when it is about the whole image.  current, total: bytes, None where
    there is nothing to count; the first event of a layer may have a total alone.
    Called from one thread at a time, not always the same one; must return soon.
    """

    __slots__ = __match_args__ = ("status", "id", "current", "total")

    def __init__(
        self, status: str, id: str = "", current: int | None = None, total: int | None = None
    ):
        self.status = status
        self.id = id
        self.current = current
        self.total = total

    def to_json(self) -> dict[str, Any]:
        """The same as the Engine API streams it (JSONMessage)."""
        found: dict[str, Any] = {"status": self.status}
        if self.id:
            found["id"] = self.id
        if self.current is not None:
            detail = {"current": self.current}
            if self.total is not None:
                detail["total"] = self.total
            found["progressDetail"] = detail
        return found
