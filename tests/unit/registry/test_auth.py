"""The answers to challenges: tokens kept and renewed, credentials sent where they belong."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument, Unauthorized, Unavailable
from jubako.registry import tokens
from jubako.registry.auth import Attempt, Authorizer, check_realm, pull_scope, push_scope, union
from jubako.registry.credentials import Login
from jubako.registry.tokens import MAX_ANSWER, Answer

ORIGIN, DOMAIN, REALM = "https://reg.example", "reg.example", "https://auth.example/token"
LOGIN = Login("me", "s3cret-password")
BEARER = f'Bearer realm="{REALM}",service="reg",scope="repository:app:pull"'
PULL = (pull_scope("app"),)


@dataclass(frozen=True)
class Asked:
    """What a token server was asked."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query)


@dataclass
class TokenServer:
    """Token servers of any name: each token is another, `make` may answer otherwise."""

    asked: list[Asked] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    make: Callable[[Asked], Answer] | None = None
    secrets: tuple[str, ...] = ()

    def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        limit: int,
        secrets: tuple[str, ...],
    ) -> Answer:
        assert limit == MAX_ANSWER
        self.secrets = secrets
        asked = Asked(method, url, dict(headers), body)
        self.asked.append(asked)
        if self.make is not None:
            return self.make(asked)
        content = {"token": f"token-{len(self.asked)}"} | self.answer
        return Answer(200, json.dumps(content).encode())


class Credentials:
    def __init__(self, **logins: Login):
        self.logins = {DOMAIN: LOGIN, **logins}
        self.asked: list[str] = []

    def get(self, domain: str) -> Login | None:
        self.asked.append(domain)
        return self.logins.get(domain)


NOBODY = Credentials()
NOBODY.logins.clear()


@pytest.fixture
def server() -> TokenServer:
    return TokenServer()


def token_of(attempt: Attempt) -> str:
    return attempt.headers()["Authorization"].removeprefix("Bearer ")


def refused(status: int, **content: Any) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(status, json.dumps(content).encode())


def test_nothing_is_sent_before_it_is_asked_for(server: TokenServer) -> None:
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.headers() == {}
    assert not attempt.challenged([])
    assert server.asked == []


def test_a_token_is_asked_for_with_name_and_password(server: TokenServer) -> None:
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    assert attempt.headers() == {"Authorization": "Bearer token-1"}
    (asked,) = server.asked
    assert (asked.method, asked.body) == ("GET", None)
    assert asked.url.startswith(f"{REALM}?")
    assert asked.query == [
        ("service", "reg"), ("scope", "repository:app:pull"), ("account", "me"),
    ]  # fmt: skip
    pair = base64.b64encode(b"me:s3cret-password").decode()
    assert asked.headers == {"Authorization": f"Basic {pair}"}
    assert server.secrets == ("s3cret-password", pair)


def test_a_token_is_asked_for_as_anybody(server: TokenServer) -> None:
    attempt = Authorizer(server, NOBODY).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    assert token_of(attempt) == "token-1"
    assert server.asked[0].headers == {}
    assert "account" not in dict(server.asked[0].query)


def test_an_identity_token_is_sent_by_post(server: TokenServer) -> None:
    credentials = Credentials(**{DOMAIN: Login("me", "", identity_token="id-token")})
    scopes = (push_scope("app"), pull_scope("base"))
    attempt = Authorizer(server, credentials).attempt(ORIGIN, DOMAIN, scopes)
    assert attempt.challenged([BEARER])
    assert token_of(attempt) == "token-1"
    (asked,) = server.asked
    assert (asked.method, asked.url) == ("POST", REALM)
    assert asked.headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert parse_qs((asked.body or b"").decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["id-token"],
        "service": ["reg"],
        "client_id": ["jubako"],
        "scope": ["repository:app:pull,push repository:base:pull"],
    }
    assert server.secrets == ("id-token",)


def test_a_registry_token_is_used_as_it_is(server: TokenServer) -> None:
    credentials = Credentials(**{DOMAIN: Login(registry_token="given")})
    attempt = Authorizer(server, credentials).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    assert token_of(attempt) == "given"
    assert not attempt.challenged([BEARER]), "it was refused, and there is no other"
    assert server.asked == []


