"""What a monitor does for its container's network while it runs.

The proxy serves the published ports, and the watch puts this root's rules back when somebody
flushes them.  This module and what it imports stay small: each running container has them in
memory.
"""

from __future__ import annotations

from jubako.networks.listener import Listener, close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from jubako.linux.loop import EventLoop
    from jubako.networks.proxy import Proxy
    from jubako.networks.watch import Watch


class Serving:
    """Proxy and watch of one container, in the event loop of its monitor.

    listeners: the ports that were reserved; they belong to this object.  address: the container's.
    repair: puts the rules back if they are gone; None when the container needs none.
    """

    def __init__(
        self,
        loop: EventLoop,
        listeners: Sequence[Listener],
        address: str,
        repair: Callable[[], None] | None,
    ):
        self._listeners = tuple(listeners)
        self._address = address
        self._watch: Watch | None = None
        self._proxy: Proxy | None = None
        if repair is not None:
            from jubako.networks.watch import Watch

            self._watch = Watch(loop, repair)
        if self._listeners:
            from jubako.networks.proxy import Proxy

            self._proxy = Proxy(loop, self._listeners, address)

    @property
    def idle(self) -> bool:
        """Whether the proxy has nobody to serve at this moment."""
        return self._proxy is None or self._proxy.idle

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of after an exec; only while `idle`."""
        return {
            "listeners": [listener.hand_over() for listener in self._listeners],
            "address": self._address,
            "watch": self._watch is not None,
        }

    @classmethod
    def take_over(
        cls, loop: EventLoop, state: dict[str, Any], repair: Callable[[], None]
    ) -> Serving:
        """Go on with what `hand_over` described, in the process that inherited the sockets."""
        listeners = [Listener.take_over(item) for item in state["listeners"]]
        return cls(loop, listeners, state["address"], repair if state["watch"] else None)

    def close(self) -> None:
        """End everything and give up the ports.  Idempotent."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        close_all(self._listeners)
        self._listeners = ()
