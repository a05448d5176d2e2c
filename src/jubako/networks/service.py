"""Networks of one root: connecting containers, and putting things back in step."""

from __future__ import annotations

import json

from jubako.errors import InvalidArgument, JubakoError, NotFound, raise_all
from jubako.linux.netlink import Netlink
from jubako.networks import endpoints, firewall, records
from jubako.networks.ground import Ground
from jubako.networks.listener import close_all
from jubako.networks.serving import Serving
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    import sqlite3
    from collections.abc import Callable, Container, Sequence

    from jubako.linux.loop import EventLoop
    from jubako.networks.listener import Listener
    from jubako.networks.model import Endpoint, NetworkContainer, NetworkRecord, PortMapping
    from jubako.store import Store


class NetworkService:
    """The networks of one root.

    What the kernel gets is written down first (tables networks, leases, ports) and taken out last:
    `recover` finds everything that a process which was killed has left.

        endpoint = networks.attach(container_id, netns_fd, ports=wanted_ports(bindings))
        networks.serve(loop, container_id, endpoint)    # in the same process, the monitor
        loop.run()
        networks.detach(container_id)

    Safe in several processes at once.  Everything happens in the network namespace of the caller,
    which has to stay the same.
    """

    def __init__(self, store: Store):
        self._store = store
        self._ground = Ground(store)
        self._held: dict[str, builtins.list[Listener]] = {}
        self._serving: dict[str, Serving] = {}

    def close(self) -> None:
        """Give up sockets and ports that this process holds; nothing changes in the state."""
        for container_id in {*self._serving, *self._held}:
            self._stop_serving(container_id)
        self._ground.close()

    # networks

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
        return records.with_containers(record, containers)

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
        return self._ground.ensure_default()

    def gateway(self) -> str:
        """The host's address on the default bridge: what `--add-host NAME:host-gateway` means."""
        return records.gateway_of(self.ensure_default())

    def foreign_drops(self) -> builtins.list[str]:
        """Chains of the host's own firewall that drop forwarded packets by default; they have the
        last word over published ports (see `jubako.networks.firewall`).  For hints to the user."""
        return firewall.foreign_drops(self._ground.filters, self._ground.table)

    # containers

    def attach(
        self,
        container_id: str,
        netns_fd: int,
        *,
        network: str = records.DEFAULT_NETWORK,
        ports: Sequence[PortMapping] = (),
        mac: str | None = None,
        ipv4: str | None = None,
        link_local: Sequence[str] = (),
    ) -> Endpoint:
        """Connect a container's network namespace to a bridge network and publish its ports.

        netns_fd: the namespace; its loopback is set up, eth0 appears with address and default
        route.  ports: what to publish (`jubako.networks.publish.wanted_ports`); this process holds
        them from now on, and `serve` lets the proxy serve them.  mac, ipv4: wanted values; else
        the lowest free address, and a MAC made from it.  link_local: further IPv4 addresses.
        When it raises, everything is undone: NotFound (network), Conflict (a port or an address is
        taken), InvalidArgument, KernelError, Unavailable (nft is not installed).
        """
        try:
            record = self.find(network)
            if record["Driver"] != "bridge":
                raise InvalidArgument(f"network {network} has no bridge to attach to")
            if ports:
                self._held[container_id] = endpoints.reserve(self._store, container_id, ports)
                point("networks.attach.reserved")
            with Netlink() as netlink:
                link = self._ground.ready(netlink, record)
                endpoint = endpoints.lease(self._store, record["Id"], container_id, mac, ipv4)
                point("networks.attach.leased")
                endpoints.plug(
                    self._store, netlink, link, netns_fd, container_id, endpoint, link_local
                )
                point("networks.attach.plugged")
            if ports:
                listeners = self._held[container_id]
                endpoints.publish(self._store, self._ground, container_id, endpoint, listeners)
                point("networks.attach.published")
            return endpoint
        except BaseException as exc:
            try:
                self._detach_completely(container_id)
            except JubakoError as cleanup:
                exc.add_note(f"while it was undone: {cleanup}")
            raise

    def serve(self, loop: EventLoop, container_id: str, endpoint: Endpoint) -> Serving:
        """In the process that attached: let the proxy serve the ports, and keep this root's rules
        in place whoever flushes them, for as long as the loop runs.

        `detach` in the same process ends it.
        """
        repair = self.repair if endpoint.get("HostLink") else None
        listeners = self._held.pop(container_id, [])
        serving = Serving(loop, listeners, endpoint.get("IPAddress", ""), repair)
        self._serving[container_id] = serving
        return serving

    def repair(self) -> None:
        """Make this root's rules anew if somebody removed them.  Raises KernelError."""
        self._ground.repair_table()

    def _stop_serving(self, container_id: str) -> None:
        serving = self._serving.pop(container_id, None)
        if serving is not None:
            serving.close()
        close_all(self._held.pop(container_id, ()))

    def detach(self, container_id: str, *, remove_links: bool = False) -> None:
        """Take a container off its networks and free its addresses and ports.

        Its link carries nothing from now on and vanishes some milliseconds after the last process
        and descriptor of its network namespace; `remove_links` deletes it at once, which takes 15
        to 20 ms.  Fine if there is nothing to do.  Goes on after a failure and raises all of them
        at the end; what could not be undone stays written down for `recover`.
        """
        self._stop_serving(container_id)
        db = self._store.db
        leases = db.execute(
            "SELECT record FROM leases WHERE container_id = ?", (container_id,)
        ).fetchall()
        rows = db.execute("SELECT * FROM ports WHERE container_id = ?", (container_id,)).fetchall()
        if not leases and not rows:
            return
        names = [json.loads(row["record"])["HostLink"] for row in leases]
        errors: list[JubakoError] = []
        take_away = endpoints.remove_links if remove_links else endpoints.cut_off_links
        ports_done = _attempt(errors, endpoints.unpublish, self._ground, rows)
        links_done = _attempt(errors, take_away, names)
        point("networks.detach.kernel")
        try:
            with self._store.transaction() as db:
                if ports_done:
                    db.execute("DELETE FROM ports WHERE container_id = ?", (container_id,))
                if links_done:
                    self._forget_leases(db, container_id)
        except JubakoError as exc:
            errors.append(exc)
        point("networks.detach.rows")
        raise_all(errors)

    def _forget_leases(self, db: sqlite3.Connection, container_id: str) -> None:
        rows = db.execute(
            "SELECT id, name, driver FROM leases JOIN networks ON networks.id = network_id"
            " WHERE container_id = ?",
            (container_id,),
        ).fetchall()
        db.execute("DELETE FROM leases WHERE container_id = ?", (container_id,))
        for row in rows:
            endpoints.emit(
                self._store, row["id"], row["name"], row["driver"], container_id, "disconnect"
            )

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
                _attempt(errors, self._detach_completely, owner)
        _attempt(errors, endpoints.remove_strays, self._store, self._ground)
        _attempt(errors, self._ground.repair_table)
        raise_all(errors)

    def _detach_completely(self, container_id: str) -> None:
        self.detach(container_id, remove_links=True)


def _attempt(errors: list[JubakoError], step: Callable[..., object], *args: object) -> bool:
    """Run one step of a teardown; a failure is collected, and the next step has its turn."""
    try:
        step(*args)
    except JubakoError as exc:
        errors.append(exc)
        return False
    return True