def test_a_login_asks_for_an_identity_token(server: TokenServer) -> None:
    server.answer = {"refresh_token": "for-later"}
    authorizer = Authorizer(server, Credentials(), offline=True)
    attempt = authorizer.attempt(ORIGIN, DOMAIN)
    assert attempt.challenged([f'Bearer realm="{REALM}"'])
    attempt.headers()
    assert ("offline_token", "true") in server.asked[0].query
    assert authorizer.identity_token(DOMAIN) == "for-later"
    assert authorizer.identity_token("other.example") == ""


# --- what is kept --------------------------------------------------------------------------------


def test_a_token_is_kept_for_its_scope(server: TokenServer) -> None:
    authorizer = Authorizer(server, Credentials())
    first = authorizer.attempt(ORIGIN, DOMAIN, PULL)
    assert first.challenged([BEARER])
    first.headers()
    # without another challenge: one round trip less for every layer
    assert token_of(authorizer.attempt(ORIGIN, DOMAIN, PULL)) == "token-1"
    assert token_of(authorizer.attempt(ORIGIN, DOMAIN, (push_scope("app"),))) == "token-2"
    assert token_of(authorizer.attempt(ORIGIN, DOMAIN, PULL)) == "token-1"
    assert len(server.asked) == 2


def test_a_token_is_not_shared_with_a_registry_that_names_the_same_server(
    server: TokenServer,
) -> None:
    credentials = Credentials()
    authorizer = Authorizer(server, credentials)
    first = authorizer.attempt(ORIGIN, DOMAIN, PULL)
    assert first.challenged([BEARER])
    assert token_of(first) == "token-1"
    other = authorizer.attempt("https://evil.example", "evil.example", PULL)
    assert other.challenged([BEARER])
    assert token_of(other) == "token-2"
    assert "Authorization" not in server.asked[1].headers
    assert credentials.asked == [DOMAIN, "evil.example"]


def test_all_threads_wait_for_one_token(server: TokenServer) -> None:
    authorizer = Authorizer(server, Credentials())
    authorizer.attempt(ORIGIN, DOMAIN, PULL).challenged([BEARER])
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(token_of(authorizer.attempt(ORIGIN, DOMAIN, PULL)))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["token-1"] * 8
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "kept_s"),
    [
        ({}, 48),  # 60 s is what the specification says when nothing is said
        ({"expires_in": 300}, 240),
        ({"expires_in": 5}, 48),
        ({"expires_in": -1}, 48),
        ({"expires_in": True}, 48),
        ({"expires_in": "300"}, 48),
        ({"expires_in": 300, "issued_at": "1970-01-12T13:45:00Z"}, 140),  # 100 s ago
        ({"expires_in": 300, "issued_at": "1970-01-12T13:45:00.123456789+00:00"}, 140),
        ({"expires_in": 300, "issued_at": "1970-01-12T14:00:00Z"}, 240),  # its clock is ahead
        ({"expires_in": 300, "issued_at": "1969-01-01T00:00:00Z"}, 240),  # or far behind
        ({"expires_in": 300, "issued_at": "soon"}, 240),
        ({"expires_in": 300, "issued_at": 7}, 240),
    ],
)
def test_a_token_is_renewed_before_it_expires(
    server: TokenServer, answer: dict[str, Any], kept_s: int
) -> None:
    now = 1_000_000.0  # 1970-01-12T13:46:40Z
    server.answer = answer
    authorizer = Authorizer(server, Credentials(), clock=lambda: now)
    attempt = authorizer.attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    attempt.headers()
    now += kept_s - 1
    assert token_of(authorizer.attempt(ORIGIN, DOMAIN, PULL)) == "token-1"
    now += 2
    assert token_of(authorizer.attempt(ORIGIN, DOMAIN, PULL)) == "token-2"


