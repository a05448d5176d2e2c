"""`jubako port`: where a container's published ports are on the host."""

from __future__ import annotations

from jubako.cli.flags import Command, parse_int
from jubako.cli.natural import natural_key
from jubako.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("CONTAINER [PRIVATE_PORT[/PROTO]]", minimum=1, maximum=2)


def run(session: Session, call: Call) -> int:
    name = call.args[0]
    ports = session.engine.containers.inspect(name)["NetworkSettings"]["Ports"] or {}
    if len(call.args) > 1:
        lines = _one(ports, name, call.args[1])
    else:
        lines = [
            f"{port} -> {_address(binding)}"
            for port, bindings in ports.items()
            for binding in bindings or ()
        ]
    for line in sorted(lines, key=natural_key):
        session.out(line)
    return 0


def _one(ports: dict[str, list[dict[str, str]] | None], name: str, text: str) -> list[str]:
    number, _, protocol = text.partition("/")
    try:
        parse_int(number, bits=16, signed=False, base=10)
    except ValueError as exc:
        raise InvalidArgument(f"invalid port ({number}): {exc}") from None
    bindings = ports.get(f"{number}/{protocol or 'tcp'}")
    if not bindings:
        raise NotFound(f"No public port '{text}' published for {name}")
    return [_address(binding) for binding in bindings]


def _address(binding: dict[str, str]) -> str:
    host = binding["HostIp"]
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"
