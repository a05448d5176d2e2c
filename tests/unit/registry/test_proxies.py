from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument, JubakoError, Unsupported
from jubako.registry.proxies import find_proxy

PROXY = "http://proxy.example:3128"


def reached(host: str, no_proxy: str, port: int = 443) -> bool:
    """Whether the host is reached through the proxy."""
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    return find_proxy("https", host, port, environ) is not None


def test_the_scheme_names_the_variable_and_capitals_come_first() -> None:
    environ = {"http_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2", "https_proxy": "http://c"}
    for scheme, url in (("http", "http://a:1"), ("https", "http://b:2")):
        found = find_proxy(scheme, "reg.example", 443, environ)
        assert found is not None
        assert (found.url, found.headers) == (url, {})
    assert find_proxy("https", "reg.example", 443, {"HTTP_PROXY": "http://a"}) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_near_enough(host: str) -> None:
    assert not reached(host, "")


@pytest.mark.parametrize(
    ("host", "no_proxy", "through"),
    [
        ("reg.example", "", True),
        ("reg.example", "*", False),
        ("reg.example", "reg.example", False),
        ("reg.example", "other, REG.example", False),
        ("a.reg.example", "reg.example", False),
        ("areg.example", "reg.example", True),
        ("reg.example", ".reg.example", True),
        ("a.reg.example", ".reg.example", False),
        ("a.reg.example", "*.reg.example", False),
        ("reg.example", "*.reg.example", True),
        ("reg.example", "reg.example:443", False),
        ("reg.example", "reg.example:5000", True),
        ("reg.example", ",, ,", True),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("reg.example", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.3:443", False),
        ("2001:db8::1", "2001:DB8:0::1", False),
        ("2001:db8::1", "[2001:db8::1]:443", False),
        ("2001:db8::1", "2001:db8::/32", False),
    ],
)
def test_no_proxy(host: str, no_proxy: str, through: bool) -> None:
    assert reached(host, no_proxy) is through


def test_the_password_is_a_header_and_in_no_url() -> None:
    environ = {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128/"}
    found = find_proxy("https", "reg.example", 443, environ)
    assert found is not None
    assert found.url == PROXY
    assert found.headers == {"Proxy-Authorization": "Basic bWU6cEBzcw=="}


def test_a_proxy_without_a_scheme_is_http() -> None:
    found = find_proxy("http", "reg.example", 80, {"http_proxy": "proxy.example:3128"})
    assert found is not None
    assert found.url == PROXY


@pytest.mark.parametrize("text", ["ftp://p", "http://", "http://me:hidden@:1:2", "http://[::1"])
def test_a_proxy_that_is_no_url_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(InvalidArgument, match="HTTPS_PROXY: not the URL of a proxy") as caught:
        find_proxy("https", "reg.example", 443, {"HTTPS_PROXY": text})
    assert "hidden" not in str(caught.value)


def test_socks_is_refused_in_words() -> None:
    with pytest.raises(Unsupported, match="SOCKS"):
        find_proxy("https", "reg.example", 443, {"https_proxy": "socks5://me:pw@p:1080"})


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_environment_breaks_it(proxy: str, no_proxy: str) -> None:
    try:
        find_proxy("https", "reg.example", 443, {"HTTPS_PROXY": proxy, "NO_PROXY": no_proxy})
    except JubakoError:
        pass
