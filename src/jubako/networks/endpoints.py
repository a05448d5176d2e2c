"""One container's connection: lease, link, published ports; and taking them back.

Each function does one step.  What goes into the kernel is in the database before, and leaves the
database after it left the kernel.
"""

from __future__ import annotations

import errno
import json
import os

from jubako.errors import Conflict, KernelError, NotFound
from jubako.linux.netlink import Netlink, conntrack, links
from jubako.networks import bridge, firewall, ipam, ipv4, ports, records
from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from jubako.linux.netlink.links import Link
    from jubako.networks.ground import Ground
    from jubako.networks.listener import Listener
    from jubako.networks.model import Endpoint, PortMapping
    from jubako.store import Store

_LINK_NAME_TRIES = 5
_CUT = "its cable carries nothing any more; the kernel removes it with the last process"


def reserve(store: Store, container_id: str, mappings: Sequence[PortMapping]) -> list[Listener]:
    """`ports.reserve`, with Docker's sentence about the container around a conflict."""
    try:
        return ports.reserve(store, container_id, mappings)
    except Conflict as exc:
        row = store.db.execute(
            "SELECT name FROM containers WHERE id = ?", (container_id,)
        ).fetchone()
        if row is None:
            raise
        # Docker names the endpoint that does not come to be by an ID, too
        endpoint = f"{row['name']} ({os.urandom(32).hex()})"
        text = f"driver failed programming external connectivity on endpoint {endpoint}"
        raise Conflict(f"{text}: {exc.message}", hint=exc.hint, subject=exc.subject) from exc


def lease(
    store: Store, network_id: str, container_id: str, mac: str | None, wanted: str | None
) -> Endpoint:
    """An address, and names for what will be made.  Raises Conflict, InvalidArgument."""
    number = None if wanted is None else ipv4.number(wanted)
    if mac is not None:
        links.mac_bytes(mac)
    with store.transaction() as db:
        # read here: a subnet may change until somebody has an address in it
        row = db.execute("SELECT record FROM networks WHERE id = ?", (network_id,)).fetchone()
        if row is None:
            raise NotFound(f"network {network_id} not found", subject=network_id)
        record = records.load(row)
        subnet, gateway = records.subnet_of(record), records.gateway_of(record)
        address = ipam.free_address(db, record["Id"], subnet, ipv4.number(gateway), number)
        endpoint: Endpoint = {
            "NetworkID": record["Id"],
            "EndpointID": os.urandom(32).hex(),
            "Gateway": gateway,
            "IPAddress": ipv4.text(address),
            "IPPrefixLen": subnet.prefix,
            "MacAddress": mac or bridge.mac_for(address),
            "HostLink": bridge.new_link_name(),
            "Ports": {},
        }
        db.execute(
            "INSERT INTO leases (network_id, address, container_id, record) VALUES (?, ?, ?, ?)",
            (record["Id"], address, container_id, json.dumps(endpoint)),
        )
        emit(store, record["Id"], record["Name"], record["Driver"], container_id, "connect")
    return endpoint


def emit(
    store: Store, network_id: str, name: str, driver: str, container_id: str, action: str
) -> None:
    """The event `connect` or `disconnect`, in the transaction that is open."""
    attributes = {"container": container_id, "name": name, "type": driver}
    events.emit(store, "network", action, network_id, attributes)


def _save(db: sqlite3.Connection, endpoint: Endpoint) -> None:
    key = (endpoint["NetworkID"], ipv4.number(endpoint["IPAddress"]))
    db.execute(
        "UPDATE leases SET record = ? WHERE network_id = ? AND address = ?",
        (json.dumps(endpoint), *key),
    )


def plug(
    store: Store,
    netlink: Netlink,
    link: Link,
    netns_fd: int,
    container_id: str,
    endpoint: Endpoint,
    link_local: Sequence[str] = (),
) -> None:
    """Make the veth pair between the bridge `link` and the namespace.  Raises KernelError."""
    for left in reversed(range(_LINK_NAME_TRIES)):
        try:
            bridge.plug(
                netlink,
                link,
                netns_fd,
                host_link=endpoint["HostLink"],
                alias=f"jubako {container_id[:12]}",
                address=endpoint["IPAddress"],
                prefix=endpoint["IPPrefixLen"],
                gateway=endpoint["Gateway"],
                mac=endpoint["MacAddress"],
                mtu=link.mtu,
                link_local=link_local,
            )
            return
        except KernelError as exc:
            # one of 2^28 names that exists; an eth0 in the namespace gives the same error
            if exc.errno != errno.EEXIST or not left:
                raise
            endpoint["HostLink"] = bridge.new_link_name()
            with store.transaction() as db:
                _save(db, endpoint)


