"""`jubako network ls`: the list of networks."""

from __future__ import annotations

from jubako.cli import filters, listing
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.natural import natural_key
from jubako.errors import InvalidArgument
from jubako.golang.filters import has_labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]",
    (
        filters.filter_flag(),
        Flag("format", "", STRING),
        Flag("no-trunc"),
        Flag("quiet", "q"),
    ),
)

_BUILTIN = ("bridge", "host", "none")
_FILTERS: dict[str, Callable[[Any, str], bool]] = {
    "driver": lambda n, value: n["Driver"] == value,
    "id": lambda n, value: value in n["Id"],
    "name": lambda n, value: value in n["Name"],
    "scope": lambda n, value: n["Scope"] == value,
    "dangling": lambda n, value: _truth(value) == _is_dangling(n),
    "type": lambda n, value: _type(value) == ("builtin" if n["Name"] in _BUILTIN else "custom"),
}
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    found = [one for one in session.engine.networks.list() if _matches(one, wanted)]
    found = sorted(found, key=lambda network: natural_key(network["Name"]))
    trunc = not call.flag("no-trunc")
    _list(trunc).write(session, found, call.text("format"), quiet=call.flag("quiet"))
    return 0


def _list(trunc: bool) -> listing.Listing:
    fields: listing.Fields = {
        "ID": ("NETWORK ID", lambda n: listing.short_id(n["Id"]) if trunc else n["Id"]),
        "Name": ("NAME", lambda n: n["Name"]),
        "Driver": ("DRIVER", lambda n: n["Driver"]),
        "Scope": ("SCOPE", lambda n: n["Scope"]),
        "IPv4": ("IPV4", lambda n: _bool(n.get("EnableIPv4", True))),
        "IPv6": ("IPV6", lambda n: _bool(n.get("EnableIPv6", False))),
        "Internal": ("INTERNAL", lambda n: _bool(n.get("Internal", False))),
        "Labels": ("LABELS", listing.labels),
        "CreatedAt": ("CREATED AT", lambda n: n["Created"]),
    }
    return listing.Listing(
        "*network.networkContext", fields, ("ID", "Name", "Driver", "Scope"), "ID"
    )


def _is_dangling(network: Any) -> bool:
    return network["Name"] not in _BUILTIN and not network.get("Containers")


def _truth(text: str) -> bool:
    try:
        return _TRUTHS[text]
    except KeyError:
        raise InvalidArgument(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")',
            subject=text,
        ) from None


def _type(text: str) -> str:
    if text not in ("builtin", "custom"):
        raise InvalidArgument(f"invalid filter: 'type'='{text}'", subject=text)
    return text


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _matches(network: Any, wanted: dict[str, list[str]]) -> bool:
    """Docker's filters on networks; several values of a name are alternatives, except labels."""
    for name, values in wanted.items():
        if name == "label":
            if not has_labels(network.get("Labels") or {}, values):
                return False
            continue
        check = _FILTERS.get(name)
        if check is None:
            raise InvalidArgument(f"invalid filter '{name}'", subject=name)
        if not any(check(network, value) for value in values):
            return False
    return True
