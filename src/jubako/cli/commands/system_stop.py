"""`jubako system stop`: before the machine goes down, stop every container."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import INT, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (Flag("timeout", "t", INT),))


def run(session: Session, call: Call) -> int:
    timeout_s = call.number("timeout") if call.given("timeout") else None
    names = session.engine.containers.to_stop_at_shutdown()
    session.engine.close()  # the children open it themselves

    def stop(name: str) -> None:
        session.engine.containers.stop_for_shutdown(name, timeout_s=timeout_s)

    return many.each_at_once(session, names, stop)
