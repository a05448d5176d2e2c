"""Numbers of nfnetlink, the part of netlink that netfilter speaks."""

from __future__ import annotations

NFNL_SUBSYS_NFTABLES = 10
NFNLGRP_NFTABLES = 7
NFT_MSG_GETTABLE = 1
NFT_MSG_DELTABLE = 2
NFT_MSG_GETCHAIN = 4
NFT_MSG_GETSET = 10
NFT_MSG_NEWSETELEM = 12
NFT_MSG_GETSETELEM = 13
NFT_MSG_DELSETELEM = 14
NFT_MSG_NEWGEN = 15


def nftables_type(message: int) -> int:
    """The nlmsg_type of a message NFT_MSG_*."""
    return (NFNL_SUBSYS_NFTABLES << 8) | message
