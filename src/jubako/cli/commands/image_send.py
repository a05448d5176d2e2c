"""`jubako image send`: the side of `image cp` that has the images."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("IMAGE [IMAGE...]", minimum=1, maximum=None)


def run(session: Session, call: Call) -> int:
    from jubako.images.copying.protocol import Peer
    from jubako.images.copying.sending import send

    peer = Peer(0, 1, "the receiving side")
    try:
        send(session.engine.images, call.args, peer)
    except JubakoError:
        if peer.told:
            return 1
        raise
    return 0
