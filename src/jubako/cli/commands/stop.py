"""`jubako stop`: ask containers to end, and kill those that do not."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import BOOL, INT, STRING, Command, Flag, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

FLAGS = (
    Flag("signal", "s", STRING),
    Flag("time", "", INT, hidden=True),
    Flag("timeout", "t", INT),
)
COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (Flag("exec", "", BOOL), *FLAGS),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    timeout_s, signal = seconds(session, call), call.text("signal") or None

    def stop(name: str) -> None:
        containers = session.engine.containers
        if call.flag("exec"):
            containers.execs.stop(name, timeout_s=timeout_s, signal_name=signal)
        else:
            containers.stop(name, timeout_s=timeout_s, signal=signal)

    return many.each_at_once(session, call.args, stop)


def seconds(session: Session, call: Call) -> int | None:
    """The value of `--timeout` or of its old name `--time`; None when neither was given."""
    if call.given("time"):
        session.err("Flag --time has been deprecated, use --timeout instead")
        if call.given("timeout"):
            raise Refused("conflicting options: cannot specify both --timeout and --time")
        return call.number("time")
    return call.number("timeout") if call.given("timeout") else None
