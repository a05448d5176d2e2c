"""Legacy links (`--link CONTAINER:ALIAS`) between containers on the default bridge.

A container with links gets, at each start, lines in its hosts file and variables that tell the
addresses and ports of the others, which must run by then.  The record keeps `<ID>:<alias>`: a
renamed container is still the one that was meant.
"""

from __future__ import annotations

import os
import re

from jubako.containers.definition.validate import UNDEFINED
from jubako.errors import Conflict, InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jubako.containers.model import HostConfig
    from jubako.containers.services import Services
    from jubako.containers.table import Container, ContainerTable

_NETWORK = "bridge"
_NOT_TOLD = ("HOME", "PATH")  # of the other's environment


class Link:
    """One link as it is at a start: the running container and the name it goes by."""

    __slots__ = ("address", "alias", "child")

    def __init__(self, child: Container, alias: str, address: str):
        self.child = child
        self.alias = alias
        self.address = address

    def host_names(self) -> str:
        """The names of one line of /etc/hosts."""
        names = [self.alias, self.child.record["Config"]["Hostname"]]
        if self.alias != self.child.name:
            names.append(self.child.name)
        return " ".join(names)


def parse(text: str) -> tuple[str, str]:
    """(container, alias) of `NAME`, `NAME:ALIAS` or, as inspect shows it, `/NAME:/OWNER/ALIAS`.

    Raises InvalidArgument.
    """
    name, colon, alias = text.partition(":")
    if not text or ":" in alias:
        raise InvalidArgument(
            f"bad format for links: {text}" if text else "empty string specified for links",
            subject=text,
        )
    if not colon:
        return name, name
    return (name[1:], alias.rpartition("/")[2]) if name.startswith("/") else (name, alias)


def pin(table: ContainerTable, host: HostConfig) -> None:
    """Replace the names in HostConfig.Links by IDs.

    Raises NotFound and InvalidArgument in Docker's words.
    """
    if not host["Links"]:
        return
    pinned: dict[str, str] = {}
    for text in host["Links"]:
        name, alias = parse(text)
        identity = _find(table, name).id
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", alias):  # it goes into /etc/hosts
            raise InvalidArgument(f"Invalid alias name ({alias})", subject=alias)
        pinned[alias] = identity
    host["Links"] = [f"{identity}:{alias}" for alias, identity in pinned.items()]


def _find(table: ContainerTable, name: str) -> Container:
    """The container that has the network which `name` uses."""
    seen: set[str] = set()
    while name not in seen:  # `container:` may not go round in circles
        seen.add(name)
        try:
            child = table.get(name)
        except NotFound as exc:
            text = f"could not get container for {name}: {exc}"
            raise NotFound(text, subject=name) from exc
        mode = child.record["HostConfig"]["NetworkMode"]
        if mode == "host":
            raise InvalidArgument(f"conflicting options: host type networking {UNDEFINED}")
        if not mode.startswith("container:"):
            return child
        name = mode.removeprefix("container:")
    raise InvalidArgument(f"the network of {name} is its own")


def resolve(services: Services, container: Container) -> list[Link]:
    """The links of a container that is about to start, on the default bridge.

    Raises Conflict for one that does not run, in Docker's words.
    """
    host = container.record["HostConfig"]
    if not host["Links"] or host["NetworkMode"] != _NETWORK:
        return []
    found = []
    for text in host["Links"]:
        identity, alias = parse(text)
        child = services.table.find(identity)
        if child is None or not child.running:
            name = identity if child is None else child.name
            raise Conflict(
                f"Cannot link to a non running container: /{name} AS /{container.name}/{alias}",
                hint=f"start {name} first" if child else "remove the link with `rm --link`",
                subject=name,
            )
        address = child.endpoint.get("IPAddress") or ""
        if child.record["HostConfig"]["NetworkMode"] != _NETWORK or not address:
            raise Conflict(
                f"Cannot link to /{child.name}, as it does not belong to the default network",
                subject=child.name,
            )
        found.append(Link(child, alias, address))
    return found


