"""`jubako container edit`: another configuration for a container that exists."""

from __future__ import annotations

from jubako.cli import edit_options
from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    edit_options.FLAGS,
    minimum=1,
    maximum=None,
    interspersed=False,
)


def run(session: Session, call: Call) -> int:
    config, host = edit_options.build(call)
    dry_run = call.flag("dry-run")
    if not dry_run and call.flag("restart-now"):
        session.engine.containers.prepare_start()
    done = session.engine.containers.edit(
        call.args[0],
        config,
        host,
        remove={section: call.many(flag) for flag, section in edit_options.REMOVALS.items()},
        reset=call.many("reset"),
        secrets=call.many("secret"),
        remove_secrets=call.many("rm-secret"),
        restart_now=call.flag("restart-now"),
        remove_volumes=call.flag("rm-volumes"),
        dry_run=dry_run,
    )
    for warning in done["Warnings"]:
        session.err(f"WARNING: {warning}")
    for name in done["LeftVolumes"]:
        session.err(f"volume {name} is not used by the container any more; it was kept")
    if dry_run:
        _show(session, done["Changes"])
    else:
        session.out(call.args[0])
    return 0


def _show(session: Session, changes: list[dict[str, Any]]) -> None:
    """What would change, a line each; what a running container cannot get at once is marked."""
    from jubako.containers.changes import show

    for change in changes:
        mark = "" if change["Live"] else "  (needs a new start)"
        session.out(f"{change['Path']}: {show(change['Old'])} -> {show(change['New'])}{mark}")
    if not changes:
        session.out("nothing would change")