def publish(
    store: Store,
    ground: Ground,
    container_id: str,
    endpoint: Endpoint,
    listeners: Sequence[Listener],
) -> None:
    """Translate packets to the reserved ports.  Raises KernelError, Unavailable."""
    endpoint["Ports"] = ports.bindings(listeners)
    with store.transaction() as db:
        _save(db, endpoint)
        db.execute(
            "UPDATE ports SET container_ip = ? WHERE container_id = ?",
            (endpoint["IPAddress"], container_id),
        )
        rows = db.execute("SELECT * FROM ports WHERE container_id = ?", (container_id,)).fetchall()
    elements = firewall.port_elements(rows)
    try:
        firewall.add_ports(
            ground.filters,
            ground.table,
            elements,
            why="packets to a published port go to the container",
        )
    except KernelError as exc:
        if exc.errno != errno.ENOENT:
            raise
        ground.repair_table()  # somebody flushed the rules a moment ago
        firewall.add_ports(
            ground.filters,
            ground.table,
            elements,
            why="packets to a published port go to the container",
        )
    _forget_udp(ground.filters, rows)


def _forget_udp(filters: Netlink, rows: Sequence[sqlite3.Row]) -> None:
    """Clients that kept sending before the port was published, or to the container before this
    one, are tracked as such for as long as they go on: make the kernel look again."""
    wanted: dict[int, list[sqlite3.Row]] = {}
    for row in rows:
        if row["protocol"] == "udp" and ":" not in row["host_ip"]:
            wanted.setdefault(row["host_port"], []).append(row)
    if not wanted or conntrack.is_empty():
        return
    outdated = (
        connection
        for connection in conntrack.list_to_ports(filters, "udp", wanted)
        for row in wanted[connection.port]
        if row["host_ip"] in (ports.ANY_IPV4, connection.destination)
        and connection.server != row["container_ip"]
    )
    conntrack.delete(filters, outdated, why="these packets went to who had the port before")


def unpublish(ground: Ground, rows: Sequence[sqlite3.Row]) -> None:
    """Stop translating, also for connections that exist.  rows: of the table `ports`."""
    elements = firewall.port_elements(rows)
    if not elements:
        return
    firewall.remove_ports(ground.filters, ground.table, elements, why="its ports are free again")
    if conntrack.is_empty():
        return
    for address in {row["container_ip"] for row in rows}:
        # or the next container with this address inherits connections to these ports
        connections = conntrack.list_to_server(ground.filters, address)
        conntrack.delete(
            ground.filters,
            connections,
            why="these connections have nobody at the other end any more",
        )


def remove_links(names: Sequence[str]) -> None:
    """Delete links; those that are gone already are fine."""
    if names:
        with Netlink() as netlink:
            netlink.execute(*[links.delete(name, why="its cable is removed") for name in names])


def cut_off_links(names: Sequence[str]) -> None:
    """Let links carry nothing more; the kernel deletes them with their namespace."""
    if names:
        with Netlink() as netlink:
            netlink.execute(*[links.cut_off(name, why=_CUT) for name in names])


def remove_strays(store: Store, ground: Ground) -> None:
    """Remove links and elements that nobody has a row for.

    The kernel is read before the rows: what is made meanwhile has its row first.  Elements go
    inside the transaction, so that nobody publishes the same port in between.
    """
    with Netlink() as netlink:
        found: list[Link] = []
        for record in ground.bridges():
            link = links.find(netlink, record["Options"][records.OPTION_BRIDGE])
            if link is not None:
                found += links.list_links(netlink, master=link.index)
    elements = firewall.published(ground.filters, ground.table)
    with store.transaction() as db:
        known = firewall.port_elements(db.execute("SELECT * FROM ports").fetchall())
        keys = {(element.set, element.key) for element in known}
        gone = [element for element in elements if (element.set, element.key) not in keys]
        firewall.remove_ports(
            ground.filters, ground.table, gone, why="a container that is gone had this port"
        )
        rows = db.execute("SELECT record FROM leases").fetchall()
    names = {json.loads(row["record"])["HostLink"] for row in rows}
    remove_links([link.name for link in found if link.kind == "veth" and link.name not in names])
