"""Which addresses are free: subnets for networks, addresses for containers.

What was given away is a row of the table `leases`; its primary key keeps two processes from giving
the same address twice.
"""

from __future__ import annotations

import socket

from jubako.errors import Conflict, InvalidArgument
from jubako.linux.netlink import addresses, routes
from jubako.networks import ipv4
from jubako.networks.ipv4 import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from jubako.linux.netlink import Netlink

_RT_TABLE_LOCAL = 255
_MIN_ROUTE_PREFIX = 8  # wider routes (0.0.0.0/1 of a VPN) stand for "everything", not for a network


def pools() -> Iterator[Subnet]:
    """The subnets to choose from, in Docker's order: 172.17-31/16, then 192.168.x/20."""
    for second in range(17, 32):
        yield Subnet(172 << 24 | second << 16, 16)
    for third in range(0, 256, 16):
        yield Subnet(192 << 24 | 168 << 16 | third << 8, 20)


def host_subnets(netlink: Netlink, *, except_link: int = 0) -> list[Subnet]:
    """The networks that the host has a route or an address in, those of one link left out."""
    found = []
    for route in routes.list_routes(netlink, family=socket.AF_INET):
        if route.table == _RT_TABLE_LOCAL or not route.destination:
            continue
        if except_link and route.index == except_link:
            continue
        subnet = Subnet.parse(route.destination)
        if subnet.prefix >= _MIN_ROUTE_PREFIX:
            found.append(subnet)
    for item in addresses.list_addresses(netlink, family=socket.AF_INET):
        if item.index != except_link or not except_link:
            found.append(Subnet.parse(f"{item.address}/{item.prefix}"))
    return found


def choose_subnet(taken: Sequence[Subnet]) -> Subnet:
    """The first pool that overlaps nothing in `taken`.  Raises Conflict in Docker's words."""
    for subnet in pools():
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise Conflict(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to "
        "assign to the network",
        hint="routes of a VPN may cover them all",
    )


def free_address(
    db: sqlite3.Connection, network_id: str, subnet: Subnet, gateway: int, wanted: int | None = None
) -> int:
    """An address that nobody has; the caller writes the lease in the same transaction.

    The lowest free one, or `wanted`.  Raises Conflict (taken, or none is free), InvalidArgument
    (`wanted` lies outside the subnet).
    """
    if wanted is not None:
        return _check_wanted(db, network_id, subnet, gateway, wanted)
    # A free address has the network address, the gateway or a used one just below it.
    row = db.execute(
        "SELECT min(candidate) FROM ("
        " SELECT :base + 1 AS candidate UNION ALL SELECT :gateway + 1"
        " UNION ALL SELECT address + 1 FROM leases WHERE network_id = :network"
        ") WHERE candidate > :base AND candidate < :last AND candidate <> :gateway"
        " AND NOT EXISTS"
        " (SELECT 1 FROM leases WHERE network_id = :network AND address = candidate)",
        {"base": subnet.base, "last": subnet.last, "gateway": gateway, "network": network_id},
    ).fetchone()
    if row[0] is None:
        raise Conflict(f"no available IPv4 addresses on this network's address pools: {subnet}")
    return int(row[0])


def _check_wanted(
    db: sqlite3.Connection, network_id: str, subnet: Subnet, gateway: int, wanted: int
) -> int:
    name = ipv4.text(wanted)
    if wanted not in subnet:
        raise InvalidArgument(
            f"invalid address {name}: it does not belong to any of this network's subnets",
            subject=name,
        )
    taken = db.execute(
        "SELECT 1 FROM leases WHERE network_id = ? AND address = ?", (network_id, wanted)
    ).fetchone()
    if taken or wanted in (subnet.base, subnet.last, gateway):
        raise Conflict("Address already in use", subject=name)
    return wanted
