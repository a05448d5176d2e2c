"""`jubako exec`: one more program in a running container."""

from __future__ import annotations

from jubako.cli import foreground, values
from jubako.cli.flags import LIST, STRING, Command, Flag, OptionError, Refused
from jubako.cli.session import terminal_size
from jubako.errors import Detached, StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    (
        Flag("detach", "d"),
        Flag("detach-keys", "", STRING),
        Flag("env", "e", LIST, parse=values.environment),
        Flag("env-file", "", LIST),
        Flag("interactive", "i"),
        Flag("privileged"),
        Flag("tty", "t"),
        Flag("user", "u", STRING),
        Flag("workdir", "w", STRING),
    ),
    minimum=2,
    maximum=None,
    interspersed=False,
    program=True,
)


def run(session: Session, call: Call) -> int:
    env = call.many("env")
    if call.given("env-file"):
        import os

        from jubako.cli import keyvalue

        try:
            env = keyvalue.read(call.many("env-file"), env, os.environ)
        except OptionError as exc:
            raise Refused(exc.message) from exc
    detach, tty, interactive = call.flag("detach"), call.flag("tty"), call.flag("interactive")
    if not detach:
        foreground.check_terminal(interactive, tty)
    from jubako.containers.exec.holder import prepare

    prepare()
    try:
        execution = session.engine.containers.exec(
            call.args[0],
            call.args[1:],
            user=call.text("user"),
            env=env,
            workdir=call.text("workdir"),
            tty=tty,
            interactive=interactive,
            privileged=call.flag("privileged"),
            detach=detach,
            detach_keys=call.text("detach-keys"),
            console_size=terminal_size() if tty else None,
        )
    except StartError as exc:
        if detach:  # Docker's command does not wait for an exit code here, and says 1
            raise Refused(exc.message, hint=exc.hint) from exc
        raise
    if execution is None:
        return 0
    try:
        return foreground.pump(
            execution,
            stdin=interactive,
            tty=tty,
            detach_keys=call.text("detach-keys"),
            sig_proxy=False,
        )
    except Detached:
        raise Refused("read escape sequence") from None