def test_a_kept_token_that_is_refused_is_replaced_once(server: TokenServer) -> None:
    authorizer = Authorizer(server, Credentials())
    first = authorizer.attempt(ORIGIN, DOMAIN, PULL)
    assert first.challenged([BEARER])
    first.headers()
    attempt = authorizer.attempt(ORIGIN, DOMAIN, PULL)
    assert token_of(attempt) == "token-1"
    assert attempt.challenged([BEARER])
    assert token_of(attempt) == "token-2"
    assert not attempt.challenged([BEARER])


def test_a_scope_that_was_not_foreseen_is_asked_for(server: TokenServer) -> None:
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    attempt.headers()
    more = BEARER.replace(":pull", ":push") + ',error="insufficient_scope"'
    assert attempt.challenged([more])
    assert token_of(attempt) == "token-2"
    assert ("scope", "repository:app:pull,push") in server.asked[1].query


# --- where it ends -------------------------------------------------------------------------------


def test_a_refused_token_is_the_end(server: TokenServer) -> None:
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    attempt.headers()
    assert not attempt.challenged([BEARER])


@given(
    st.lists(
        st.sampled_from(
            [
                [BEARER],
                ['Basic realm="x"'],
                [BEARER, 'Basic realm="x"'],
                [f'Bearer realm="{REALM}",scope="repository:{"a" * 9}:pull"'],
                ['Bearer realm="https://other.example/t"'],
                ["Bearer"],
                [],
            ]
        ),
        min_size=10,
        max_size=10,
    )
)
def test_every_loop_of_challenges_ends(challenges: list[list[str]]) -> None:
    server = TokenServer()
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN, PULL)
    count = 0
    attempt.headers()
    for headers in challenges:
        try:
            if not attempt.challenged(headers):
                break
        except Unauthorized:
            break
        attempt.headers()
        count += 1
    assert count <= 3
    assert len(server.asked) <= 3


def test_basic_is_sent_once_and_only_with_a_name(server: TokenServer) -> None:
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN)
    assert attempt.challenged(["Basic realm=x"])
    pair = base64.b64encode(b"me:s3cret-password").decode()
    assert attempt.headers() == {"Authorization": f"Basic {pair}"}
    assert not attempt.challenged(["Basic realm=x"])
    assert not Authorizer(server, NOBODY).attempt(ORIGIN, DOMAIN).challenged(["Basic realm=x"])


def test_what_is_not_utf_8_goes_as_it_came(server: TokenServer) -> None:
    login = Login("m\udcff", "p\udcfe")
    assert tokens.basic(login) == "Basic " + base64.b64encode(b"m\xff:p\xfe").decode()
    attempt = Authorizer(server, Credentials(**{DOMAIN: login})).attempt(ORIGIN, DOMAIN)
    assert attempt.challenged([f'Bearer realm="{REALM}?a=b"'])
    attempt.headers()
    assert server.asked[0].url == f"{REALM}?a=b&account=m%FF"


def test_a_name_with_a_colon_cannot_be_sent(server: TokenServer) -> None:
    credentials = Credentials(**{DOMAIN: Login("me:you", "x")})
    attempt = Authorizer(server, credentials).attempt(ORIGIN, DOMAIN)
    assert attempt.challenged(["Basic realm=x"])
    with pytest.raises(InvalidArgument, match="cannot contain a colon"):
        attempt.headers()


def test_unknown_schemes_are_named(server: TokenServer) -> None:
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN)
    with pytest.raises(Unauthorized, match="authentication by negotiate, ntlm"):
        attempt.challenged(["Negotiate", "NTLM abc=="])
    with pytest.raises(Unauthorized, match="names no server"):
        attempt.challenged(["Bearer service=x"])


