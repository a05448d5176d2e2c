"""`jubako bootstrap`: a base image straight from a distribution's signed archive."""

from __future__ import annotations

from jubako.cli.flags import LIST, STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] DISTRIBUTION:SUITE",
    (
        Flag("include", "", LIST),
        Flag("mirror", "", STRING),
        Flag("quiet", "q"),
        Flag("tag", "t", STRING),
        Flag("variant", "", STRING, default="minbase"),
    ),
    minimum=1,
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    target = call.args[0]
    packages = [name for text in call.many("include") for name in text.split(",") if name]
    if not call.flag("quiet"):
        session.err(f"Making {target} from the distribution's archive; this takes a while")
    image_id = session.engine.images.bootstrap(
        target,
        mirror=call.text("mirror") or None,
        include=packages,
        variant=call.text("variant"),
        tag=call.text("tag") or None,
    )
    session.out(image_id)
    return 0
