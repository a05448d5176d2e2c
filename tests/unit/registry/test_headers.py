from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.registry.headers import (
    Quota,
    parse_content_range,
    parse_link_next,
    parse_quota,
    parse_size,
    parse_upload_range,
    parse_warnings,
    printable,
    same_origin,
)

PAGE = "https://reg.example/v2/x/tags/list?n=2"


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ('</v2/x/tags/list?last=b&n=2>; rel="next"', "/v2/x/tags/list?last=b&n=2"),
        ("</v2/x/tags/list?last=b>; rel=next", "/v2/x/tags/list?last=b"),
        ('</a>; rel="prev", </b>; rel="next"', "/b"),
        ('</a,b>; title="x, y; z"; rel="first next"', "/a,b"),
        ('</a>; REL="NEXT"', "/a"),
        ("?last=c", None),
        ('</a>; rel="nextish"', None),
        ("</a>", None),
        ("", None),
        ("<<>>;;,,", None),
    ],
)
def test_links_to_the_next_page(link: str, following: str | None) -> None:
    wanted = None if following is None else f"https://reg.example{following}"
    assert parse_link_next(link, PAGE) == wanted


def test_a_link_elsewhere_is_found_and_seen_as_such() -> None:
    found = parse_link_next('<https://evil.example/v2/x>; rel="next"', PAGE)
    assert found == "https://evil.example/v2/x"
    assert not same_origin(found, PAGE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a/x", "https://a:443/y?z", True),
        ("http://a:80", "http://a", True),
        ("https://a", "http://a", False),
        ("https://a", "https://a:444", False),
        ("https://a", "https://b", False),
        ("https://A", "https://a", True),
        ("https://a.", "https://a", False),
        ("https://user@a", "https://a", True),
        ("https://a@b", "https://a", False),
        ("file:///a", "file:///a", False),
        ("https://a:port", "https://a:port", False),
        ("", "", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert same_origin(one, other) is same


@pytest.mark.parametrize(
    ("limit", "remaining", "quota"),
    [
        ("100;w=21600", "76;w=21600", Quota(100, 76, 21600)),
        ("100", "76", Quota(100, 76, None)),
        ("", "3; w=60", Quota(-1, 3, 60)),
        ("100, 100;w=60", "5", Quota(100, 5, None)),
        ("100;w=21600", "", None),
        ("100", "many", None),
        ("", "-1", None),
        ("", "9" * 400, None),
    ],
)
def test_quota(limit: str, remaining: str, quota: Quota | None) -> None:
    assert parse_quota(limit, remaining) == quota


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes 0-0/*", (0, 0, None)),
        ("BYTES 1-2/3", (1, 2, 3)),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("5-9", None),
        ("bytes 5-9/" + "1" * 30, None),
    ],
)
def test_content_range(text: str, found: tuple[int, int, int | None] | None) -> None:
    assert parse_content_range(text) == found


def test_upload_range() -> None:
    found = [parse_upload_range(text) for text in ("0-1023", "bytes=0-9", "0-0", "", "5-9", "x")]
    assert found == [1024, 10, 0, 0, 0, 0]


def test_size() -> None:
    texts = (" 12 ", "0", "-1", "1e3", "", "9" * 20, "१")
    assert [parse_size(text) for text in texts] == [12, 0, None, None, None, None, None]


def test_warnings_are_texts_for_people() -> None:
    good = '299 - "This image is \\"old\\"\x1b[31m"'
    assert parse_warnings([good, '199 - "no"', "299 reg x", '299 - ""']) == [
        'This image is "old" [31m'
    ]
    assert len(parse_warnings([f'299 - "{"a" * 5000}"'])[0]) == 500


@given(st.text(), st.integers(10, 50))
def test_printable_is_one_short_line(text: str, limit: int) -> None:
    found = printable(text, limit)
    assert len(found) <= limit and found.isprintable()


@given(st.text(alphabet='<>;,"= \\relnxt/:?', max_size=80))
def test_no_link_header_breaks_the_parser(link: str) -> None:
    found = parse_link_next(link, PAGE)
    assert found is None or isinstance(found, str)
