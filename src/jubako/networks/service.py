"""Networks of one root: connecting containers, and putting things back in step."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress

from jubako.errors import InvalidArgument, JubakoError, KernelError, NotFound, raise_all
from jubako.linux import nft
from jubako.linux.netlink import Netlink, conntrack, links
from jubako.networks import bridge, firewall, ipam, ipv4, ports, records
from jubako.networks.watch import Watch
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    import sqlite3
    from collections.abc import Callable, Container, Sequence

    from jubako.linux.loop import EventLoop
    from jubako.linux.netlink.links import Link
    from jubako.networks.model import Endpoint, NetworkContainer, NetworkRecord, PortMapping
    from jubako.networks.ports import Listener
    from jubako.store import Store

_LINK_NAME_TRIES = 5
_LOCK = "networks"


class NetworkService:
    """The networks of one root.

    What the kernel gets is written down first (tables networks, leases, ports) and taken out last:
    `recover` finds everything that a process which was killed has left.

        listeners = networks.reserve(container_id, mappings)      # the host's ports
        endpoint = networks.attach(container_id, netns_fd, ports=listeners)
        proxy.serve(loop, listeners, endpoint["IPAddress"])       # in the monitor
        ...
        networks.detach(container_id)

    Safe in several processes at once.  Everything happens in the network namespace of the caller.
    """

    def __init__(self, store: Store):
        self._store = store
        self._table = firewall.table_name(store)

    # -- networks ----------------------------------------------------------------------------------

    def list(self) -> list[NetworkRecord]:
        """All networks, by name, as `inspect` gives them but without Containers."""
        self.ensure_default()
        rows = self._store.db.execute("SELECT record FROM networks ORDER BY name").fetchall()
        return [records.load(row) for row in rows]

    def inspect(self, ref: str) -> NetworkRecord:
        """One network by name, ID or unambiguous start of its ID, with its containers.

        Raises NotFound in Docker's words.
        """
        record = self.find(ref)
        containers: dict[str, NetworkContainer] = {}
        rows = self._store.db.execute(
            "SELECT leases.container_id, leases.record, containers.name FROM leases"
            " LEFT JOIN containers ON containers.id = leases.container_id"
            " WHERE network_id = ? ORDER BY address",
            (record["Id"],),
        )
        for row in rows:
            endpoint: Endpoint = json.loads(row["record"])
            containers[row["container_id"]] = {
                "Name": row["name"] or "",
                "EndpointID": endpoint["EndpointID"],
                "MacAddress": endpoint["MacAddress"],
                "IPv4Address": f"{endpoint['IPAddress']}/{endpoint['IPPrefixLen']}",
                "IPv6Address": "",
            }
        record["Containers"] = containers
        return record

    def find(self, ref: str) -> NetworkRecord:
        """The record of a network by name, ID or unambiguous start of its ID.  Raises NotFound."""
        if ref == "default":
            ref = records.DEFAULT_NETWORK
        query = "SELECT record FROM networks WHERE name = ? OR id = ?"
        row = self._store.db.execute(query, (ref, ref)).fetchone()
        if row is None and ref in ("bridge", "host", "none"):
            self.ensure_default()
            row = self._store.db.execute(query, (ref, ref)).fetchone()
        if row is None and ref and all(char in "0123456789abcdef" for char in ref):
            found = self._store.db.execute(
                "SELECT record FROM networks WHERE id GLOB ? LIMIT 2", (ref + "*",)
            ).fetchall()
            if len(found) > 1:
                raise InvalidArgument(
                    f"network {ref} is ambiguous ({len(found)} matches found on name)", subject=ref
                )
            row = found[0] if found else None
        if row is None:
            raise NotFound(f"network {ref} not found", subject=ref)
        return records.load(row)

    def ensure_default(self) -> NetworkRecord:
        """The default bridge's record.  At first use the three networks are written down, and a
        subnet is chosen that overlaps nothing that the host knows; nothing is made in the kernel.
        """
        row = self._store.db.execute(
            "SELECT record FROM networks WHERE name = ?", (records.DEFAULT_NETWORK,)
        ).fetchone()
        if row is not None:
            return records.load(row)
        with Netlink() as netlink:
            taken = ipam.host_subnets(netlink)
        with self._store.transaction() as db:
            row = db.execute(
                "SELECT record FROM networks WHERE name = ?", (records.DEFAULT_NETWORK,)
            ).fetchone()
            if row is not None:
                return records.load(row)
            link = records.default_bridge_link(self._store.key)
            record = records.default_bridge(link, ipam.choose_subnet(taken))
            for item in (record, records.plain("host", "host"), records.plain("none", "null")):
                records.save(db, item)
        return record

    def gateway(self) -> str:
        """The host's address on the default bridge: what `--add-host NAME:host-gateway` means."""
        return _gateway(self.ensure_default())

    # -- containers --------------------------------------------------------------------------------

    def reserve(
        self, container_id: str, mappings: Sequence[PortMapping], *, name: str = ""
    ) -> builtins.list[Listener]:
        """Take ports of the host, before `attach`; see `jubako.networks.ports.reserve`."""
        return ports.reserve(self._store, container_id, mappings, name=name)

    def attach(
        self,
        container_id: str,
        netns_fd: int,
        *,
        network: str = records.DEFAULT_NETWORK,
        ports: Sequence[Listener] = (),
        mac: str | None = None,
        ipv4: str | None = None,
    ) -> Endpoint:
        """Connect a container's network namespace to a bridge network and publish its ports.

        netns_fd: the namespace; its loopback is set up, eth0 appears with address and default
        route.  ports: what `reserve` gave; they stay the caller's.  mac, ipv4: wanted values; else
        the lowest free address, and a MAC made from it.
        When it raises, everything is undone, the reservation of `ports` included (the listeners
        are closed): NotFound (network), Conflict (address), InvalidArgument, KernelError,
        Unavailable (nft is not installed).
        """
        try:
            record = self.find(network)
            if record["Driver"] != "bridge":
                raise InvalidArgument(f"network {network} has no bridge to attach to")
            with Netlink() as netlink, nft.open_socket() as filters:
                link = self._ready(netlink, filters, record)
                endpoint = self._lease(record, container_id, mac, ipv4)
                point("networks.attach.leased")
                self._plug(netlink, link, netns_fd, record, endpoint)
                point("networks.attach.plugged")
                if ports:
                    self._publish(filters, container_id, endpoint, ports)
                    point("networks.attach.published")
                return endpoint
        except BaseException as exc:
            for listener in ports:
                listener.close()
            try:
                self.detach(container_id)
            except JubakoError as cleanup:
                exc.add_note(f"while it was undone: {cleanup}")
            raise

    def loopback_only(self, netns_fd: int) -> None:
        """`--network none`: set up the loopback of a network namespace."""
        bridge.loopback_up(netns_fd)

    def detach(self, container_id: str) -> None:
        """Take a container off its networks and free its addresses and ports.

        Fine if there is nothing to do.  Goes on after a failure and raises all of them at the end;
        what could not be undone stays written down for `recover`.
        """
        self.remove_links(self.release(container_id))

    def release(self, container_id: str) -> builtins.list[str]:
        """The quick part of `detach`: ports and addresses are free, the links carry nothing more.

        Returns the names of the links on the host.  They vanish by themselves soon after the last
        process and descriptor of the container's network namespace; `remove_links` does not wait
        for that, but takes 15 ms.  Goes on after a failure and raises all at the end; links that
        could not be cut off keep their row.
        """
        db = self._store.db
        leases = db.execute(
            "SELECT network_id, address, record FROM leases WHERE container_id = ?", (container_id,)
        ).fetchall()
        rows = db.execute("SELECT * FROM ports WHERE container_id = ?", (container_id,)).fetchall()
        if not leases and not rows:
            return []
        endpoints: list[Endpoint] = [json.loads(row["record"]) for row in leases]
        names = [endpoint["HostLink"] for endpoint in endpoints]
        errors: list[JubakoError] = []
        ports_done = _attempt(errors, self._unpublish, rows)
        links_done = _attempt(errors, _cut_off, names)
        point("networks.detach.kernel")
        try:
            with self._store.transaction() as db:
                if ports_done:
                    db.execute("DELETE FROM ports WHERE container_id = ?", (container_id,))
                if links_done:
                    db.execute("DELETE FROM leases WHERE container_id = ?", (container_id,))
        except JubakoError as exc:
            errors.append(exc)
        point("networks.detach.rows")
        raise_all(errors)
        return names

    def remove_links(self, names: Sequence[str]) -> None:
        """Delete links that `release` named; those that are gone already are fine."""
        if names:
            with Netlink() as netlink:
                netlink.execute(*[links.delete(name, why="the container ended") for name in names])

    def recover(self, live: Container[str]) -> None:
        """Free what containers that are not in `live` left behind: leases, ports, elements, links.

        `live` is asked only for containers that have something, after that was read.  Also makes
        the table anew if somebody removed it while containers run.  Goes on after failures.
        Raises them all at the end.
        """
        errors: list[JubakoError] = []
        db = self._store.db
        owners = {
            row[0]
            for row in db.execute(
                "SELECT container_id FROM leases UNION SELECT container_id FROM ports"
            )
        }
        for owner in sorted(owners):
            if owner not in live:
                _attempt(errors, self.detach, owner)
        _attempt(errors, self._remove_strays)
        _attempt(errors, self._repair_table)
        raise_all(errors)

    def watch(self, loop: EventLoop) -> Watch:
        """In a monitor: keep this root's rules in place for as long as the loop runs, whoever
        flushes them.  The caller closes what is returned."""
        return Watch(loop, self._repair_table)

    def foreign_drops(self) -> builtins.list[str]:
        """Chains of the host's own firewall that drop forwarded packets by default; they have the
        last word over published ports (see `jubako.networks.firewall`).  For hints to the user."""
        with nft.open_socket() as filters:
            return firewall.foreign_drops(filters, self._table)

    # -- the kernel --------------------------------------------------------------------------------

    def _ready(self, netlink: Netlink, filters: Netlink, record: NetworkRecord) -> Link:
        """The bridge, with everything that it needs in place; usually three look-ups."""
        name = record["Options"][firewall.OPTION_BRIDGE]
        link = links.find(netlink, name)
        if (
            link is not None
            and link.up
            and firewall.is_ready(filters, self._table)
            and firewall.is_forwarding()
        ):
            return link
        with self._store.lock(_LOCK):
            return self._make_ready(netlink, filters, record)

    def _make_ready(self, netlink: Netlink, filters: Netlink, record: NetworkRecord) -> Link:
        name = record["Options"][firewall.OPTION_BRIDGE]
        link = links.find(netlink, name)
        if link is None or not link.up:
            record.update(self._check_subnet(netlink, record, link))
        # the firewall first: no packet passes a bridge that it does not know
        firewall.start_forwarding(netlink, name, self._remember_uplinks)
        if not firewall.is_ready(filters, self._table):
            self._create_table()
        else:
            nft.apply(firewall.network_script(self._table, record), why=f"network {record['Name']}")
        point("networks.bridge.table")
        subnet = _subnet(record)
        return bridge.create(netlink, name, _gateway(record), subnet.prefix, _mtu(record))

    def _check_subnet(
        self, netlink: Netlink, record: NetworkRecord, link: Link | None
    ) -> NetworkRecord:
        """Before the bridge is made: another subnet for the default network if a route that came
        since (a VPN) overlaps the old one and no container has an address in it."""
        if record["Name"] != records.DEFAULT_NETWORK:
            return record
        taken = ipam.host_subnets(netlink, except_link=link.index if link is not None else 0)
        if not any(_subnet(record).overlaps(other) for other in taken):
            return record
        with self._store.transaction() as db:
            used = db.execute(
                "SELECT 1 FROM leases WHERE network_id = ?", (record["Id"],)
            ).fetchone()
            if used is None:
                record["IPAM"] = records.bridge_ipam(ipam.choose_subnet(taken))
                records.save(db, record)
                firewall_stale = True
            else:
                firewall_stale = False
        if firewall_stale:
            with suppress(JubakoError):
                nft.apply(f"delete table ip {self._table}\n", why="the network's subnet changed")
        return record

    def _create_table(self) -> None:
        rows = self._store.db.execute("SELECT * FROM ports WHERE container_ip <> ''").fetchall()
        bridges = [item for item in self.list() if item["Driver"] == "bridge"]
        firewall.create(
            self._table,
            f"jubako, root {self._store.path}",
            bridges,
            firewall.port_elements(rows),
            self._uplinks(),
            why="the table of this root is missing",
        )

    def _uplinks_path(self) -> str:
        return f"{self._store.run_dir}/uplinks"

    def _remember_uplinks(self, names: Sequence[str]) -> None:
        """Runs before forwarding is switched on; an existing table is replaced by one that knows.

        The run directory goes with the next boot, as the setting does.
        """
        path = self._uplinks_path()
        with open(f"{path}.new", "w") as file:
            json.dump(names, file)
        os.rename(f"{path}.new", path)
        with nft.open_socket() as filters:
            if firewall.is_ready(filters, self._table):
                self._create_table()

    def _uplinks(self) -> builtins.list[str]:
        try:
            with open(self._uplinks_path()) as file:
                found: list[str] = json.load(file)
                return found
        except (FileNotFoundError, ValueError):
            return []

    def _lease(
        self, record: NetworkRecord, container_id: str, mac: str | None, wanted: str | None
    ) -> Endpoint:
        subnet, gateway = _subnet(record), _gateway(record)
        number = None if wanted is None else ipv4.number(wanted)
        if mac is not None:
            links.mac_bytes(mac)
        with self._store.transaction() as db:
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
                "INSERT INTO leases (network_id, address, container_id, record)"
                " VALUES (?, ?, ?, ?)",
                (record["Id"], address, container_id, json.dumps(endpoint)),
            )
        return endpoint

    def _plug(
        self,
        netlink: Netlink,
        link: Link,
        netns_fd: int,
        record: NetworkRecord,
        endpoint: Endpoint,
    ) -> None:
        for left in reversed(range(_LINK_NAME_TRIES)):
            try:
                bridge.plug(
                    netlink,
                    link,
                    netns_fd,
                    host_link=endpoint["HostLink"],
                    address=endpoint["IPAddress"],
                    prefix=endpoint["IPPrefixLen"],
                    gateway=endpoint["Gateway"],
                    mac=endpoint["MacAddress"],
                    mtu=_mtu(record),
                )
                return
            except KernelError as exc:
                # of 2^28 names, one that exists; an eth0 in the namespace gives the same error
                if exc.errno != errno.EEXIST or not left:
                    raise
                self._rename(endpoint)

    def _rename(self, endpoint: Endpoint) -> None:
        endpoint["HostLink"] = bridge.new_link_name()
        with self._store.transaction() as db:
            db.execute(
                "UPDATE leases SET record = ? WHERE network_id = ? AND address = ?",
                (
                    json.dumps(endpoint),
                    endpoint["NetworkID"],
                    ipv4.number(endpoint["IPAddress"]),
                ),
            )

    def _publish(
        self,
        filters: Netlink,
        container_id: str,
        endpoint: Endpoint,
        listeners: Sequence[Listener],
    ) -> None:
        endpoint["Ports"] = ports.bindings(listeners)
        with self._store.transaction() as db:
            db.execute(
                "UPDATE ports SET container_ip = ? WHERE container_id = ?",
                (endpoint["IPAddress"], container_id),
            )
            db.execute(
                "UPDATE leases SET record = ? WHERE network_id = ? AND address = ?",
                (
                    json.dumps(endpoint),
                    endpoint["NetworkID"],
                    ipv4.number(endpoint["IPAddress"]),
                ),
            )
            rows = db.execute(
                "SELECT * FROM ports WHERE container_id = ?", (container_id,)
            ).fetchall()
        elements = firewall.port_elements(rows)
        try:
            firewall.add_ports(filters, self._table, elements, why="published ports")
        except KernelError as exc:
            if exc.errno != errno.ENOENT:
                raise
            self._repair_table()  # somebody flushed the rules a moment ago
            firewall.add_ports(filters, self._table, elements, why="published ports")
        _forget_udp(filters, rows)

    def _unpublish(self, rows: Sequence[sqlite3.Row]) -> None:
        elements = firewall.port_elements(rows)
        if not elements:
            return
        with nft.open_socket() as filters:
            firewall.remove_ports(filters, self._table, elements, why="the container ended")
            for address in {row["container_ip"] for row in rows}:
                # or the next container with this address inherits connections to these ports
                conntrack.delete(
                    filters, conntrack.list_to_server(filters, address), why="its server is gone"
                )

    def _repair_table(self) -> None:
        """Make the table anew if it is missing although containers are connected."""
        with nft.open_socket() as filters:
            if firewall.is_ready(filters, self._table):
                return
            if self._store.db.execute("SELECT 1 FROM leases LIMIT 1").fetchone() is None:
                return
            with self._store.lock(_LOCK):
                if not firewall.is_ready(filters, self._table):
                    self._create_table()

    def _remove_strays(self) -> None:
        """Remove links and elements that nobody has a row for.

        The kernel is read before the rows: what is made meanwhile has its row first.  Elements go
        inside the transaction, so that nobody publishes the same port in between.
        """
        bridges = [item for item in self.list() if item["Driver"] == "bridge"]
        with Netlink() as netlink, nft.open_socket() as filters:
            found: list[Link] = []
            for record in bridges:
                link = links.find(netlink, record["Options"][firewall.OPTION_BRIDGE])
                if link is not None:
                    found += links.list_links(netlink, master=link.index)
            elements = firewall.published(filters, self._table)
            with self._store.transaction() as db:
                rows = db.execute("SELECT * FROM ports").fetchall()
                known = set(firewall.port_elements(rows))
                stale = [element for element in elements if element not in known]
                keys = {(element.set, element.key) for element in known}
                gone = [element for element in stale if (element.set, element.key) not in keys]
                firewall.remove_ports(filters, self._table, gone, why="its container is gone")
                names = {
                    json.loads(row["record"])["HostLink"]
                    for row in db.execute("SELECT record FROM leases")
                }
            strays = [
                link.name
                for link in found
                if link.kind == "veth" and link.name.startswith("veth") and link.name not in names
            ]
        self.remove_links(strays)


