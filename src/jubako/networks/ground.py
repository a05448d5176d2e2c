"""What all containers of a root stand on: the bridges, the nftables table, forwarding.

Made when the first container needs it, kept when the last one is gone, made anew when somebody has
removed it.  The usual case costs four look-ups in the kernel and starts no program.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress

from jubako.errors import JubakoError, KernelError
from jubako.linux import nft
from jubako.linux.netlink import Netlink, links
from jubako.networks import bridge, firewall, ipam, records
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jubako.linux.netlink.links import Link
    from jubako.networks.model import NetworkRecord
    from jubako.store import Store

_LOCK = "networks"


class Ground:
    """The ground of one root, in the network namespace of the process.  table: its nft table."""

    def __init__(self, store: Store):
        self._store = store
        self.table = firewall.table_name(store)
        self._filters: Netlink | None = None
        self._filters_pid = 0

    def close(self) -> None:
        if self._filters is not None:
            self._filters.close()
            self._filters = None

    @property
    def filters(self) -> Netlink:
        """The netfilter socket of this process.  It stays open: closing one waits for some 15 ms
        when rules or elements were removed a moment ago, by whomever."""
        if self._filters is None or self._filters_pid != os.getpid():
            self.close()  # the child's copy; the parent's stays open
            self._filters = nft.open_socket()
            self._filters_pid = os.getpid()
        return self._filters

    def ensure_default(self) -> NetworkRecord:
        """The default bridge's record; see `NetworkService.ensure_default`."""
        record = _find(self._store, records.DEFAULT_NETWORK)
        if record is not None:
            return record
        with Netlink() as netlink:
            taken = ipam.host_subnets(netlink)
        with self._store.transaction() as db:
            record = _find(self._store, records.DEFAULT_NETWORK)
            if record is not None:
                return record
            link = records.default_bridge_link(self._store.key)
            record = records.default_bridge(link, ipam.choose_subnet(taken))
            for item in (record, records.plain("host", "host"), records.plain("none", "null")):
                records.save(db, item)
        return record

    def bridges(self) -> list[NetworkRecord]:
        """The records of all networks that have a bridge."""
        rows = self._store.db.execute("SELECT record FROM networks WHERE driver = 'bridge'")
        return [records.load(row) for row in rows]

    def ready(self, netlink: Netlink, record: NetworkRecord) -> Link:
        """The bridge of a network, with everything that it needs in place.

        The network may get another subnet here: `record` is out of date afterwards.
        """
        link = links.find(netlink, record["Options"][records.OPTION_BRIDGE])
        if (
            link is not None
            and link.up
            and firewall.is_ready(self.filters, self.table)
            and firewall.is_forwarding()
        ):
            return link
        with self._store.lock(_LOCK), _one_engine_at_a_time(self._store):
            record = _find(self._store, record["Name"]) or record
            return self._make(netlink, record)

    def _make(self, netlink: Netlink, record: NetworkRecord) -> Link:
        name = record["Options"][records.OPTION_BRIDGE]
        link = links.find(netlink, name)
        if link is None or not link.up:
            self._check_subnet(netlink, record, link)
        # the firewall first: no packet passes a bridge that it does not know
        if not firewall.is_forwarding():
            self._remember_uplinks(firewall.uplinks(netlink, name))
            firewall.start_forwarding()
        if not firewall.is_ready(self.filters, self.table):
            self._create_table()
        else:
            nft.apply(
                firewall.network_script(self.table, record),
                why=f"the rules learn of the network {record['Name']}",
            )
        point("networks.ground.table")
        subnet, gateway = records.subnet_of(record), records.gateway_of(record)
        made = bridge.create(netlink, name, gateway, subnet.prefix, records.mtu_of(record))
        point("networks.ground.bridge")
        return made

    def _check_subnet(self, netlink: Netlink, record: NetworkRecord, link: Link | None) -> None:
        """Before the bridge is made: another subnet for the default network, if something that
        came since (a VPN, another engine) overlaps it and no container has an address in it."""
        if record["Name"] != records.DEFAULT_NETWORK:
            return
        taken = ipam.host_subnets(netlink, except_link=link.index if link is not None else 0)
        if not any(records.subnet_of(record).overlaps(other) for other in taken):
            return
        with self._store.transaction() as db:
            query = "SELECT 1 FROM leases WHERE network_id = ?"
            if db.execute(query, (record["Id"],)).fetchone() is not None:
                return
            record["IPAM"] = records.bridge_ipam(ipam.choose_subnet(taken))
            records.save(db, record)
        with suppress(JubakoError):  # there may be none; it is made anew in a moment
            nft.apply(
                f"delete table ip {self.table}\n",
                why="the network gets other addresses, and new rules with them",
            )

    def _create_table(self) -> None:
        rows = self._store.db.execute("SELECT * FROM ports WHERE container_ip <> ''").fetchall()
        firewall.create(
            self.table,
            f"jubako, root {self._store.path}",
            self.bridges(),
            firewall.port_elements(rows),
            self._uplinks(),
            why="the rules for all containers of this engine, in a table of their own",
        )

    def repair_table(self) -> None:
        """Make the table anew if it is missing although containers are connected."""
        if firewall.is_ready(self.filters, self.table):
            return
        if self._store.db.execute("SELECT 1 FROM leases LIMIT 1").fetchone() is None:
            return
        with self._store.lock(_LOCK):
            if not firewall.is_ready(self.filters, self.table):
                self._create_table()

    # The names are kept for tables that are made later.  The run directory goes with the next
    # boot, as the setting does.

    def _uplinks_path(self) -> str:
        return f"{self._store.run_dir}/uplinks"

    def _remember_uplinks(self, names: Sequence[str]) -> None:
        path = self._uplinks_path()
        try:
            with open(f"{path}.new", "w") as file:
                json.dump(names, file)
            os.rename(f"{path}.new", path)
        except OSError as exc:
            raise KernelError.from_oserror("write", exc, path=path) from exc
        if firewall.is_ready(self.filters, self.table):
            self._create_table()

    def _uplinks(self) -> list[str]:
        try:
            with open(self._uplinks_path()) as file:
                found: list[str] = json.load(file)
                return found
        except (FileNotFoundError, ValueError):
            return []


def _find(store: Store, name: str) -> NetworkRecord | None:
    row = store.db.execute("SELECT record FROM networks WHERE name = ?", (name,)).fetchone()
    return None if row is None else records.load(row)


@contextmanager
def _one_engine_at_a_time(store: Store) -> Iterator[None]:
    """Across all roots: two engines that start at once must not choose the same subnet.

    A lock on the directory that holds the run directories; roots share nothing else.
    """
    path = os.path.dirname(store.run_dir)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
