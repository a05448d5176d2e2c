"""`jubako system df`: what takes how much of the disk."""

from __future__ import annotations

from jubako.cli import listing, table, units
from jubako.cli.commands import images, ps, volume_ls
from jubako.cli.flags import STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (Flag("all", "a"), Flag("format", "", STRING), Flag("verbose", "v")))
_KINDS = (
    ("Images", "ImageUsage"),
    ("Containers", "ContainerUsage"),
    ("Local Volumes", "VolumeUsage"),
    ("Build Cache", "BuildCacheUsage"),
)
_IMAGE_COLUMNS = (
    *("Repository", "Tag", "ID", "CreatedSince"),
    *("Size", "SharedSize", "UniqueSize", "Containers"),
)
_CONTAINER_COLUMNS = (
    *("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"),
)
_VOLUME_COLUMNS = ("Name", "Links", "Size")
_CACHE_COLUMNS = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")


def run(session: Session, call: Call) -> int:
    layout = call.text("format")
    if call.flag("all"):
        _account(session, layout)
        return 0
    usage = session.engine.system.disk_usage()
    if not call.flag("verbose"):
        rows = [{"Type": title, **usage[key]} for title, key in _KINDS]
        _LIST.write(session, rows, layout)
        return 0
    if layout in ("", "table"):
        _write_tables(session, usage)
        return 0
    from jubako.golang.template import render

    data = {
        "Images": _all(images.listed(False), _image_rows(usage)),
        "Containers": _all(ps.listed(False), _containers(usage)),
        "Volumes": _all(volume_ls.LIST, usage["Volumes"]),
        "BuildCache": [],
    }
    session.out(render(listing.parse_layout(layout), data))
    return 0


def _account(session: Session, layout: str) -> None:
    rows = session.engine.system.disk_account()
    if layout in ("", "table"):
        counts = {key: sum(row[key] for row in rows) for key in ("Count", "Size")}
        rows.append({"Kind": "total", "FreedBy": "", **counts})
    _ACCOUNT.write(session, rows, layout)


def _reclaimable(row: Any) -> str:
    size = units.human_size(row["Reclaimable"])
    if not row["TotalSize"]:
        return size
    return f"{size} ({row['Reclaimable'] * 100 // row['TotalSize']}%)"


_LIST = listing.Listing(
    "*formatter.diskUsageImagesContext",  # in Docker the type of the first row
    {
        "Type": ("TYPE", lambda row: row["Type"]),
        "TotalCount": ("TOTAL", lambda row: str(row["TotalCount"])),
        "Active": ("ACTIVE", lambda row: str(row["ActiveCount"])),
        "Size": ("SIZE", lambda row: units.human_size(row["TotalSize"])),
        "Reclaimable": ("RECLAIMABLE", _reclaimable),
    },
    ("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    "Type",
)


_ACCOUNT = listing.Listing(
    "*formatter.diskAccountContext",
    {
        "Kind": ("KIND", lambda row: row["Kind"]),
        "Count": ("FILES", lambda row: str(row["Count"])),
        "Size": ("ON DISK", lambda row: units.human_size(row["Size"])),
        "FreedBy": ("FREED BY", lambda row: row["FreedBy"]),
    },
    ("Kind", "Count", "Size", "FreedBy"),
    "Kind",
    in_json={"Count": lambda row: row["Count"], "Size": lambda row: row["Size"]},
)


def _write_tables(session: Session, usage: Any) -> None:
    session.out("Images space usage:\n")
    images.listed(True).write(session, _image_rows(usage), columns=_IMAGE_COLUMNS)
    session.out("\nContainers space usage:\n")
    ps.listed(True).write(session, _containers(usage), columns=_CONTAINER_COLUMNS)
    session.out("\nLocal Volumes space usage:\n")
    volume_ls.LIST.write(session, usage["Volumes"], columns=_VOLUME_COLUMNS)
    size = units.human_size(usage["BuildCacheUsage"]["TotalSize"])
    session.out(f"\nBuild cache usage: {size}\n")
    session.out(table.rows(_CACHE_COLUMNS, ()))


def _image_rows(usage: Any) -> list[dict[str, Any]]:
    return [row for image in usage["Images"] for row in images.rows(image, False, False)]


def _containers(usage: Any) -> list[dict[str, Any]]:
    """Without the size of their images, which is told with those."""
    return [{**container, "SizeRootFs": 0} for container in usage["Containers"]]


def _all(fields: listing.Listing, data: Any) -> list[dict[str, Any]]:
    return [fields.row(one).to_json() for one in data]
