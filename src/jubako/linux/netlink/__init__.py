"""Netlink: what `ip` does, without the program.

    with Netlink() as netlink:
        netlink.execute(
            links.add_bridge("br0"),
            links.set_up("br0"),
        )
        link = links.find(netlink, "br0")

`links`, `addresses`, `routes` and `neighbours` make requests and read answers; `socket` carries
them; `codec` knows the bytes; `namespace` opens sockets in other namespaces.
"""

from __future__ import annotations

from jubako.linux.netlink.namespace import call_in, open_in, read_sysctl, write_sysctl
from jubako.linux.netlink.socket import NETLINK_NETFILTER, NETLINK_ROUTE, Netlink, Request

__all__ = [
    "NETLINK_NETFILTER",
    "NETLINK_ROUTE",
    "Netlink",
    "Request",
    "call_in",
    "open_in",
    "read_sysctl",
    "write_sysctl",
]
