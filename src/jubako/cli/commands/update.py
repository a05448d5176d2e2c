"""`jubako update`: other limits or another restart policy for existing containers."""

from __future__ import annotations

from jubako.cli import limit_options, many, restart_options, values
from jubako.cli.flags import STRING, Command, Flag, OptionError, Refused
from jubako.cli.run_flags import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

_LIMITS = {*limit_options.TEXTS, *limit_options.NUMBERS}
_FLAGS = (
    *(flag for flag in FLAGS if flag.name in _LIMITS),
    Flag("kernel-memory", "", values.BYTES, hidden=True),
    Flag("restart", "", STRING),
)

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    tuple(sorted(_FLAGS, key=lambda flag: flag.name)),
    minimum=1,
    maximum=None,
)

_NUMBERS = {**limit_options.NUMBERS, "kernel-memory": "KernelMemory"}


def run(session: Session, call: Call) -> int:
    changes: dict[str, Any] = {
        key: get(flag)
        for table, get in ((limit_options.TEXTS, call.text), (_NUMBERS, call.number))
        for flag, key in table.items()
        if call.given(flag)
    }
    if call.given("restart"):
        try:
            changes["RestartPolicy"] = restart_options.parse(call.text("restart"))
        except OptionError as exc:
            raise Refused(exc.message) from exc
    if not changes:
        raise Refused("you must provide one or more flags when using this command")
    warnings: list[str] = []

    def update(name: str) -> None:
        warnings.extend(session.engine.containers.update(name, **changes)["Warnings"])

    try:
        return many.each(session, call.args, update)
    finally:
        for warning in warnings:
            session.out(warning)
