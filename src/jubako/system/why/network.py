"""Why a name or a port of a container does not answer.

Each published port is followed from outside to inside: is it published, at which address of the
host, does something listen in the container's network, at which address there.
"""

from __future__ import annotations

from jubako.errors import JubakoError
from jubako.linux import procnet
from jubako.system.why.findings import NOTE, OK, PROBLEM, finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from jubako.containers.model import PortBinding
    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.linux.procnet import Listening
    from jubako.system.why.findings import Finding
    from jubako.system.why.history import History

_LOCAL = ("127.0.0.1", "::1")


def ports(services: Services, history: History) -> Iterator[Finding]:
    """One finding for each published port, and for what listens without being published."""
    row = history.row
    if row is None:
        return
    host = row.record["HostConfig"]
    wanted: Mapping[str, Sequence[PortBinding]] = host.get("PortBindings") or {}
    if not row.running:
        for key, bindings in wanted.items():
            yield from _not_running(services, history, key, bindings)
        return
    inside = procnet.listening(row.pid)
    published = row.endpoint.get("Ports") or {}
    if host["NetworkMode"] == "host":
        if wanted:
            text = "Its ports are the host's own (`--network host`): `--publish` has no effect."
            yield finding("network", NOTE, text)
        return
    for key, bindings in sorted(published.items()):
        if bindings:
            yield _published(key, bindings, inside, row)
    yield from _unpublished(published, inside)
    yield from _foreign_drops(services, published)


def _published(
    key: str, bindings: Sequence[PortBinding], inside: Sequence[Listening], row: Container
) -> Finding:
    number, _, protocol = key.partition("/")
    places = ", ".join(map(_place, bindings))
    facts: dict[str, Any] = {"Port": key, "Published": [dict(one) for one in bindings]}
    there = [
        one for one in inside if one.port == int(number) and one.protocol == (protocol or "tcp")
    ]
    if not there:
        others = sorted({one.port for one in inside if one.protocol == (protocol or "tcp")})
        hint = f" It listens on {_list(others)} instead." if others else ""
        text = (
            f"Port {key} is published at {places}, but nothing listens on it in the container."
            f"{hint}"
        )
        return finding("network", PROBLEM, text, **facts, Listening=[], Others=others)
    facts["Listening"] = [one.address for one in there]
    if all(one.local_only for one in there):
        text = (
            f"Port {key} is published at {places}, but the program listens on "
            f"{there[0].address} only, which is the container's own: let it listen on 0.0.0.0."
        )
        return finding("network", PROBLEM, text, **facts)
    if all(one["HostIp"] in _LOCAL for one in bindings):
        text = f"Port {key} answers at {places}: from this machine only, as it is published there."
        return finding("network", NOTE, text, **facts)
    return finding("network", OK, f"Port {key} answers at {places}.", **facts)


def _place(binding: PortBinding) -> str:
    address = binding["HostIp"] or "0.0.0.0"
    return (
        f"[{address}]:{binding['HostPort']}"
        if ":" in address
        else f"{address}:{binding['HostPort']}"
    )


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (" ..." if len(numbers) > 10 else "")


def _unpublished(published: Mapping[str, object], inside: Sequence[Listening]) -> Iterator[Finding]:
    """What listens to others but has no port on the host."""
    known = {key for key, bindings in published.items() if bindings}
    open_ports = sorted({f"{one.port}/{one.protocol}" for one in inside if not one.local_only})
    hidden = [key for key in open_ports if key not in known]
    if hidden:
        shown = ", ".join(hidden[:10])
        text = (
            f"It listens on {shown}, which is not published: only this host and other containers "
            "of its network reach that. `--publish` would open it."
        )
        yield finding("network", NOTE, text, Unpublished=hidden)


def _not_running(
    services: Services, history: History, key: str, bindings: Sequence[PortBinding]
) -> Iterator[Finding]:
    """Nobody answers; and whether somebody else has taken the port meanwhile."""
    protocol = key.partition("/")[2] or "tcp"
    here = procnet.listening()
    for binding in bindings:
        number = binding.get("HostPort", "")
        if not number.isdigit():
            continue
        user = _user(services, protocol, int(number), here, history.id)
        if user:
            text = f"Port {number}/{protocol} of the host is taken by {user}."
            yield finding("network", PROBLEM, text, Port=key, HostPort=int(number), TakenBy=user)
        else:
            text = f"Port {number}/{protocol} of the host does not answer: it does not run."
            yield finding("network", NOTE, text, Port=key, HostPort=int(number))


def _user(
    services: Services, protocol: str, number: int, here: Sequence[Listening], own: str
) -> str:
    """Who has a port of the host: a container's name, or a process."""
    row = services.store.db.execute(
        "SELECT containers.name FROM ports JOIN containers ON containers.id = container_id"
        " WHERE protocol = ? AND host_port = ? AND container_id != ?",
        (protocol, number, own),
    ).fetchone()
    if row is not None:
        return f"the container {row['name']}"
    for one in here:
        if one.port == number and one.protocol == protocol:
            pid = procnet.owner(one.inode)
            return f"the process {pid} ({_command(pid)})" if pid else "another process"
    return ""


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return "it has ended"


def _foreign_drops(services: Services, published: Mapping[str, object]) -> Iterator[Finding]:
    """The host's own firewall has the last word."""
    if not any(published.values()):
        return
    try:
        chains = services.networks.foreign_drops()
    except JubakoError:
        return  # the rules cannot be read: nothing to say about them
    if chains:
        text = (
            f"The host's firewall drops what is forwarded ({', '.join(chains)}): other machines "
            "may not reach its ports."
        )
        yield finding("network", PROBLEM, text, Chains=chains)


def names(history: History) -> Iterator[Finding]:
    """Why others do not find it by its name."""
    row = history.row
    if row is None or not row.running or not row.has_address:
        return
    mode = row.record["HostConfig"]["NetworkMode"]
    if mode not in ("default", "bridge"):
        return
    address = row.endpoint.get("IPAddress", "")
    text = (
        f"Its address is {address}, on the default bridge, where containers do not find one "
        "another by name, as with Docker: use the address, or `--link` for a container that exists."
    )
    yield finding("network", NOTE, text, Address=address, Network="bridge")
