"""`jubako start`: stopped containers run again."""

from __future__ import annotations

from jubako.cli import foreground
from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.errors import Detached, JubakoError, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Flag("attach", "a"),
        Flag("detach-keys", "", STRING),
        Flag("interactive", "i"),
    ),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    session.engine.containers.prepare_start()
    if call.flag("attach") or call.flag("interactive"):
        return _attached(session, call)
    errors: list[JubakoError] = []
    failed: list[str] = []
    for name in call.args:
        try:
            session.engine.containers.start(name)
        except JubakoError as exc:
            errors.append(exc)
            failed.append(name)
        else:
            session.out(name)
    if failed:
        errors.append(JubakoError(f"failed to start containers: {', '.join(failed)}"))
    raise_all(errors)
    return 0


def _attached(session: Session, call: Call) -> int:
    if len(call.args) > 1:
        raise Refused("you cannot start and attach multiple containers at once")
    foreground.check_detach_keys(call.text("detach-keys"))
    containers = session.engine.containers
    config = containers.inspect(call.args[0])["Config"]
    attachment = containers.start(call.args[0], attach=True)
    assert attachment is not None
    try:
        return foreground.pump(
            attachment,
            stdin=call.flag("interactive") and config["OpenStdin"],
            tty=config["Tty"],
            detach_keys=call.text("detach-keys"),
            sig_proxy=not config["Tty"],
        )
    except Detached:
        return 0
