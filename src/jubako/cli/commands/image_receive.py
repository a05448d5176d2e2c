"""`jubako image receive`: the side of `image cp` that gets the images."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("")


def run(session: Session, call: Call) -> int:
    from jubako.images.copying.protocol import Peer
    from jubako.images.copying.receiving import receive

    peer = Peer(0, 1, "the sending side")
    try:
        receive(session.engine.images, peer)
    except JubakoError:
        if peer.told:
            return 1
        raise
    return 0
