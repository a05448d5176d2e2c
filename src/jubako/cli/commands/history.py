"""`jubako history`: the layers of an image and what made them."""

from __future__ import annotations

from jubako.cli import listing, units
from jubako.cli.flags import LATER, STRING, Command, Flag
from jubako.cli.table import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] IMAGE",
    (
        Flag("format", "", STRING),
        Flag("human", "H", default=True),
        Flag("no-trunc"),
        Flag("platform", "", STRING, refused=LATER),
        Flag("quiet", "q"),
    ),
    minimum=1,
    maximum=1,
)
_EPOCH = 946684800  # 2000-01-01: before it, the time was left out to make the build reproducible
_CREATED_BY_WIDTH = 45


def run(session: Session, call: Call) -> int:
    human = call.flag("human")
    created = "CreatedSince" if human else "CreatedAt"
    _list(not call.flag("no-trunc"), human).write(
        session,
        session.engine.images.history(call.args[0]),
        call.text("format"),
        quiet=call.flag("quiet"),
        columns=("ID", created, "CreatedBy", "Size", "Comment"),
    )
    return 0


def _list(trunc: bool, human: bool) -> listing.Listing:
    fields: listing.Fields = {
        "ID": ("IMAGE", lambda h: listing.short_id(h["Id"]) if trunc else h["Id"]),
        "CreatedSince": ("CREATED", _created_since if human else _created_at),
        "CreatedAt": ("CREATED AT", _created_at),
        "CreatedBy": ("CREATED BY", lambda h: _created_by(h, trunc)),
        "Size": ("SIZE", lambda h: units.human_size(h["Size"], 3) if human else str(h["Size"])),
        "Comment": ("COMMENT", lambda h: h["Comment"]),
    }
    return listing.Listing("*image.historyContext", fields, (), "ID")


def _created_by(step: Any, trunc: bool) -> str:
    text = step["CreatedBy"].replace("\t", " ")
    return ellipsis(text, _CREATED_BY_WIDTH) if trunc else text


def _created_since(step: Any) -> str:
    return units.NOT_KNOWN if step["Created"] <= _EPOCH else units.ago(step["Created"])


def _created_at(step: Any) -> str:
    return units.rfc3339(step["Created"])
