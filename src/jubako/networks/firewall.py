"""The nftables table of one root.

                     outside            host's programs           containers
                        |                      |                       |
    prerouting   guard, published          (output)             guard, published
                        |                  published                   |
    forward          inbound                   |                 to outside: free
                        |                      |                 to another bridge: inbound
    postrouting         |                      |                 masquerade
                        v                      v                       v
                    container              container                outside

The chains are made once and never change.  A published port is one element of a map, a network one
element of each of a few sets, so the thousandth costs what the first did, for us and for each
packet.

    published_any  protocol, port           -> container address, port    (-p 8080:80)
    published_at   protocol, address, port  -> container address, port    (-p 10.0.0.1:8080:80)
    loopback       protocol, address, port                                (-p 127.0.0.1:8080:80)
    bridges, subnets, networks (bridge and subnet), talk (bridge to bridge)
    uplinks        the links between which the host did not forward before an engine of ours came

What the table lets pass is still judged by every other table: `accept` in nftables ends only the
chains of its own table, a drop anywhere is final.  On a host whose other tables drop forwarded
packets by default (ufw, Docker's iptables rules, firewalld zones), published ports stay closed to
other machines and containers do not reach the outside until the host's own rules allow it, for
example `ufw route allow in on eth0 out on jubako0`: the host's firewall has the last word, unlike
with Docker.  The host itself reaches published ports on its loopback address all the same, because
the proxy serves those.  `foreign_drops` names such chains.
"""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.linux import nft
from jubako.linux.netlink import links, read_sysctl, write_sysctl
from jubako.linux.nft import Element
from jubako.networks.records import OPTION_BRIDGE, OPTION_ICC, OPTION_MASQUERADE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from jubako.linux.netlink import Netlink
    from jubako.networks.model import NetworkRecord
    from jubako.store import Store

FAMILY = "ip"
# A set of this name marks the table as complete and of this engine's making; change it with the
# chains below, and tables of older engines are made anew.
LAYOUT = "layout_1"

_IP_FORWARD = "net/ipv4/ip_forward"

_TABLE = """\
add table ip {table}
delete table ip {table}
table ip {table} {{
	comment "{comment}"
	set {layout} {{ type mark; comment "the version of these chains"; }}
	map published_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
	map published_at {{ type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }}
	set loopback {{ type inet_proto . ipv4_addr . inet_service; }}
	set bridges {{ type ifname; }}
	set subnets {{ type ipv4_addr; flags interval; }}
	set networks {{ type ifname . ipv4_addr; flags interval; }}
	set masqueraded {{ type ipv4_addr; flags interval; }}
	set talk {{ type ifname . ifname; }}
	set uplinks {{ type ifname; }}
	chain guard {{
		type filter hook prerouting priority -300; policy accept;
		# published on a loopback address: not for a neighbour that routes 127.0.0.0/8 to us
		ip daddr 127.0.0.0/8 iifname != "lo" meta l4proto . ip daddr . th dport @loopback drop
		# a container's own address: only from its bridge and from the host itself
		ip daddr @subnets iifname != "lo" iifname . ip daddr != @networks jump direct
	}}
	chain direct {{
		fib daddr type != local drop
	}}
	chain prerouting {{
		type nat hook prerouting priority -100; policy accept;
		fib daddr type local jump published
	}}
	chain output {{
		type nat hook output priority -100; policy accept;
		# loopback addresses are the proxy's: a packet from 127.0.0.1 cannot leave the host
		ip saddr != 127.0.0.0/8 ip daddr != 127.0.0.0/8 fib daddr type local jump published
	}}
	chain published {{
		dnat ip to meta l4proto . ip daddr . th dport map @published_at
		dnat ip to meta l4proto . th dport map @published_any
	}}
	chain postrouting {{
		type nat hook postrouting priority 100; policy accept;
		ip saddr @masqueraded oifname != "lo" oifname . ip saddr != @networks masquerade
		# from a container to a port published on its own bridge: the answer must come back to us
		ct status dnat oifname . ip saddr @networks masquerade
	}}
	chain forward {{
		type filter hook forward priority 0; policy accept;
		oifname @bridges jump inbound
		iifname @uplinks oifname @uplinks drop
	}}
	chain inbound {{
		ct state established,related accept
		ct status dnat accept
		iifname . oifname @talk accept
		drop
	}}
}}
"""


def table_name(store: Store) -> str:
    """The table of a root: its name in the kernel, with no character that nft would not take."""
    return store.name.replace("-", "_")


def is_ready(netlink: Netlink, table: str) -> bool:
    """Whether the table is there and complete.  netlink: a socket of `nft.open_socket`."""
    return nft.set_exists(netlink, FAMILY, table, LAYOUT)


def create(
    table: str,
    comment: str,
    networks: Sequence[NetworkRecord],
    elements: Sequence[Element],
    uplinks: Sequence[str],
    *,
    why: str = "",
) -> None:
    """Make the table anew, with everything in it, in one transaction.

    Running containers keep their connections: connection tracking is not touched.
    """
    comment = "".join(char for char in comment if char.isprintable() and char not in '"\\')[:120]
    script = _TABLE.format(table=table, layout=LAYOUT, comment=comment)
    for record in networks:
        script += network_script(table, record)
    lines = [f"add element ip {table} {item.set} {{ {item.text} }}" for item in elements]
    lines += [f'add element ip {table} uplinks {{ "{name}" }}' for name in uplinks]
    nft.apply(script + "\n".join(lines) + "\n", why=why)


