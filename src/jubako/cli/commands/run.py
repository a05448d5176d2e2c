"""`jubako run`: create a container, start it and stay with it, or not with `-d`."""

from __future__ import annotations

from jubako.cli import creating, foreground, run_options
from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.cli.run_flags import FLAGS
from jubako.errors import Detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    (
        *FLAGS,
        Flag("detach", "d"),
        Flag("detach-keys", "", STRING),
        Flag("sig-proxy", default=True),
    ),
    minimum=1,
    maximum=None,
    interspersed=False,
    failure=125,
    program=True,
)


def run(session: Session, call: Call) -> int:
    session.engine.containers.prepare_start()
    config, host = run_options.build(call)
    detach, tty = call.flag("detach"), config["Tty"]
    if detach:
        if call.given("attach"):
            raise Refused("conflicting options: cannot specify both --attach and --detach")
        config["AttachStdin"] = config["AttachStdout"] = config["AttachStderr"] = False
        config["StdinOnce"] = False
    else:
        foreground.check_terminal(config["AttachStdin"], tty)
        foreground.check_detach_keys(call.text("detach-keys"))
    container_id = creating.create(session, call, config, host)
    containers = session.engine.containers
    stdin = config["AttachStdin"]
    stdout, stderr = config["AttachStdout"], config["AttachStderr"]
    if not (stdin or stdout or stderr):
        containers.start(container_id)
        session.out(container_id)
        return 0
    attachment = containers.start(container_id, attach=True)
    assert attachment is not None
    try:
        return foreground.pump(
            attachment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            tty=tty,
            detach_keys=call.text("detach-keys"),
            sig_proxy=call.flag("sig-proxy"),
        )
    except Detached:
        return 0
