"""`jubako attach`: the streams of a container that runs already."""

from __future__ import annotations

from jubako.cli import foreground
from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.errors import Detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (
        Flag("detach-keys", "", STRING),
        Flag("no-stdin"),
        Flag("sig-proxy", default=True),
    ),
    minimum=1,
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    name = call.args[0]
    containers = session.engine.containers
    details = containers.inspect(name)
    config, state = details["Config"], details["State"]
    if not state["Running"]:
        raise Refused("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise Refused("You cannot attach to a paused container, unpause it first")
    tty = config["Tty"]
    stdin = config["OpenStdin"] and not call.flag("no-stdin")
    foreground.check_terminal(not call.flag("no-stdin"), tty)
    foreground.check_detach_keys(call.text("detach-keys"))
    attachment = containers.attach(name, stdin=stdin)
    try:
        return foreground.pump(
            attachment,
            stdin=stdin,
            tty=tty,
            detach_keys=call.text("detach-keys"),
            sig_proxy=call.flag("sig-proxy") and not tty,
        )
    except Detached:
        raise Refused("read escape sequence") from None