def network_script(table: str, record: NetworkRecord) -> str:
    """The lines that tell the table of one bridge network; harmless when it knows it."""
    options = record["Options"]
    bridge = options[OPTION_BRIDGE]
    lines = [f'add element ip {table} bridges {{ "{bridge}" }}']
    for config in record["IPAM"]["Config"] or ():
        subnet = config["Subnet"]
        lines.append(f"add element ip {table} subnets {{ {subnet} }}")
        lines.append(f'add element ip {table} networks {{ "{bridge}" . {subnet} }}')
        if options.get(OPTION_MASQUERADE) != "false":
            lines.append(f"add element ip {table} masqueraded {{ {subnet} }}")
    if options.get(OPTION_ICC) != "false":
        lines.append(f'add element ip {table} talk {{ "{bridge}" . "{bridge}" }}')
    return "\n".join(lines) + "\n"


def port_element(row: sqlite3.Row) -> Element | None:
    """The element for a row of the table `ports`; None for what the proxy alone serves (IPv6)."""
    host_ip, protocol = row["host_ip"], row["protocol"]
    if ":" in host_ip or not row["container_ip"]:
        return None
    comment = str(row["container_id"])[:12]
    proto, port = nft.proto(protocol), nft.port(row["host_port"])
    address = nft.address(host_ip)
    if host_ip.startswith("127."):
        words = f'{protocol} . {host_ip} . {row["host_port"]} comment "{comment}"'
        return Element("loopback", proto + address + port, b"", comment, words)
    data = nft.address(row["container_ip"]) + nft.port(row["container_port"])
    target = f"{row['container_ip']} . {row['container_port']}"
    if host_ip == "0.0.0.0":
        words = f'{protocol} . {row["host_port"]} comment "{comment}" : {target}'
        return Element("published_any", proto + port, data, comment, words)
    words = f'{protocol} . {host_ip} . {row["host_port"]} comment "{comment}" : {target}'
    return Element("published_at", proto + address + port, data, comment, words)


PORT_SETS = ("published_any", "published_at", "loopback")


def port_elements(rows: Sequence[sqlite3.Row]) -> list[Element]:
    return [element for element in map(port_element, rows) if element is not None]


def add_ports(netlink: Netlink, table: str, elements: Sequence[Element], *, why: str = "") -> None:
    """Publish; an element that a dead container left under the same key is replaced.

    All of it happens at once or nothing.  Raises KernelError(ENOENT) when the table is not there.
    """
    try:
        nft.change_elements(netlink, FAMILY, table, add=elements, why=why)
    except KernelError as exc:
        if exc.errno != errno.EEXIST:
            raise
        stale = _present(netlink, table, elements)
        nft.change_elements(netlink, FAMILY, table, remove=stale, add=elements, why=why)


def remove_ports(
    netlink: Netlink, table: str, elements: Sequence[Element], *, why: str = ""
) -> None:
    """Stop publishing; what is not there, the table included, is fine."""
    try:
        nft.change_elements(netlink, FAMILY, table, remove=elements, why=why)
    except KernelError as exc:
        if exc.errno != errno.ENOENT:
            raise
        present = _present(netlink, table, elements)
        nft.change_elements(netlink, FAMILY, table, remove=present, why=why)


def _present(netlink: Netlink, table: str, elements: Sequence[Element]) -> list[Element]:
    """Those of `elements` whose key is in the kernel."""
    present = []
    for name in {element.set for element in elements}:
        known = {item.key for item in nft.list_elements(netlink, FAMILY, table, name)}
        present += [item for item in elements if item.set == name and item.key in known]
    return present


def published(netlink: Netlink, table: str) -> list[Element]:
    """Every element for a port that the kernel has."""
    return [item for name in PORT_SETS for item in nft.list_elements(netlink, FAMILY, table, name)]


def is_forwarding() -> bool:
    """Whether the host forwards IPv4 packets at all."""
    return read_sysctl(_IP_FORWARD) == "1"


def uplinks(netlink: Netlink, own_bridge: str) -> list[str]:
    """The links between which a host that does not forward must not begin to.

    Links that come later (virtual machines, tunnels) are left to whoever makes them.
    """
    return [
        link.name
        for link in links.list_links(netlink)
        if not link.flags & links.IFF_LOOPBACK and not link.master and link.name != own_bridge
    ]


def start_forwarding() -> None:
    """Make the host forward IPv4, once the table keeps it from becoming a router.

    Raises KernelError where /proc/sys is read-only.
    """
    try:
        write_sysctl(_IP_FORWARD, "1", why="packets of containers may cross the host")
    except KernelError as exc:
        exc.hint = "set net.ipv4.ip_forward = 1 on the host"
        raise


_NF_INET_FORWARD = 2
_NF_DROP = 0


def foreign_drops(netlink: Netlink, table: str) -> list[str]:
    """Chains of other tables that drop forwarded IPv4 packets unless a rule of theirs allows them.

    Each is "family table chain", or "iptables-legacy filter" when the old rules are in use and so
    cannot be read here.  For a hint to the user.
    """
    found = []
    for family in nft.FAMILIES:
        if family != "ip6":
            for owner, chain, hook, policy in nft.list_base_chains(netlink, family):
                if hook == _NF_INET_FORWARD and policy == _NF_DROP and owner != table:
                    found.append(f"{family} {owner} {chain}")
    if os.path.exists("/proc/net/ip_tables_names"):
        with open("/proc/net/ip_tables_names") as file:
            if "filter" in file.read().split():
                found.append("iptables-legacy filter")
    return found
