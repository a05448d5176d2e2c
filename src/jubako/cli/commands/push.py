"""`jubako push`: an image, or all tags of a repository, to its registry."""

from __future__ import annotations

from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.cli.progress import ProgressDisplay
from jubako.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] NAME[:TAG]",
    (
        Flag("all-tags", "a"),
        Flag("disable-content-trust", default=True),
        Flag("platform", "", STRING),
        Flag("quiet", "q"),
    ),
    minimum=1,
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    reference = parse(call.args[0])
    quiet, all_tags = call.flag("quiet"), call.flag("all-tags")
    if all_tags and (reference.tag is not None or reference.digest is not None):
        raise Refused("tag can't be used with --all-tags/-a")
    if not all_tags and reference.tag is None and reference.digest is None:
        reference = reference.tagged()
        if not quiet:
            session.out(f"Using default tag: {reference.tag}")
    with ProgressDisplay(session, quiet=quiet) as show:
        session.engine.images.push(
            call.args[0],
            all_tags=all_tags,
            platform=call.text("platform") or None,
            progress=show,
        )
    if quiet:
        session.out(str(reference))
    return 0