# --- what token servers answer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (refused(401, details="incorrect username or password"), Unauthorized, "were refused: inc"),
        (refused(403, errors=[{"code": "DENIED", "message": "no"}]), Unauthorized, "refused: no$"),
        (refused(400, error="invalid_grant"), Unauthorized, "invalid_grant"),
        (refused(429, message="slow"), Unavailable, "429: slow"),
        (refused(503), Unavailable, "503$"),
        (refused(404), Unavailable, "404$"),
        (refused(302), Unavailable, "redirect, which is not followed"),
        (refused(200), Unavailable, "holds no token"),
        (refused(200, token=""), Unavailable, "holds no token"),
        (refused(200, token=7), Unavailable, "holds no token"),
        (refused(200, token="a\r\nX-Evil: 1"), Unavailable, "holds no token"),
        (refused(200, token="a b"), Unavailable, "holds no token"),
        (refused(200, token="a" * 70_000), Unavailable, "holds no token"),
        (lambda asked: Answer(200, b"<html>"), Unavailable, "not JSON"),
        (lambda asked: Answer(200, b"[" * 100_000), Unavailable, "not JSON"),
        (lambda asked: Answer(200, b"[]"), Unavailable, "not a JSON object"),
        (
            refused(401, message="\x1b[2Jme:s3cret-password bWU6czNjcmV0LXBhc3N3b3Jk"),
            Unauthorized,
            r"\*\*\* \*\*\*$",
        ),
    ],
)
def test_bad_answers(
    server: TokenServer, make: Callable[[Asked], Answer], kind: type[Exception], words: str
) -> None:
    server.make = make
    attempt = Authorizer(server, Credentials()).attempt(ORIGIN, DOMAIN, PULL)
    assert attempt.challenged([BEARER])
    with pytest.raises(kind, match=words) as info:
        attempt.headers()
    text = f"{info.value} {getattr(info.value, 'hint', '')}"
    assert "https://auth.example/token" in text
    if kind is Unauthorized:
        assert "log in again with `jubako login reg.example`" in text
    for secret in ("s3cret-password", "bWU6", "account=", "\x1b"):
        assert secret not in text


# --- scopes and realms ---------------------------------------------------------------------------


def test_scopes_are_united_by_resource() -> None:
    assert union(["repository:a:pull", "repository:b:pull", "repository:a:push,pull"]) == (
        "repository:a:pull,push",
        "repository:b:pull",
    )
    assert union(["registry:catalog:*", "odd", ""]) == ("registry:catalog:*", "odd", "")


@given(st.lists(st.text(alphabet="ab:,*", max_size=8), max_size=6))
def test_the_union_is_stable(scopes: list[str]) -> None:
    once = union(scopes)
    assert union(once) == once
    assert union([*scopes, *scopes]) == once


@pytest.mark.parametrize(
    ("origin", "realm"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://reg.example", "https://reg.example:444/token?a=b"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://localhost:5000", "http://[::1]:5001/token"),
        ("http://127.0.0.1:5000", "https://auth.example/token"),
        ("http://insecure.example:5000", "http://auth.example/token"),
    ],
)
def test_realms_that_are_asked(origin: str, realm: str) -> None:
    assert check_realm(realm, origin) == realm


@pytest.mark.parametrize(
    ("origin", "realm"),
    [
        ("https://reg.example", "http://reg.example/token"),  # a downgrade
        ("https://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://127.0.0.1:5000", "http://auth.example/token"),  # off the machine in the clear
        ("http://localhost:5000", "http://127.0.0.1.evil.example/token"),
        ("http://localhost:5000", "http://localhost.evil.example/token"),
        ("https://reg.example", "https://user:pw@auth.example/token"),
        ("https://reg.example", "//auth.example/token"),
        ("https://reg.example", "/token"),
        ("https://reg.example", "file:///etc/passwd"),
        ("https://reg.example", "https://"),
        ("https://reg.example", "https://a\nb/"),
        ("https://reg.example", "https://a b/"),
        ("https://reg.example", "https://[::1/"),
        ("https://reg.example", "https://a:99999/"),
        ("https://reg.example", "https://a/" + "x" * 3000),
    ],
)
def test_realms_that_get_nothing(server: TokenServer, origin: str, realm: str) -> None:
    credentials = Credentials(**{urlsplit(origin).netloc: LOGIN})
    attempt = Authorizer(server, credentials).attempt(origin, urlsplit(origin).netloc, PULL)
    with pytest.raises(Unauthorized, match="the token server it names is no"):
        attempt.challenged([f'Bearer realm="{realm}"'])
    assert server.asked == []
    assert credentials.asked == []
