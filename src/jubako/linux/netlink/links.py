"""Links: bridges, veth pairs, dummies; rtnetlink(7), RTM_*LINK.

The functions that change something make a `Request`; `Netlink.execute` carries out several in one
system call.  Link names have at most 15 bytes, MAC addresses are text (02:42:ac:11:00:02).
"""

from __future__ import annotations

import errno
import socket
import struct

from jubako.errors import InvalidArgument
from jubako.linux import trace
from jubako.linux.netlink import codec
from jubako.linux.netlink.socket import Netlink, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 0x10000

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_OPERSTATE = 16
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_INFO_SLAVE_KIND = 4
IFLA_INFO_SLAVE_DATA = 5
IFLA_BR_FORWARD_DELAY = 1
IFLA_BR_STP_STATE = 5
IFLA_BR_FDB_FLUSH = 13
IFLA_BRPORT_STATE = 1
IFLA_BRPORT_MODE = 4  # hairpin
IFLA_BRPORT_FLUSH = 18
IFLA_BRPORT_ISOLATED = 33
VETH_INFO_PEER = 1

BR_STATE_DISABLED = 0
IF_OPER_UNKNOWN = 0
IF_OPER_UP = 6

RTEXT_FILTER_SKIP_STATS = 8

NAME_MAX_BYTES = 15

_IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change


class Link:
    """What RTM_GETLINK tells of one link.

    master: index of its bridge, 0 if it has none.  peer: index of the other end of a veth pair in
    *its* namespace, 0 for others.
    """

    __slots__ = __match_args__ = (
        "index", "name", "kind", "flags", "mtu", "address", "master", "peer", "alias", "operstate",
    )  # fmt: skip

    def __init__(self, message: codec.Message):
        _, _, self.index, self.flags, _ = _IFINFOMSG.unpack_from(message.body)
        found = codec.mapping(message.body[_IFINFOMSG.size :])
        self.name = codec.string(found.get(IFLA_IFNAME))
        self.mtu = codec.integer(found.get(IFLA_MTU))
        self.address = ":".join(f"{byte:02x}" for byte in found.get(IFLA_ADDRESS, b""))
        self.master = codec.integer(found.get(IFLA_MASTER))
        self.peer = codec.integer(found.get(IFLA_LINK))
        self.alias = codec.string(found.get(IFLA_IFALIAS))
        self.operstate = codec.integer(found.get(IFLA_OPERSTATE))
        info = codec.mapping(found.get(IFLA_LINKINFO, b""))
        self.kind = codec.string(info.get(IFLA_INFO_KIND))

    @property
    def up(self) -> bool:
        """Set up by somebody."""
        return bool(self.flags & IFF_UP)

    @property
    def carrying(self) -> bool:
        """Up, and the kernel has noticed that the other end is, too: packets are sent, not dropped.

        The kernel's link watch does this a moment later; asking for one link makes it do so at
        once since Linux 6.14.
        """
        return self.up and self.operstate in (IF_OPER_UP, IF_OPER_UNKNOWN)


def _header(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, flags, change)


def _name(name: str) -> bytes:
    encoded = name.encode()
    if not encoded or len(encoded) > NAME_MAX_BYTES or b"/" in encoded or b"\0" in encoded:
        raise InvalidArgument(f"invalid link name: {name!r}", subject=name)
    return codec.attribute(IFLA_IFNAME, encoded + b"\0")


def mac_bytes(mac: str) -> bytes:
    """The six bytes of a MAC address.  Raises InvalidArgument in Docker's words."""
    parts = mac.replace("-", ":").split(":")
    try:
        value = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        value = b""
    if len(parts) != 6 or len(value) != 6:
        raise InvalidArgument(f"{mac} is not a valid mac address", subject=mac)
    return value


def _mac(mac: str | None) -> bytes:
    return b"" if mac is None else codec.attribute(IFLA_ADDRESS, mac_bytes(mac))


