"""`jubako volume ls`: the list of volumes."""

from __future__ import annotations

from jubako.cli import filters, listing, units
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.natural import natural_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]", (filters.filter_flag(), Flag("format", "", STRING), Flag("quiet", "q"))
)


def run(session: Session, call: Call) -> int:
    found = session.engine.volumes.list(filters.collect(call))
    found = sorted(found, key=lambda volume: natural_key(volume["Name"]))
    LIST.write(session, found, call.text("format"), quiet=call.flag("quiet"))
    return 0


def _usage(volume: Any, key: str) -> Any:
    return (volume.get("UsageData") or {}).get(key)


def _links(volume: Any) -> str:
    count = _usage(volume, "RefCount")
    return "N/A" if count is None else str(count)


def _size(volume: Any) -> str:
    size_bytes = _usage(volume, "Size")
    return "N/A" if size_bytes is None else units.human_size(size_bytes)


LIST = listing.Listing(
    "*formatter.volumeContext",
    {
        "Name": ("VOLUME NAME", lambda v: v["Name"]),
        "Driver": ("DRIVER", lambda v: v["Driver"]),
        "Scope": ("SCOPE", lambda v: v["Scope"]),
        "Mountpoint": ("MOUNTPOINT", lambda v: v["Mountpoint"]),
        "Labels": ("LABELS", listing.labels),
        "Links": ("LINKS", _links),
        "Size": ("SIZE", _size),
        "Group": ("GROUP", lambda v: "N/A"),
        "Availability": ("AVAILABILITY", lambda v: "N/A"),
        "Status": ("STATUS", lambda v: "N/A"),
    },
    ("Driver", "Name"),
    "Name",
)
