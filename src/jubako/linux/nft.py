"""nftables: rules through the program `nft`, elements of sets and maps through netlink.

A table is made once, by a script.  Afterwards only elements come and go, one or two for each
published port, and for those no program is started: the kernel takes them in a tenth of a
millisecond.  Elements have the layout of nft's concatenations: each field starts at a multiple of
four bytes and is in network byte order, as the functions `proto`, `address` and `port` make them.
"""

from __future__ import annotations

import errno
import socket
import struct

from jubako.errors import JubakoError, KernelError, Unavailable
from jubako.linux import process
from jubako.linux.netlink import codec
from jubako.linux.netlink.nfnetlink import (
    NFNL_SUBSYS_NFTABLES,
    NFT_MSG_DELSETELEM,
    NFT_MSG_GETCHAIN,
    NFT_MSG_GETSET,
    NFT_MSG_GETSETELEM,
    NFT_MSG_GETTABLE,
    NFT_MSG_NEWSETELEM,
    nftables_type,
)
from jubako.linux.netlink.socket import NETLINK_NETFILTER, Netlink, Request
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

NFPROTO_IPV4 = socket.AF_INET
FAMILIES = {"inet": 1, "ip": socket.AF_INET, "ip6": socket.AF_INET6}

_NFNL_MSG_BATCH_BEGIN = 16
_NFNL_MSG_BATCH_END = 17

_NFTA_TABLE_NAME = 1
_NFTA_CHAIN_TABLE = 1
_NFTA_CHAIN_NAME = 3
_NFTA_CHAIN_HOOK = 4
_NFTA_CHAIN_POLICY = 5
_NFTA_HOOK_HOOKNUM = 1
_NFTA_SET_TABLE = 1
_NFTA_SET_NAME = 2
_NFTA_LIST_TABLE = 1
_NFTA_LIST_SET = 2
_NFTA_LIST_ELEMENTS = 3
_NFTA_LIST_ELEM = 1
_NFTA_ELEM_KEY = 1
_NFTA_ELEM_DATA = 2
_NFTA_ELEM_USERDATA = 6
_NFTA_DATA_VALUE = 1
_UDATA_COMMENT = 0

_NFGENMSG = struct.Struct("=BB2s")  # family, version, resource ID (network byte order)
_ELEMENTS_PER_MESSAGE = 400  # the list is one attribute, of at most 64 KiB
_COMMENT_MAX_BYTES = 127


class Element:
    """One element of a set (data is b"") or of a map.

    set: the set's name.  comment: shown by `nft list`.  text: the element in nft's own words, for
    scripts and traces; not compared, and empty in what is read from the kernel.
    """

    __slots__ = __match_args__ = ("set", "key", "data", "comment", "text")

    def __init__(self, set: str, key: bytes, data: bytes = b"", comment: str = "", text: str = ""):
        self.set = set
        self.key = key
        self.data = data
        self.comment = comment
        self.text = text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Element):
            return NotImplemented
        return (self.set, self.key, self.data) == (other.set, other.key, other.data)

    def __hash__(self) -> int:
        return hash((self.set, self.key, self.data))

    def __repr__(self) -> str:
        return f"Element({self.set!r}, {self.key.hex()}, {self.data.hex()}, {self.comment!r})"

    def words(self) -> str:
        return self.text or f"0x{self.key.hex()}"


def proto(name: str) -> bytes:
    """A field inet_proto."""
    return bytes((_PROTOCOLS[name], 0, 0, 0))


_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def address(text: str) -> bytes:
    """A field ipv4_addr."""
    return socket.inet_aton(text)


def port(number: int) -> bytes:
    """A field inet_service."""
    return struct.pack(">HH", number, 0)


def apply(script: str, *, why: str = "") -> None:
    """Carry out a script of nft(8) as one transaction.

    Raises Unavailable (nft is not installed), JubakoError with nft's message.
    """
    try:
        completed = process.run(["nft", "-f", "-"], stdin=script.encode(), why=why)
    except Unavailable as exc:
        exc.hint = exc.hint or "install the package nftables"
        raise
    if completed.status != 0:
        text = completed.stderr.decode(errors="replace").strip()
        raise JubakoError(f"nft: {text or f'exit status {completed.status}'}")