def environment(owner: str, links: Sequence[Link]) -> list[str]:
    """The variables that tell the container `owner` about its links, in Docker's form."""
    return list(dict.fromkeys(entry for link in links for entry in _variables(owner, link)))


def _variables(owner: str, link: Link) -> Iterator[str]:
    config = link.child.record["Config"]
    prefix, address = link.alias.upper().replace("-", "_"), link.address
    ports = [_port(text) for text in config.get("ExposedPorts") or ()]
    ports.sort(key=lambda port: (port[0], port[1] != "tcp"))
    if ports:
        number, protocol = ports[0]
        yield f"{prefix}_PORT={protocol}://{address}:{number}"
    for first, last in _runs(ports):
        number, protocol = first
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{name}_START={protocol}://{address}:{number}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PROTO={protocol}"
        yield f"{name}_PORT_START={number}"
        name = f"{prefix}_PORT_{number}_{last[1].upper()}"
        yield f"{name}_END={last[1]}://{address}:{last[0]}"
        yield f"{name}_PORT_END={last[0]}"
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{name}={protocol}://{address}:{number}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PORT={number}"
        yield f"{name}_PROTO={protocol}"
    yield f"{prefix}_NAME=/{owner}/{link.alias}"
    for entry in config["Env"] or ():
        name, equals, _ = entry.partition("=")
        if equals and name not in _NOT_TOLD:
            yield f"{prefix}_ENV_{entry}"


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number.partition("-")[0]), protocol or "tcp"


def _runs(ports: Sequence[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    """The first and the last of each three or more ports in a row, as Docker bundles them."""
    index = 0
    while index < len(ports):
        end = index
        while end + 1 < len(ports) and ports[end + 1][0] <= ports[index][0] + (end + 1 - index):
            end += 1
        if end > index + 1:
            yield ports[index], ports[end]
        index = end + 1 if end > index + 1 else index + 1


def shown(table: ContainerTable, container: Container) -> list[str] | None:
    """HostConfig.Links as inspect has it: `/NAME:/OWNER/ALIAS`."""
    links = []
    for text in container.record["HostConfig"]["Links"] or ():
        identity, alias = parse(text)
        child = table.find(identity)
        name = identity if child is None else child.name
        links.append(f"/{name}:/{container.name}/{alias}")
    return links or None


def remove(services: Services, path: str) -> None:
    """Forget the link `OWNER/ALIAS` (`rm --link`).  Raises NotFound."""
    owner, _, alias = path.strip("/").partition("/")
    if not alias:
        services.table.get(owner)
        raise Conflict("Conflict, cannot remove the default link name of the container")
    try:
        identity = services.table.get(owner).id
    except NotFound as exc:
        raise NotFound(f"No such container: {path}", subject=path) from exc
    with services.store.lock(identity):
        container = services.table.find(identity)
        links = [] if container is None else container.record["HostConfig"]["Links"] or []
        kept = [text for text in links if parse(text)[1] != alias]
        if container is None or len(kept) == len(links):
            raise NotFound(f"No such container: {path.strip('/')}", subject=path)
        container.record["HostConfig"]["Links"] = kept or None
        services.table.update(identity, record=container.record)


def tell_owners(services: Services, child: Container, address: str) -> None:
    """Put a restarted container's address into the hosts files of those that link to it."""
    for owner in services.table.running_with(f'"{child.id}:'):
        for text in owner.record["HostConfig"]["Links"] or ():
            identity, alias = parse(text)
            if identity == child.id:
                path = f"{services.directory(owner.id)}/hosts"
                _replace_address(path, Link(child, alias, address))


def _replace_address(path: str, link: Link) -> None:
    """In place: the file is bound into the running container."""
    try:
        with open(path, errors="surrogateescape") as file:
            lines = file.read(1 << 20).splitlines(keepends=True)
    except FileNotFoundError:
        return
    wanted = f"\t{link.host_names()}\n"
    changed = [
        link.address + wanted if line.partition("\t")[2] == wanted[1:] else line for line in lines
    ]
    if changed == lines:
        return
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(fd, "w", errors="surrogateescape") as file:
        file.truncate()
        file.writelines(changed)
