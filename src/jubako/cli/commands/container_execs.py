"""`jubako container execs`: what `exec` has started in a container."""

from __future__ import annotations

from jubako.cli import listing
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.table import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (
        Flag("all", "a"),
        Flag("format", "", STRING),
        Flag("no-trunc"),
        Flag("quiet", "q"),
    ),
    minimum=1,
    maximum=1,
)
_COLUMNS = ("ID", "Command", "User", "CreatedAt", "Status", "Pid")
_COMMAND_WIDTH = 40


def run(session: Session, call: Call) -> int:
    found = session.engine.containers.execs.list(call.args[0])
    if not call.flag("all"):
        found = [row for row in found if row["ExitCode"] is None]
    trunc = not call.flag("no-trunc")
    _list(trunc).write(session, found, call.text("format"), quiet=call.flag("quiet"))
    return 0


def _list(trunc: bool) -> listing.Listing:
    def command(row: dict[str, Any]) -> str:
        config = row["ProcessConfig"]
        text = " ".join((config["entrypoint"], *config["arguments"]))
        return ellipsis(text, _COMMAND_WIDTH) if trunc else text

    fields: listing.Fields = {
        "ID": ("EXEC ID", lambda row: listing.short_id(row["ID"]) if trunc else row["ID"]),
        "Command": ("COMMAND", command),
        "User": ("USER", lambda row: row["ProcessConfig"].get("user", "")),
        "CreatedAt": ("CREATED", lambda row: f"{row['Created'][:19]}Z"),
        "Status": ("STATUS", _status),
        "Pid": ("PID", lambda row: str(row["Pid"] or "")),
        "ExitCode": ("EXIT CODE", lambda row: row["ExitCode"]),
        "TTY": ("TTY", lambda row: row["ProcessConfig"]["tty"]),
    }
    return listing.Listing("*container.execContext", fields, _COLUMNS, "ID")


def _status(row: dict[str, Any]) -> str:
    if row["Running"]:
        return "running"
    return "created" if row["ExitCode"] is None else f"exited ({row['ExitCode']})"