def list_json(*what: str) -> list[dict[str, Any]]:
    """`nft -j list WHAT`: the objects of libnftables-json(5).  Raises Unavailable, JubakoError."""
    import json

    argv = ["nft", "-j", "list", *(what or ("ruleset",))]
    completed = process.run(argv, why="what the firewall has now")
    if completed.status != 0:
        raise JubakoError(f"nft: {completed.stderr.decode(errors='replace').strip()}")
    found: list[dict[str, Any]] = json.loads(completed.stdout)["nftables"]
    return found


def open_socket() -> Netlink:
    """A netfilter socket of the current network namespace, for the functions below."""
    return Netlink(NETLINK_NETFILTER)


def _header(family: int, resource: int = 0) -> bytes:
    return _NFGENMSG.pack(family, 0, struct.pack(">H", resource))


def table_exists(netlink: Netlink, family: str, name: str) -> bool:
    """Whether there is such a table, without starting a program."""
    body = _header(FAMILIES[family]) + codec.text(_NFTA_TABLE_NAME, name)
    shell = f"nft list table {family} {name}"
    return (
        netlink.get(Request(nftables_type(NFT_MSG_GETTABLE), 0, body, shell=shell, path=name))
        is not None
    )


def set_exists(netlink: Netlink, family: str, table: str, name: str) -> bool:
    """Whether the table exists and holds a set or map of this name."""
    body = _header(FAMILIES[family])
    body += codec.text(_NFTA_SET_TABLE, table) + codec.text(_NFTA_SET_NAME, name)
    shell = f"nft list set {family} {table} {name}"
    return (
        netlink.get(Request(nftables_type(NFT_MSG_GETSET), 0, body, shell=shell, path=name))
        is not None
    )


def _change_words(
    netlink: Netlink,
    family: str,
    table: str,
    *,
    add: Sequence[Element] = (),
    remove: Sequence[Element] = (),
    why: str = "",
) -> str:
    lines = [
        f"{verb} element {family} {table} {element.set} {{ {element.words()} }}"
        for verb, elements in (("delete", remove), ("add", add))
        for element in elements
    ]
    return f"nft '{'; '.join(lines)}'"


@traced(
    _change_words,
    facts=lambda netlink, family, table, *, add=(), remove=(), why="": {
        "table": f"{family} {table}",
        "add": [f"{element.set} {{ {element.words()} }}" for element in add],
        "remove": [f"{element.set} {{ {element.words()} }}" for element in remove],
    },
)
def change_elements(
    netlink: Netlink,
    family: str,
    table: str,
    *,
    add: Sequence[Element] = (),
    remove: Sequence[Element] = (),
    why: str = "",
) -> None:
    """Remove and add elements in one transaction, which happens as a whole or not at all.

    Adding what is there is fine, with other data it raises KernelError(EEXIST); removing what is
    not there raises KernelError(ENOENT), and so does a missing table or set.
    """
    requests = [
        *_element_requests(NFT_MSG_DELSETELEM, 0, "delete", family, table, remove, why),
        *_element_requests(NFT_MSG_NEWSETELEM, codec.NLM_F_CREATE, "add", family, table, add, why),
    ]
    if requests:
        marker = _header(0, NFNL_SUBSYS_NFTABLES)
        shell = f"nft change elements of {family} {table}"
        begin = Request(_NFNL_MSG_BATCH_BEGIN, 0, marker, shell=shell, path=table)
        end = Request(_NFNL_MSG_BATCH_END, 0, marker, shell=shell, path=table)
        netlink.batch(requests, begin, end)


