from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.oci.reference import parse
from jubako.registry.hosts import Hosts, is_loopback, split_host


def urls(hosts: Hosts, name: str, tail: str = "tags/list") -> list[str]:
    return [endpoint.url(tail) for endpoint in hosts.endpoints(parse(name))]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("busybox", "https://registry-1.docker.io/v2/library/busybox/tags/list"),
        ("index.docker.io/me/app", "https://registry-1.docker.io/v2/me/app/tags/list"),
        ("quay.io/team/app:1", "https://quay.io/v2/team/app/tags/list"),
        ("quay.io:443/team/app:1", "https://quay.io/v2/team/app/tags/list"),
        ("reg.example:5000/x", "https://reg.example:5000/v2/x/tags/list"),
        ("[2001:db8::1]:5000/x", "https://[2001:db8::1]:5000/v2/x/tags/list"),
        ("[2001:db8::1]/x", "https://[2001:db8::1]/v2/x/tags/list"),
    ],
)
def test_a_name_leads_to_its_registry(name: str, url: str) -> None:
    assert urls(Hosts(), name) == [url]


@pytest.mark.parametrize(
    ("name", "in_doubt"),
    [
        ("localhost/x", True),
        ("localhost:5000/x", True),
        ("127.0.0.1:5000/x", True),
        ("127.9.9.9/x", True),
        ("[::1]:5000/x", True),
        ("reg.example:5000/x", True),  # named with this port
        ("reg.example/x", False),
        ("reg.example:5001/x", False),
        ("any.example:1/x", True),  # named without a port: all of them
        ("any.example/x", True),
        ("10.1.2.3/x", True),  # in a network
        ("10.1.2.3:5000/x", True),
        ("11.1.2.3:5000/x", False),
        ("[fd00::5]:5000/x", True),
        ("[fe00::5]:5000/x", False),
        ("notlocalhost/x.y", False),
        ("localhost.example/x", False),
        ("127.0.0.1.example/x", False),
        ("quay.io/x", False),
        ("busybox", False),
    ],
)
def test_http_is_for_loopback_and_the_named(name: str, in_doubt: bool) -> None:
    hosts = Hosts(insecure=["reg.example:5000", "any.example", "10.0.0.0/8", "fd00::/8"])
    (endpoint,) = hosts.endpoints(parse(name))
    assert endpoint.scheme == "https"
    assert endpoint.in_doubt is in_doubt


def test_http_has_its_own_port() -> None:
    plain = Hosts().origin("localhost", "x").over_http()
    assert plain.base == "http://localhost"
    assert Hosts().origin("localhost:5000", "x").over_http().base == "http://localhost:5000"


MIRRORS = {
    "docker.io": ["https://one.example/hub/", "two.example:5000"],
    "docker.io/library": ["https://official.example"],
    "quay.io/team": ["http://t.example/t"],
    "quay.io/team/app": ["https://app.example/x/y"],
}


@pytest.mark.parametrize(
    ("name", "mirrors"),
    [
        (
            "me/app",
            [
                "https://one.example/v2/hub/me/app/manifests/1",
                "https://two.example:5000/v2/me/app/manifests/1",
            ],
        ),
        ("busybox", ["https://official.example/v2/busybox/manifests/1"]),
        ("quay.io/team/web", ["http://t.example/v2/t/web/manifests/1"]),
        ("quay.io/team/app", ["https://app.example/v2/x/y/manifests/1"]),
        ("quay.io/team/app/deep", ["https://app.example/v2/x/y/deep/manifests/1"]),
        ("quay.io/teammate/x", []),  # a part of a name ends with a component
        ("quay.io/other", []),
        ("other.example/library/x", []),
    ],
)
def test_the_mirrors_of_the_longest_part_stand_for_that_part(name: str, mirrors: list[str]) -> None:
    *found, origin = urls(Hosts(mirrors=MIRRORS), name, "manifests/1")
    assert found == mirrors
    assert origin == urls(Hosts(), name, "manifests/1")[0]


def test_a_mirror_of_every_registry_is_told_whose_name_it_is() -> None:
    hosts = Hosts(mirrors={"*": ["https://all.example/p"], "docker.io": ["https://hub.example"]})
    assert urls(hosts, "quay.io/a/b", "manifests/1")[0] == (
        "https://all.example/v2/p/a/b/manifests/1?ns=quay.io"
    )
    assert urls(hosts, "quay.io/a/b", "tags/list?n=5")[0].endswith("/tags/list?n=5&ns=quay.io")
    assert urls(hosts, "busybox")[0] == "https://hub.example/v2/library/busybox/tags/list"


def test_a_mirror_has_its_own_credentials_and_doubts() -> None:
    hosts = Hosts(mirrors={"docker.io": ["localhost:5000", "https://localhost:5001", "m.example"]})
    unsaid, said, other, _ = hosts.endpoints(parse("busybox"))
    assert (unsaid.domain, unsaid.in_doubt) == ("localhost:5000", True)
    assert (said.domain, said.in_doubt) == ("localhost:5001", False)
    assert (other.domain, other.in_doubt) == ("m.example", False)


@pytest.mark.parametrize(
    "address",
    ["", "https://", "ftp://m.example", "https://user:pw@m.example", "https://m.example/?x=1"]
    + ["https://m.example#x", "m.example:port", "m.example:0", "m.example:65536", "a b"],
)
def test_a_mirror_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="registry mirror of docker.io"):
        Hosts(mirrors={"docker.io": [address]})


def test_an_insecure_network_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="neither a host nor a network"):
        Hosts(insecure=["10.0.0.0/99"])


@given(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(1, 65535))
def test_hosts_and_ports_come_apart_as_they_were_put_together(host: str, port: int) -> None:
    assert split_host(f"{host}:{port}") == (host, port)
    assert split_host(host) == (host, None)


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_ipv6_has_brackets(address: object, port: int) -> None:
    assert split_host(f"[{address}]:{port}") == (str(address), port)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_with_our_error(text: str) -> None:
    try:
        host, port = split_host(text)
    except InvalidArgument:
        return
    assert host and (port is None or 0 < port < 65536)
    assert not set(host) & set(" /@?#\\%")


@given(st.ip_addresses())
def test_loopback_is_what_the_kernel_takes_for_it(address: object) -> None:
    text = str(address)
    assert is_loopback(text) is (text.startswith("127.") or text == "::1")