def _mtu(mtu: int | None) -> bytes:
    return b"" if mtu is None else codec.u32(IFLA_MTU, mtu)


def _words(mac: str | None, mtu: int | None) -> str:
    return (f" address {mac}" if mac else "") + (f" mtu {mtu}" if mtu else "")


def _create(name: str, body: bytes, shell: str, why: str) -> Request:
    flags = codec.NLM_F_CREATE | codec.NLM_F_EXCL
    return Request(RTM_NEWLINK, flags, body, shell=shell, path=name, why=why)


def add_bridge(
    name: str, *, mac: str | None = None, mtu: int | None = None, why: str = ""
) -> Request:
    """A bridge that forwards at once: no spanning tree, no forward delay.  It is made down."""
    data = codec.u32(IFLA_BR_FORWARD_DELAY, 0) + codec.u32(IFLA_BR_STP_STATE, 0)
    info = codec.nested(
        IFLA_LINKINFO,
        codec.text(IFLA_INFO_KIND, "bridge"),
        codec.nested(IFLA_INFO_DATA, data),
    )
    shell = f"ip link add {name}{_words(mac, mtu)} type bridge forward_delay 0 stp_state 0"
    return _create(name, _header() + _name(name) + _mac(mac) + _mtu(mtu) + info, shell, why)


def add_dummy(name: str, *, mac: str | None = None, why: str = "") -> Request:
    """A link that swallows what is sent."""
    info = codec.nested(IFLA_LINKINFO, codec.text(IFLA_INFO_KIND, "dummy"))
    body = _header() + _name(name) + _mac(mac) + info
    return _create(name, body, f"ip link add {name}{_words(mac, None)} type dummy", why)


def add_veth(
    name: str,
    peer: str,
    *,
    master: int = 0,
    master_name: str = "",
    mac: str | None = None,
    mtu: int | None = None,
    peer_mac: str | None = None,
    peer_netns_fd: int | None = None,
    why: str = "",
) -> Request:
    """A veth pair, both ends down: veth(4).

    master: index of the bridge that `name` joins, and its name, for messages.  The peer is made in
    `peer_netns_fd` directly, which saves moving and renaming it.
    """
    other = _header() + _name(peer) + _mac(peer_mac) + _mtu(mtu)
    shell = f"ip link add {name}"
    if master:
        shell += f" master {master_name or f'if{master}'}"
    shell += _words(mac, mtu) + f" type veth peer name {peer}" + _words(peer_mac, mtu)
    if peer_netns_fd is not None:
        other += codec.u32(IFLA_NET_NS_FD, peer_netns_fd)
        shell += f" netns {trace.namespace(peer_netns_fd)}"
    info = codec.nested(
        IFLA_LINKINFO,
        codec.text(IFLA_INFO_KIND, "veth"),
        codec.nested(IFLA_INFO_DATA, codec.nested(VETH_INFO_PEER, other)),
    )
    body = _header() + _name(name) + _mac(mac) + _mtu(mtu)
    if master:
        body += codec.u32(IFLA_MASTER, master)
    return _create(name, body + info, shell, why)


def _change(name: str, shell: str, why: str, extra: bytes, **header: int) -> Request:
    body = _header(**header) + (_name(name) if not header.get("index") else b"") + extra
    return Request(RTM_NEWLINK, 0, body, shell=shell, path=name, why=why)


def set_up(name: str, *, index: int = 0, why: str = "") -> Request:
    """Set a link up; `index` saves the look-up by name."""
    shell = f"ip link set {name} up"
    return _change(name, shell, why, b"", index=index, flags=IFF_UP, change=IFF_UP)


def set_down(name: str, *, index: int = 0, why: str = "") -> Request:
    return _change(name, f"ip link set {name} down", why, b"", index=index, change=IFF_UP)


def set_master(name: str, master: int, *, why: str = "") -> Request:
    """Join the bridge of index `master`; 0 leaves it."""
    shell = f"ip link set {name} " + (f"master {master}" if master else "nomaster")
    return _change(name, shell, why, codec.u32(IFLA_MASTER, master))


