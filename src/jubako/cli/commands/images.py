"""`jubako images`: the list of images."""

from __future__ import annotations

from jubako.cli import filters, listing, tree, units
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.session import PROGRAM
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    (
        Flag("all", "a"),
        Flag("digests"),
        filters.filter_flag(),
        Flag("format", "", STRING),
        Flag("no-trunc"),
        Flag("quiet", "q"),
    ),
    maximum=1,
)
_COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    if call.args:
        wanted.setdefault("reference", []).append(call.args[0])
    layout, digests = call.text("format"), call.flag("digests")
    found = session.engine.images.list(wanted, all=call.flag("all"))
    if digests and layout.startswith("table ") and "{{.Digest}}" not in layout:
        layout += "\t{{.Digest}}"
    lines = [
        row for image in found for row in rows(image, digests, digests or "{{.Digest}}" in layout)
    ]
    listed(not call.flag("no-trunc")).write(
        session,
        lines,
        layout,
        quiet=call.flag("quiet"),
        columns=_WITH_DIGEST if digests else _COLUMNS,
    )
    if call.args and not found and session.path.endswith(" images"):
        _hint(session, call.args[0])
    return 0


def _hint(session: Session, name: str) -> None:
    """`jubako images ls` looks for an image called ls, which is seldom what was meant."""
    if name in {*tree.GROUPS["image"], *tree.ALIASES["image"]}:
        question = f'did you mean "{PROGRAM} image {name}"?'
        session.err(f"\nNo images found matching {quote(name)}: {question}")


def rows(image: Any, by_digest: bool, show_digest: bool) -> Iterator[dict[str, Any]]:
    """A row for each name of an image: one `<none>` row when it has none."""
    tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
    digests = [one for one in image.get("RepoDigests") or () if one != "<none>@<none>"]
    if not tags and not digests:
        yield _row(image, "<none>", "<none>", "<none>")
        return
    tagged: set[str] = set()
    for name in tags:
        repository, _, tag = name.rpartition(":")
        tagged.add(repository)
        own = [one.partition("@")[2] for one in digests if one.partition("@")[0] == repository]
        for digest in (own if show_digest else ()) or ("<none>",):
            yield _row(image, repository, tag, digest)
    for one in digests:
        repository, _, digest = one.partition("@")
        if repository not in tagged:
            yield _row(image, repository, "<none>", digest if by_digest else "<none>")


def _row(image: Any, repository: str, tag: str, digest: str) -> dict[str, Any]:
    return {**image, "repository": repository, "tag": tag, "digest": digest}


def listed(trunc: bool) -> listing.Listing:
    fields: listing.Fields = {
        "ID": ("IMAGE ID", lambda i: listing.short_id(i["Id"]) if trunc else i["Id"]),
        "Repository": ("REPOSITORY", lambda i: i["repository"]),
        "Tag": ("TAG", lambda i: i["tag"]),
        "Digest": ("DIGEST", lambda i: i["digest"]),
        "CreatedSince": ("CREATED", lambda i: units.ago(i["Created"])),
        "CreatedAt": ("CREATED AT", lambda i: units.go_time(i["Created"])),
        "Size": ("SIZE", lambda i: units.human_size(i["Size"], 3)),
        "Containers": ("CONTAINERS", lambda i: _count(i.get("Containers", -1))),
        "VirtualSize": ("SIZE", lambda i: units.human_size(i["Size"])),
        "SharedSize": ("SHARED SIZE", lambda i: _amount(i.get("SharedSize", -1))),
        "UniqueSize": ("UNIQUE SIZE", _unique_size),
    }
    return listing.Listing("*formatter.imageContext", fields, _COLUMNS, "ID")


def _count(number: int) -> str:
    return "N/A" if number == -1 else str(number)


def _amount(size_bytes: int) -> str:
    return "N/A" if size_bytes == -1 else units.human_size(size_bytes)


def _unique_size(image: Any) -> str:
    shared: int = image.get("SharedSize", -1)
    return "N/A" if shared == -1 else units.human_size(image["Size"] - shared)
