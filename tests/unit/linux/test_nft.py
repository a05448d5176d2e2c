"""Elements of nftables sets as the kernel has them."""

from __future__ import annotations

from jubako.linux import nft
from jubako.linux.netlink import codec, nfnetlink


def test_fields_are_padded_to_four_bytes_in_network_order() -> None:
    """The layout that `nft --debug=mnl` shows for its concatenations."""
    assert nft.proto("tcp") == b"\x06\0\0\0"
    assert nft.proto("udp") == b"\x11\0\0\0"
    assert nft.proto("sctp") == b"\x84\0\0\0"
    assert nft.port(8080) == b"\x1f\x90\0\0"
    assert nft.address("172.17.0.2") == b"\xac\x11\x00\x02"


def test_an_element_survives_a_round_trip() -> None:
    for element in (
        nft.Element("m", nft.proto("tcp") + nft.port(80), nft.address("10.0.0.1"), "abc"),
        nft.Element("s", nft.port(80)),
    ):
        ((_, value),) = codec.attributes(nft._pack(element))
        found = nft._unpack(element.set, value)
        assert found == element
        assert found.comment == element.comment


def test_elements_are_equal_by_what_the_kernel_compares() -> None:
    one = nft.Element("m", b"k", b"d", "comment", "text")
    assert one == nft.Element("m", b"k", b"d")
    assert hash(one) == hash(nft.Element("m", b"k", b"d"))
    assert one != nft.Element("m", b"k", b"other")
    assert one != nft.Element("n", b"k", b"d")
    assert one != "m"


def test_many_elements_are_spread_over_messages() -> None:
    """A list of elements is one attribute, which holds 64 KiB."""
    elements = [
        nft.Element("m", nft.port(i), nft.address("10.0.0.1"), "x" * 64) for i in range(900)
    ]
    requests = nft._element_requests(
        nfnetlink.NFT_MSG_NEWSETELEM, 0, "add", "ip", "t", [*elements, nft.Element("n", b"")], ""
    )
    assert len(requests) == 4
    assert requests[-1].path == "t n"
