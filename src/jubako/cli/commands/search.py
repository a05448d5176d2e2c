"""`jubako search`: look for images in a registry."""

from __future__ import annotations

from jubako.cli import filters, listing
from jubako.cli.flags import INT, STRING, Command, Flag
from jubako.cli.table import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] TERM",
    (
        filters.filter_flag(),
        Flag("format", "", STRING),
        Flag("limit", "", INT),
        Flag("no-trunc"),
    ),
    minimum=1,
    maximum=1,
)
_DESCRIPTION_WIDTH = 45


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    if "is-automated" in wanted:
        session.err(
            'WARNING: the "is-automated" filter is deprecated, and searching for '
            '"is-automated=true" will not yield any results in future.'
        )
    found = session.engine.registries.search(
        call.args[0], filters=wanted, limit=call.number("limit")
    )
    listed(not call.flag("no-trunc")).write(session, found, call.text("format"))
    return 0


def listed(trunc: bool) -> listing.Listing:
    def description(item: Any) -> str:
        text: str = item["description"].replace("\n", " ").replace("\r", " ")
        return ellipsis(text, _DESCRIPTION_WIDTH) if trunc else text

    return listing.Listing(
        "*registry.searchContext",
        {
            "Name": ("NAME", lambda item: item["name"]),
            "Description": ("DESCRIPTION", description),
            "StarCount": ("STARS", lambda item: str(item["star_count"])),
            "IsOfficial": ("OFFICIAL", lambda item: "[OK]" if item["is_official"] else ""),
        },
        ("Name", "Description", "StarCount", "IsOfficial"),
        "Name",
        in_json={"IsOfficial": lambda item: "true" if item["is_official"] else "false"},
    )