def _element_requests(
    message: int,
    flags: int,
    verb: str,
    family: str,
    table: str,
    elements: Iterable[Element],
    why: str,
) -> list[Request]:
    by_set: dict[str, list[Element]] = {}
    for element in elements:
        by_set.setdefault(element.set, []).append(element)
    requests = []
    for name, members in by_set.items():
        for start in range(0, len(members), _ELEMENTS_PER_MESSAGE):
            chunk = members[start : start + _ELEMENTS_PER_MESSAGE]
            body = _header(FAMILIES[family])
            body += codec.text(_NFTA_LIST_TABLE, table) + codec.text(_NFTA_LIST_SET, name)
            body += codec.nested(_NFTA_LIST_ELEMENTS, *map(_pack, chunk))
            words = ", ".join(element.words() for element in chunk[:3])
            shell = f"nft {verb} element {family} {table} {name} {{ {words} }}"
            requests.append(
                Request(
                    nftables_type(message),
                    flags,
                    body,
                    shell=shell,
                    path=f"{table} {name}",
                    why=why,
                )
            )
    return requests


def _pack(element: Element) -> bytes:
    parts = [codec.nested(_NFTA_ELEM_KEY, codec.attribute(_NFTA_DATA_VALUE, element.key))]
    if element.data:
        data = codec.attribute(_NFTA_DATA_VALUE, element.data)
        parts.append(codec.nested(_NFTA_ELEM_DATA, data))
    if element.comment:
        text = element.comment.encode()[:_COMMENT_MAX_BYTES] + b"\0"
        userdata = bytes((_UDATA_COMMENT, len(text))) + text
        parts.append(codec.attribute(_NFTA_ELEM_USERDATA, userdata))
    return codec.nested(_NFTA_LIST_ELEM, *parts)


def _unpack(set_name: str, value: bytes) -> Element:
    found = codec.mapping(value)
    key = codec.mapping(found.get(_NFTA_ELEM_KEY, b"")).get(_NFTA_DATA_VALUE, b"")
    data = codec.mapping(found.get(_NFTA_ELEM_DATA, b"")).get(_NFTA_DATA_VALUE, b"")
    userdata = found.get(_NFTA_ELEM_USERDATA, b"")
    comment = ""
    if len(userdata) > 2 and userdata[0] == _UDATA_COMMENT:
        comment = userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode(errors="replace")
    return Element(set_name, key, data, comment)


def list_elements(netlink: Netlink, family: str, table: str, name: str) -> list[Element]:
    """The elements of a set or map; [] if there is no such table or set."""
    body = _header(FAMILIES[family])
    body += codec.text(_NFTA_LIST_TABLE, table) + codec.text(_NFTA_LIST_SET, name)
    shell = f"nft list set {family} {table} {name}"
    request = Request(nftables_type(NFT_MSG_GETSETELEM), 0, body, shell=shell, path=name)
    try:
        messages = netlink.dump(request)
    except KernelError as exc:
        if exc.errno == errno.ENOENT:
            return []
        raise
    found = []
    for message in messages:
        attributes = codec.mapping(message.body[_NFGENMSG.size :])
        for _, value in codec.attributes(attributes.get(_NFTA_LIST_ELEMENTS, b"")):
            found.append(_unpack(name, value))
    return found


def list_base_chains(netlink: Netlink, family: str) -> list[tuple[str, str, int, int]]:
    """(table, chain, hook, policy) of the chains that the kernel enters by itself.

    hook: NF_INET_PRE_ROUTING 0, LOCAL_IN 1, FORWARD 2, LOCAL_OUT 3, POST_ROUTING 4.
    policy: NF_DROP 0, NF_ACCEPT 1.
    """
    shell = f"nft list chains {family}"
    body = _header(FAMILIES[family])
    found = []
    for message in netlink.dump(
        Request(nftables_type(NFT_MSG_GETCHAIN), 0, body, shell=shell, path=family)
    ):
        chain = codec.mapping(message.body[_NFGENMSG.size :])
        hook = codec.mapping(chain.get(_NFTA_CHAIN_HOOK, b"")).get(_NFTA_HOOK_HOOKNUM)
        if hook is None:
            continue
        table, name = (
            codec.string(chain.get(_NFTA_CHAIN_TABLE)),
            codec.string(chain.get(_NFTA_CHAIN_NAME)),
        )
        policy = int.from_bytes(chain.get(_NFTA_CHAIN_POLICY, b"\1"), "big")
        found.append((table, name, int.from_bytes(hook, "big"), policy))
    return found
