"""`jubako logout`: forget a registry's credentials."""

from __future__ import annotations

from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[SERVER]", maximum=1)


def run(session: Session, call: Call) -> int:
    from jubako.registry.credentials import DOCKER_KEY, host_of

    server = call.args[0] if call.args else ""
    session.out(f"Removing login credentials for {host_of(server) or DOCKER_KEY}")
    session.engine.registries.logout(server)
    return 0
