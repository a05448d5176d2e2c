"""`jubako volume create`: an empty volume."""

from __future__ import annotations

from jubako.cli import values
from jubako.cli.flags import INT, LIST, STRING, Command, Flag, OptionError, Refused, parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] [VOLUME]",
    (
        Flag("driver", "d", STRING, default="local"),
        Flag("gid", "", INT),
        Flag("label", "", LIST, parse=values.label),
        Flag("mode", "", STRING),
        Flag("name", "", STRING, hidden=True),
        Flag("opt", "o", values.MAP),
        Flag("uid", "", INT),
    ),
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    name = call.text("name")
    if call.args:
        if name:
            raise Refused(
                "conflicting options: cannot specify a volume-name through both --name and as a "
                "positional arg"
            )
        name = call.args[0]
    volume = session.engine.volumes.create(
        name or None,
        driver=call.text("driver"),
        labels=dict(values.key_value(text) for text in call.many("label")),
        options=dict(call.many("opt")),
        uid=_number(call, "uid"),
        gid=_number(call, "gid"),
        mode=_mode(call.text("mode")),
    )
    session.out(volume["Name"])
    return 0


def _number(call: Call, name: str) -> int | None:
    return call.number(name) if call.given(name) else None


def _mode(text: str) -> int | None:
    try:
        return parse_int(text, signed=False, base=8) if text else None
    except ValueError as exc:
        raise OptionError(f"invalid mode: {text}") from exc
