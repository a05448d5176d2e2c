"""Noticing that somebody removed our rules, and putting them back.

`nft flush ruleset`, which is also the first line of many an /etc/nftables.conf, takes the tables of
everybody.  Docker's published ports then stay closed until its daemon is restarted; here each
monitor listens to the kernel's announcements, and the first to notice makes the table anew.
"""

from __future__ import annotations

import struct

from jubako.errors import JubakoError, KernelError
from jubako.linux.loop import READ
from jubako.linux.netlink import NETLINK_NETFILTER, Netlink, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.linux.loop import EventLoop, Timer

_SETTLE_S = 0.05  # a reload removes and adds in several steps
_RETRY_S = 2.0


class Watch:
    """Calls `repair` some time after the rules of this network namespace changed.

    Changes of set elements, our own daily business, do not even wake the process.  `repair` must
    look for itself whether there is anything to do; it is tried again when it fails.
    """

    def __init__(self, loop: EventLoop, repair: Callable[[], None]):
        self._loop = loop
        self._repair = repair
        self._timer: Timer | None = None
        self._netlink = Netlink(NETLINK_NETFILTER, groups=(nfnetlink.NFNLGRP_NFTABLES,))
        self._netlink.attach_filter(_filter())
        loop.add(self._netlink.fileno(), READ, self._changed)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove(self._netlink.fileno())
        self._netlink.close()

    def _changed(self, events: int) -> None:
        try:
            while self._netlink.notifications():
                pass
        except KernelError:
            pass  # ENOBUFS: some were lost, which is a change as well
        if self._timer is None:
            self._timer = self._loop.call_later(_SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._timer = None
        try:
            self._repair()
        except JubakoError:
            # nft was removed, or the disk is full: nobody here can be told, so try again
            self._timer = self._loop.call_later(_RETRY_S, self._settled)


def _filter() -> bytes:
    """A program for SO_ATTACH_FILTER (bpf(4) of BSD): drop what starts with a message on elements
    or the end of a transaction, and take everything else."""
    load_half, jump_equal, return_ = 0x28, 0x15, 0x06
    unwanted = (
        nfnetlink.NFT_MSG_NEWSETELEM,
        nfnetlink.NFT_MSG_DELSETELEM,
        nfnetlink.NFT_MSG_NEWGEN,
    )
    program = [(load_half, 0, 0, 4)]  # nlmsg_type; BPF reads it in network byte order
    for index, message in enumerate(unwanted):
        (value,) = struct.unpack(">H", struct.pack("=H", nfnetlink.nftables_type(message)))
        program.append((jump_equal, len(unwanted) - index, 0, value))
    program += [(return_, 0, 0, 0xFFFFFFFF), (return_, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