def set_alias(name: str, alias: str, *, why: str = "") -> Request:
    """A remark that `ip link` shows."""
    shell = f"ip link set {name} alias '{alias}'"
    return _change(name, shell, why, codec.text(IFLA_IFALIAS, alias))


def set_mtu(name: str, mtu: int, *, why: str = "") -> Request:
    return _change(name, f"ip link set {name} mtu {mtu}", why, codec.u32(IFLA_MTU, mtu))


def set_address(name: str, mac: str, *, why: str = "") -> Request:
    return _change(name, f"ip link set {name} address {mac}", why, _mac(mac))


def set_bridge_port(
    name: str, *, hairpin: bool | None = None, isolated: bool | None = None, why: str = ""
) -> Request:
    """Attributes of a bridge's port.

    hairpin: a frame may leave by the port it came from.  isolated: no frames to or from other
    isolated ports.
    """
    data, words = b"", ""
    for kind, word, value in (
        (IFLA_BRPORT_MODE, "hairpin", hairpin),
        (IFLA_BRPORT_ISOLATED, "isolated", isolated),
    ):
        if value is not None:
            data += codec.u8(kind, int(value))
            words += f" {word} {'on' if value else 'off'}"
    shell = f"ip link set {name} type bridge_slave{words}"
    return _change(name, shell, why, _port_info(data))


def _port_info(data: bytes) -> bytes:
    return codec.nested(
        IFLA_LINKINFO,
        codec.text(IFLA_INFO_SLAVE_KIND, "bridge"),
        codec.nested(IFLA_INFO_SLAVE_DATA, data),
    )


def cut_off(name: str, *, why: str = "") -> Request:
    """Stop a bridge's port from carrying frames and forget the MACs behind it; fine if it is gone.

    This takes microseconds, where `delete` waits some 15 ms until no CPU can be using the link.
    """
    data = codec.u8(IFLA_BRPORT_STATE, BR_STATE_DISABLED) + codec.attribute(IFLA_BRPORT_FLUSH, b"")
    shell = f"ip link set {name} type bridge_slave state 0 fdb_flush"
    request = _change(name, shell, why, _port_info(data))
    # EINVAL, EOPNOTSUPP: it is no port of a bridge (any more)
    request.accept = (errno.ENODEV, errno.EINVAL, errno.EOPNOTSUPP)
    return request


def rename(name: str, index: int, new: str, *, why: str = "") -> Request:
    """Give the link of this index, which must be down, the name `new`."""
    shell = f"ip link set {name} name {new}"
    return _change(name, shell, why, _name(new), index=index)


def move(name: str, netns_fd: int, *, why: str = "") -> Request:
    """Move a link into another network namespace, where it arrives down."""
    shell = f"ip link set {name} netns {trace.namespace(netns_fd)}"
    return _change(name, shell, why, codec.u32(IFLA_NET_NS_FD, netns_fd))


def delete(name: str, *, why: str = "") -> Request:
    """Delete a link and, for a veth, its peer; fine if there is none."""
    body = _header() + _name(name)
    return Request(
        RTM_DELLINK,
        0,
        body,
        shell=f"ip link del {name}",
        path=name,
        why=why,
        accept=(errno.ENODEV,),
    )


def find(netlink: Netlink, name: str) -> Link | None:
    """The link of this name, or None."""
    body = _header() + _name(name) + codec.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    message = netlink.get(Request(RTM_GETLINK, 0, body, shell=f"ip link show {name}", path=name))
    return None if message is None else Link(message)


def list_links(netlink: Netlink, *, master: int = 0) -> list[Link]:
    """All links, or the ports of one bridge."""
    body = _header() + codec.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    if master:
        body += codec.u32(IFLA_MASTER, master)
    request = Request(RTM_GETLINK, 0, body, shell="ip link show", path="links")
    found: Iterable[Link] = map(Link, netlink.dump(request))
    return [link for link in found if not master or link.master == master]
