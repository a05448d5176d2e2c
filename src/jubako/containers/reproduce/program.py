"""A container as a Python program that uses the engine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.containers.model import Json
    from jubako.containers.reproduce import Source

_WIDTH = 88


def write(source: Source) -> str:
    """The program, with what it does not do in comments."""
    config: Json = {"Image": source.image, **source.config}
    arguments = [_literal(config, 8), _literal(source.host, 8), f"name={source.name!r}"]
    if source.endpoint:
        mode = source.host.get("NetworkMode") or "default"
        wanted = {"EndpointsConfig": {mode: source.endpoint}}
        arguments.append(f"networking_config={_literal(wanted, 8)}")
    if source.secrets:
        secrets = []
        for entry in source.secrets:
            secret: Json = {key: value for key, value in entry.items() if key != "Kept"}
            if "File" not in secret and "Env" not in secret:
                secret["Env"] = "VARIABLE"
            secrets.append(secret)
        arguments.append(f"secrets={_literal(secrets, 8)}")
    lines = [f"# not reproduced: {name}" for name in source.lost]
    lines += ["from jubako import Engine", "", "with Engine() as engine:"]
    lines.append("    container = engine.containers.create(")
    lines += [f"        {argument}," for argument in arguments]
    lines += ["    )", '    engine.containers.start(container["Id"])']
    return "\n".join(lines)


def _literal(value: Any, indent: int) -> str:
    """A Python expression, on several lines when it does not fit on one."""
    short = repr(value)
    if len(short) + indent <= _WIDTH or not isinstance(value, (dict, list)) or not value:
        return short
    margin = " " * (indent + 4)
    inner = "".join(f"{margin}{line},\n" for line in _entries(value, indent + 4))
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{opening}\n{inner}{' ' * indent}{closing}"


def _entries(value: dict[Any, Any] | list[Any], indent: int) -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield f"{key!r}: {_literal(entry, indent)}"
    else:
        for entry in value:
            yield _literal(entry, indent)
