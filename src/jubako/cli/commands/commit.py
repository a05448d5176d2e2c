"""`jubako commit`: an image from what a container has changed."""

from __future__ import annotations

from jubako.cli.flags import LIST, STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    (
        Flag("author", "a", STRING),
        Flag("change", "c", LIST),
        Flag("message", "m", STRING),
        Flag("pause", "p", default=True),
    ),
    minimum=1,
    maximum=2,
    interspersed=False,
)


def run(session: Session, call: Call) -> int:
    image_id = session.engine.containers.commit(
        call.args[0],
        call.args[1] if len(call.args) > 1 else None,
        author=call.text("author"),
        message=call.text("message"),
        changes=call.many("change"),
        pause=call.flag("pause"),
    )
    session.out(image_id)
    return 0
