"""The kernel's side of a bridge network: the bridge, and a veth pair for each container."""

from __future__ import annotations

import errno
import os
import time

from jubako.errors import JubakoError, KernelError
from jubako.linux.netlink import (
    Netlink,
    addresses,
    call_in,
    links,
    neighbours,
    read_sysctl,
    routes,
    write_sysctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.linux.netlink.links import Link

CONTAINER_LINK = "eth0"
_GATEWAY = "the address under which containers see the host, their gateway"
_ADDRESS = "its address, which no other container has"
_HAIRPIN = "a container may come back to itself through a port that it has published"
_LINK_LOCAL_PREFIX = 16  # 169.254.0.0/16, RFC 3927
_CARRYING_TIMEOUT_S = 0.1
_CARRYING_POLL_S = 0.0005
_BRIDGE_NF = "net/bridge/bridge-nf-call-iptables"


def random_mac() -> str:
    """A MAC address of the locally administered range that Docker uses for bridges."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in os.urandom(4))


def mac_for(address: int) -> str:
    """Docker's MAC for a container: made from its address, so that neighbours' caches stay true
    when another container gets the address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.to_bytes(4, "big"))


def create(netlink: Netlink, name: str, gateway: str, prefix: int, mtu: int) -> Link:
    """The bridge `name` with its address, up; what exists of it already is completed.

    It is set up last: a bridge that is up is complete.
    """
    link = links.find(netlink, name)
    if link is None:
        # a MAC of its own: otherwise it changes with the ports, and containers lose their gateway
        netlink.execute(
            links.add_bridge(
                name,
                mac=random_mac(),
                mtu=mtu,
                why="a switch made of software: all containers of the network are on it",
            )
        )
        link = links.find(netlink, name)
    if link is None:
        raise JubakoError(f"link {name} was removed while it was made", subject=name)
    if link.kind != "bridge":
        raise JubakoError(f"link {name} exists and is not a bridge", subject=name)
    for old in addresses.list_addresses(netlink, index=link.index):
        if ":" not in old.address and (old.address, old.prefix) != (gateway, prefix):
            netlink.execute(
                addresses.delete(
                    old.address,
                    old.prefix,
                    link.index,
                    link=name,
                    why="the network has another address now",
                )
            )
    netlink.execute(
        addresses.add(gateway, prefix, link.index, link=name, why=_GATEWAY),
        links.set_up(name, index=link.index, why="from here on it passes packets on"),
    )
    return link


def plug(
    netlink: Netlink,
    bridge: Link,
    netns_fd: int,
    *,
    host_link: str,
    alias: str,
    address: str,
    prefix: int,
    gateway: str,
    mac: str,
    mtu: int,
    link_local: Sequence[str] = (),
) -> None:
    """Connect a network namespace: eth0 with its address and the default route, everything up.

    netlink: a route socket of the host's namespace.  alias: what `ip link` shows beside the host's
    end.  Half of the work may be done when it raises
    KernelError; deleting `host_link` undoes all of it.
    """
    netlink.execute(
        links.add_veth(
            host_link,
            CONTAINER_LINK,
            master=bridge.index,
            master_name=bridge.name,
            mtu=mtu,
            peer_mac=mac,
            peer_netns_fd=netns_fd,
            why="a cable: one end is on the bridge, the other one is eth0 in the container",
        )
    )
    requests = [
        links.set_alias(host_link, alias, why="so that `ip link` says whose cable it is"),
        links.set_up(host_link, why="the host's end of the cable is in use"),
    ]
    if read_sysctl(_BRIDGE_NF) == "1":
        # br_netfilter translates published ports inside the bridge, and then a container's packet
        # to its own port leaves by the port it came from
        requests.append(links.set_bridge_port(host_link, hairpin=True, why=_HAIRPIN))
    why = "another container may have had this address, with another card"
    requests.append(neighbours.delete(address, bridge.index, link=bridge.name, why=why))
    netlink.execute(*requests)
    with call_in(
        netns_fd, _open_without_ipv6, why="for a moment the monitor is in there, to configure it"
    ) as inside:
        link = links.find(inside, CONTAINER_LINK)
        if link is None:
            raise KernelError("ip link show", errno.ENODEV, path=CONTAINER_LINK)
        inside.execute(
            links.set_up("lo", why="programs in the container reach one another"),
            addresses.add(address, prefix, link.index, link=CONTAINER_LINK, why=_ADDRESS),
            links.set_up(CONTAINER_LINK, index=link.index, why="its end of the cable is in use"),
            routes.add("", gateway=gateway, why="what is not nearby is reached through the host"),
            *(
                addresses.add(
                    extra, _LINK_LOCAL_PREFIX, link.index, link=CONTAINER_LINK, why="asked for"
                )
                for extra in link_local
            ),
        )
    # the bridge's port first: with its first port the bridge itself begins to carry
    _await_carrying(netlink, host_link)
    _await_carrying(netlink, bridge.name)


def _await_carrying(netlink: Netlink, name: str) -> None:
    """Wait until a link sends what it is given: a lost first SYN costs its sender a second.

    Not for long: a machine this busy has other worries.
    """
    deadline = time.monotonic() + _CARRYING_TIMEOUT_S
    while True:
        link = links.find(netlink, name)
        if link is None or link.carrying or time.monotonic() > deadline:
            return
        time.sleep(_CARRYING_POLL_S)


def _open_without_ipv6() -> Netlink:
    """A socket inside; IPv6 is off on eth0, as Docker has it on a network without IPv6."""
    try:
        why = "the network has no IPv6, so the container shall not try it"
        write_sysctl(f"net/ipv6/conf/{CONTAINER_LINK}/disable_ipv6", "1", why=why)
    except KernelError as exc:
        if exc.errno != errno.ENOENT:  # a kernel without IPv6
            raise
    return Netlink()


def new_link_name() -> str:
    """veth and seven hex digits, as Docker names the host's end."""
    return f"veth{os.urandom(4).hex()[:7]}"
