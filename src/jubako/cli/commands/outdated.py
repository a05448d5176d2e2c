"""`jubako outdated`: which images have a newer one in their registry."""

from __future__ import annotations

from jubako.cli import listing
from jubako.cli.flags import STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] [NAME[:TAG]...]",
    (Flag("format", "", STRING), Flag("no-trunc"), Flag("quiet", "q")),
    maximum=None,
)
_COLUMNS = ("Name", "Current", "Newest", "State")


def run(session: Session, call: Call) -> int:
    found = session.engine.images.outdated(call.args)
    quiet = call.flag("quiet")
    if quiet:
        found = [one for one in found if one["State"] == "newer"]
    _listed(not call.flag("no-trunc")).write(session, found, call.text("format"), quiet=quiet)
    if not quiet and not call.text("format"):
        for one in found:
            if one["Error"] and one["Current"]:  # others were never meant to be found
                session.err(f"{one['Name']}: {one['Error']}")
    return 0


def _listed(trunc: bool) -> listing.Listing:
    def digest(text: Any) -> str:
        return (listing.short_id(text) if trunc else str(text)) or "<none>"

    fields: listing.Fields = {
        "Name": ("NAME", lambda one: one["Name"]),
        "ID": ("IMAGE ID", lambda one: listing.short_id(one["ID"]) if trunc else one["ID"]),
        "Current": ("CURRENT", lambda one: digest(one["Current"])),
        "Newest": ("NEWEST", lambda one: digest(one["Newest"])),
        "State": ("STATE", lambda one: one["State"]),
        "Error": ("ERROR", lambda one: one["Error"]),
    }
    return listing.Listing("*formatter.outdatedContext", fields, _COLUMNS, "Name")
