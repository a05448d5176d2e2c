"""`jubako ps`: the list of containers."""

from __future__ import annotations

from jubako.cli import filters, listing, units
from jubako.cli.flags import INT, STRING, Command, Flag
from jubako.cli.ports import describe
from jubako.cli.table import ellipsis
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("all", "a"),
        filters.filter_flag(),
        Flag("format", "", STRING),
        Flag("last", "n", INT, default=-1),
        Flag("latest", "l"),
        Flag("no-trunc"),
        Flag("quiet", "q"),
        Flag("size", "s"),
    ),
)
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15


def run(session: Session, call: Call) -> int:
    layout, quiet = call.text("format"), call.flag("quiet")
    if layout and quiet:
        session.err("WARNING: Ignoring custom format, because both --format and --quiet are set.")
    size = call.flag("size")
    if layout and _uses_size(layout) and not quiet and not call.given("size"):
        size = True
    last = call.number("last")
    limit = 1 if call.flag("latest") and last == -1 else last
    found = session.engine.containers.list(
        all=call.flag("all"),
        limit=limit if limit > 0 else None,
        filters=filters.collect(call),
        size=size,
    )
    columns = (*_COLUMNS, "Size") if size else _COLUMNS
    trunc = not call.flag("no-trunc")
    listed(trunc).write(session, found, "" if quiet else layout, quiet=quiet, columns=columns)
    return 0


def listed(trunc: bool) -> listing.Listing:
    fields: listing.Fields = {
        "ID": ("CONTAINER ID", lambda c: listing.short_id(c["Id"]) if trunc else c["Id"]),
        "Names": ("NAMES", lambda c: _names(c, trunc)),
        "Image": ("IMAGE", lambda c: _image(c, trunc)),
        "Command": ("COMMAND", lambda c: _command(c, trunc)),
        "CreatedAt": ("CREATED AT", lambda c: units.go_time(c["Created"])),
        "RunningFor": ("CREATED", lambda c: units.ago(c["Created"])),
        "Ports": ("PORTS", lambda c: describe(c["Ports"])),
        "State": ("STATE", lambda c: c["State"]),
        "Status": ("STATUS", lambda c: c["Status"]),
        "Size": ("SIZE", _size),
        "Labels": ("LABELS", listing.labels),
        "Mounts": ("MOUNTS", lambda c: _mounts(c, trunc)),
        "LocalVolumes": ("LOCAL VOLUMES", _local_volumes),
        "Networks": ("NETWORKS", lambda c: ",".join(c["NetworkSettings"]["Networks"])),
        "Platform": ("PLATFORM", lambda c: None),
    }
    return listing.Listing("*formatter.ContainerContext", fields, _COLUMNS, "ID")


def _uses_size(layout: str) -> bool:
    """Whether a template shows the size, which costs a walk through the files to find out.

    Raises TemplateError for a template that does not parse.
    """
    from jubako.golang.template import TemplateError, parse, render

    try:
        template = parse(layout)
    except TemplateError as exc:
        raise TemplateError(f"failed to parse template: {exc}") from exc
    probe = _Probe()
    try:
        render(template, probe)
    except TemplateError as exc:
        raise TemplateError(f"failed to execute template: {exc}") from exc
    return probe.used


class _Probe:
    """An empty row that notices whether it is asked for its size."""

    go_type = "*formatter.ContainerContext"

    def __init__(self) -> None:
        self.used = False
        self._names = listed(True).fields

    def lookup(self, name: str) -> Any:
        if name == "Label":
            return lambda label: ""
        self.used = self.used or name == "Size"
        if name not in self._names:
            raise KeyError(name)
        return ""

    def to_json(self) -> dict[str, Any]:
        self.used = True
        return {}


def _names(container: Any, trunc: bool) -> str:
    names = [name[1:] for name in container["Names"]]
    own = [name for name in names if "/" not in name]
    return ",".join(own[:1] if trunc and own else names)


def _image(container: Any, trunc: bool) -> str:
    image: str = container["Image"]
    if not image:
        return "<no image>"
    if not trunc:
        return image
    identifier = listing.short_id(container["ImageID"])
    if listing.short_id(image) == identifier:
        return identifier
    name, _, digest = image.partition("@")
    return name if digest else image


def _command(container: Any, trunc: bool) -> str:
    command: str = container["Command"]
    return quote(ellipsis(command, _COMMAND_WIDTH) if trunc else command)


def _size(container: Any) -> str:
    written = units.human_size(container.get("SizeRw", 0), 3)
    whole = container.get("SizeRootFs", 0)
    return f"{written} (virtual {units.human_size(whole, 3)})" if whole > 0 else written


def _mounts(container: Any, trunc: bool) -> str:
    names = [mount.get("Name") or mount.get("Source", "") for mount in container["Mounts"]]
    return ",".join(ellipsis(name, _MOUNT_WIDTH) if trunc else name for name in names)


def _local_volumes(container: Any) -> str:
    return str(sum(mount.get("Driver") == "local" for mount in container["Mounts"]))