def _attempt(errors: list[JubakoError], step: Callable[..., object], *args: object) -> bool:
    """Run one step of a teardown; a failure is collected, and the next step has its turn."""
    try:
        step(*args)
    except JubakoError as exc:
        errors.append(exc)
        return False
    return True


def _cut_off(names: Sequence[str]) -> None:
    with Netlink() as netlink:
        netlink.execute(*[links.cut_off(name, why="the container ended") for name in names])


def _forget_udp(filters: Netlink, rows: Sequence[sqlite3.Row]) -> None:
    """Clients that kept sending before the port was published, or to the container before this
    one, are tracked as such for as long as they go on: make the kernel look again."""
    for row in rows:
        if row["protocol"] == "udp" and ":" not in row["host_ip"]:
            conntrack.delete(
                filters,
                (
                    item
                    for item in conntrack.list_to_port(filters, "udp", row["host_port"])
                    if row["host_ip"] in (ports.ANY_IPV4, item.destination)
                    and item.server != row["container_ip"]
                ),
                why="the port has a new owner",
            )


def _subnet(record: NetworkRecord) -> ipv4.Subnet:
    config = record["IPAM"]["Config"]
    if not config:
        raise InvalidArgument(f"network {record['Name']} has no subnet", subject=record["Name"])
    return ipv4.Subnet.parse(config[0]["Subnet"])


def _gateway(record: NetworkRecord) -> str:
    config = record["IPAM"]["Config"]
    return config[0]["Gateway"] if config else ""


def _mtu(record: NetworkRecord) -> int:
    return int(record["Options"].get(records.OPTION_MTU, records.DEFAULT_MTU))
