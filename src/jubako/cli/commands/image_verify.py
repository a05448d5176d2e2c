"""`jubako image verify`: is everything on disk what its digest says?"""

from __future__ import annotations

from jubako.cli import listing
from jubako.cli.flags import STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.images.verifying.verification import Finding

COMMAND = Command(
    "[OPTIONS] [IMAGE...]",
    (Flag("format", "", STRING), Flag("quiet", "q"), Flag("repair")),
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    findings = session.engine.images.verify(call.args, repair=call.flag("repair"))
    left = [one for one in findings if not one.repaired and one.kind != "orphan"]
    layout, quiet = call.text("format"), call.flag("quiet")
    if layout or quiet:
        _LIST.write(session, left if quiet else findings, layout, quiet=quiet)
    else:
        for finding in findings:
            _tell(session, finding)
        if not left:
            session.out("Nothing is damaged." if not findings else "Nothing is damaged any more.")
    return 1 if left else 0


def _tell(session: Session, finding: Finding) -> None:
    users = f" of {', '.join(finding.images)}" if finding.images else ""
    session.out(f"{finding.kind} {finding.subject}{users}")
    session.out(f"  {finding.problem}")
    session.out(f"  {'repaired: ' if finding.repaired else ''}{finding.remedy}")


def _state(finding: Any) -> str:
    if finding.repaired:
        return "repaired"
    return "unused" if finding.kind == "orphan" else "damaged"


_LIST = listing.Listing(
    "*formatter.findingContext",
    {
        "Kind": ("KIND", lambda one: one.kind),
        "Subject": ("SUBJECT", lambda one: one.subject),
        "Images": ("IMAGES", lambda one: ", ".join(one.images)),
        "State": ("STATE", _state),
        "Problem": ("PROBLEM", lambda one: one.problem),
        "Remedy": ("REMEDY", lambda one: one.remedy),
    },
    ("Kind", "Subject", "Images", "State", "Problem"),
    "Subject",
)
