"""`WWW-Authenticate`, as registries send it and as nobody should."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.registry.challenges import MAX_HEADER, Challenge, parse

TOKENS = st.text(
    "!#$%&'*+-.^_`|~" + string.digits + string.ascii_lowercase, min_size=1, max_size=12
)
# What a quoted text may hold; everything else would end the header.
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
CHALLENGES = st.builds(Challenge, TOKENS, st.dictionaries(TOKENS, TEXTS, max_size=4))


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def written(challenge: Challenge, comma: str, equals: str) -> str:
    pairs = (f"{name}{equals}{quoted(value)}" for name, value in challenge.parameters.items())
    return f"{challenge.scheme} {comma.join(pairs)}".rstrip(" ")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            [
                'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
                'scope="repository:library/busybox:pull,push"'
            ],
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/busybox:pull,push",
                    },
                )
            ],
        ),
        (['Basic realm="tests"'], [("basic", {"realm": "tests"})]),
        (
            ['BASIC REALM=x, Bearer Realm="y"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
        ),
        (["Negotiate, Basic realm=a"], [("negotiate", {}), ("basic", {"realm": "a"})]),
        (["Negotiate YII=, Basic realm=a"], [("negotiate", {}), ("basic", {"realm": "a"})]),
        (["NTLM", 'Basic realm="a,b=c"'], [("ntlm", {}), ("basic", {"realm": "a,b=c"})]),
        (['Basic realm="a\\"b\\\\c"'], [("basic", {"realm": 'a"b\\c'})]),
        (
            ["Bearer realm=https://x/t?a=b,service=s"],
            [("bearer", {"realm": "https://x/t?a=b", "service": "s"})],
        ),
        (['Bearer realm = "x" , service = "y"'], [("bearer", {"realm": "x", "service": "y"})]),
        ([" ,, Basic realm=a ,, "], [("basic", {"realm": "a"})]),
        (['Bearer realm="first",realm="second"'], [("bearer", {"realm": "first"})]),
        # what cannot be read is not read, and what came before it is
        (
            ['Basic realm="a", Bearer realm="unfinished'],
            [("basic", {"realm": "a"}), ("bearer", {})],
        ),
        (['"'], []),
        (["=", ""], []),
        ([], []),
    ],
)
def test_headers(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    found = [(one.scheme, dict(one.parameters)) for one in parse(headers)]
    assert found == expected


@given(
    st.lists(CHALLENGES, max_size=5),
    st.sampled_from([",", ", ", " ,", " , , "]),
    st.sampled_from(["=", " = ", "\t=  "]),
    st.booleans(),
)
def test_what_is_written_is_read(
    challenges: list[Challenge], comma: str, equals: str, one_header: bool
) -> None:
    headers = [written(one, comma, equals) for one in challenges]
    assert list(parse([", ".join(headers)] if one_header else headers)) == challenges


@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_text_gives_an_answer(headers: list[str]) -> None:
    for challenge in parse(headers):
        assert challenge.scheme == challenge.scheme.lower() != ""
        assert isinstance(challenge.scopes, tuple)


@given(st.text(alphabet='a=", \t\\B', max_size=300))
def test_any_text_of_the_grammar_gives_an_answer(header: str) -> None:
    parse([header])


def test_a_huge_header_costs_no_time() -> None:
    for piece in (",", 'a="', "a=b,", "x ", "Basic realm=a, ", '\\"', "a = "):
        assert len(parse([piece * (MAX_HEADER * 4 // len(piece))])) <= 16


def test_scopes_are_separated_by_spaces() -> None:
    found = parse(['Bearer scope="repository:a:pull  repository:b:pull,push"'])[0]
    assert found.scopes == ("repository:a:pull", "repository:b:pull,push")
    assert (found.realm, found.service) == ("", "")
