"""Registries that fish for credentials: row 17 of the list of attacks.

The registry that the user has logged in to is `bad_registry`; `evil` is another host. Whatever the
first says or is made to say, nothing secret reaches the second.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import JubakoError, Unauthorized, Unavailable
from jubako.oci import media
from tests.fixtures import registry_faults as faults
from tests.fixtures.bad_registry import BadRegistry, Stored
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import make_certificates
from tests.fixtures.registry_faults import Answer, Fault, Request, answer

USER, PASSWORD, TOKEN = "me", "s3cret-password", "s3cret-token"
BASIC = "bWU6czNjcmV0LXBhc3N3b3Jk"  # of both
SECRETS = (PASSWORD, TOKEN, BASIC)


@pytest.fixture
def evil(second_registry: BadRegistry) -> BadRegistry:
    """A host that is not the registry's, and takes whatever comes."""
    return second_registry


@pytest.fixture
def image(bad_registry: BadRegistry) -> Stored:
    return bad_registry.add_image("app", [bytes(1024)])


@pytest.fixture(autouse=True)
def login(bad_registry: BadRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is logged in to `bad_registry`, and to nothing else."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    auths = {bad_registry.host: {"username": USER, "password": PASSWORD}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": auths}))


def guarded(registry: BadRegistry, challenge: str = "Basic realm=x") -> None:
    """The registry asks for credentials, as the challenge says."""

    def guard(good: Answer, request: Request) -> Answer:
        own = request.headers["host"] == registry.host
        if own and "authorization" not in request.headers:
            return answer(401, WWW_Authenticate=challenge)
        return good

    registry.on("[A-Z]+ /v2/", guard)
    content = {"token": TOKEN, "expires_in": 300}
    registry.on("GET /token", faults.say(json.dumps(content).encode()))


def bearer(realm: str) -> str:
    return f'Bearer realm="{realm}",service="tests"'


def for_who_is_known(fault: Fault) -> Fault:
    """The attack begins where the credentials have come."""

    def apply(good: Answer, request: Request) -> Answer:
        return fault(good, request) if "authorization" in request.headers else good

    return apply


def assert_nothing_arrived(*hosts: BadRegistry) -> None:
    for host in hosts:
        for request in host.requests:
            assert "authorization" not in request.headers, request
            assert "cookie" not in request.headers, request
            for secret in SECRETS:
                assert secret not in f"{request.path} {request.headers}", request
                assert secret.encode() not in request.body, request


def assert_was_sent(registry: BadRegistry) -> None:
    """The test would mean nothing if the registry itself had not got the credentials."""
    assert any("authorization" in request.headers for request in registry.requests)


@pytest.fixture(params=["Basic", "Bearer"])
def scheme(request: pytest.FixtureRequest, bad_registry: BadRegistry) -> str:
    basic = request.param == "Basic"
    guarded(bad_registry, "Basic realm=x" if basic else bearer(f"http://{bad_registry.host}/token"))
    return str(request.param)


@pytest.mark.parametrize("what", ["manifests", "blobs"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect(
    scheme: str,
    what: str,
    status: int,
    engine: Engine,
    bad_registry: BadRegistry,
    evil: BadRegistry,
    image: Stored,
) -> None:
    evil.blobs, evil.manifests = bad_registry.blobs, bad_registry.manifests
    to = faults.redirect(f"http://{evil.host}", status)
    bad_registry.on(f"(GET|HEAD) .*/{what}/", for_who_is_known(to))
    engine.images.pull(f"{bad_registry.host}/app")
    assert evil.requests
    assert_nothing_arrived(evil)
    assert_was_sent(bad_registry)


@pytest.mark.parametrize("challenge", ["Basic realm=x", "bearer here", "bearer there"])
def test_a_redirect_to_who_asks_for_a_login(
    scheme: str,
    challenge: str,
    engine: Engine,
    bad_registry: BadRegistry,
    evil: BadRegistry,
    image: Stored,
) -> None:
    """The answer of another host is no challenge of the registry's: its realm gets nothing."""
    texts = {
        "bearer here": bearer(f"http://{evil.host}/token"),
        "bearer there": bearer(f"http://{bad_registry.host}/token"),
    }
    evil.on("(GET|HEAD) /v2/", faults.challenge(texts.get(challenge, challenge)))
    to = faults.redirect(f"http://{evil.host}")
    bad_registry.on("GET .*/blobs/", for_who_is_known(to))
    with pytest.raises(JubakoError) as info:
        engine.images.pull(f"{bad_registry.host}/app")
    assert isinstance(info.value, Unauthorized), repr(info.value)
    assert evil.requests
    assert_nothing_arrived(evil)
    assert len(bad_registry.requests) + len(evil.requests) < 20


def test_a_redirect_and_back(
    scheme: str, engine: Engine, bad_registry: BadRegistry, evil: BadRegistry, image: Stored
) -> None:
    """Who was redirected elsewhere comes back as a stranger."""
    evil.on("GET .*/blobs/", faults.redirect(f"http://{bad_registry.host}"))
    to = faults.redirect(f"http://{evil.host}")
    bad_registry.on("GET .*/blobs/", for_who_is_known(to))
    with pytest.raises(JubakoError):
        engine.images.pull(f"{bad_registry.host}/app")
    assert_nothing_arrived(evil)


def test_a_foreign_layer(
    scheme: str, engine: Engine, bad_registry: BadRegistry, evil: BadRegistry
) -> None:
    """CVE-2020-15157: a manifest that names a URL for a layer, which asks for a login."""
    data = bytes(1024)
    image = bad_registry.add_image("app", [data], compress="plain")
    url = f"http://{evil.host}/v2/x/blobs/{image.layers[0]}"
    layer = image.manifest["layers"][0] | {"mediaType": media.OCI_FOREIGN, "urls": [url]}
    bad_registry.add_manifest("app", image.manifest | {"layers": [layer]})
    for challenge in ("Basic realm=x", bearer(f"http://{evil.host}/token")):
        evil.behave()
        del bad_registry.blobs[image.layers[0]]
        evil.on("GET /v2/", faults.challenge(challenge))
        with pytest.raises(JubakoError):
            engine.images.pull(f"{bad_registry.host}/app")
        assert evil.requests
        assert_nothing_arrived(evil)
        bad_registry.blobs[image.layers[0]] = data


def test_an_upload_that_is_sent_elsewhere(
    scheme: str,
    engine: Engine,
    bad_registry: BadRegistry,
    evil: BadRegistry,
    busybox: str,
) -> None:
    """The Location of an upload may be anywhere; so may that of a cancelled mount."""

    def elsewhere(good: Answer, request: Request) -> Answer:
        location = f"http://{evil.host}{good.headers.get('Location', '/')}"
        return faults.set_header("Location", location)(good, request)

    bad_registry.on("POST .*/blobs/uploads/", elsewhere)
    evil.on("(PUT|PATCH|GET|DELETE) ", faults.respond(400))
    engine.images.tag(busybox, f"{bad_registry.host}/pushed")
    with pytest.raises(JubakoError):
        engine.images.push(f"{bad_registry.host}/pushed")
    assert evil.requests
    assert_nothing_arrived(evil)
    assert_was_sent(bad_registry)


def test_a_next_page_elsewhere(
    scheme: str, engine: Engine, bad_registry: BadRegistry, evil: BadRegistry, image: Stored
) -> None:
    link = f'<http://{evil.host}/v2/app/tags/list?last=x>; rel="next"'
    bad_registry.on("GET .*/tags/list", for_who_is_known(faults.set_header("Link", link)))
    with pytest.raises(Unavailable, match="on another host, refused"):
        engine.images.pull(f"{bad_registry.host}/app", all_tags=True)
    assert evil.requests == []


# --- token servers -------------------------------------------------------------------------------


def test_a_token_server_elsewhere_that_redirects(
    engine: Engine, bad_registry: BadRegistry, evil: BadRegistry, image: Stored
) -> None:
    """The registry's token server gets the password; where it leads to does not."""
    guarded(bad_registry, bearer(f"http://{bad_registry.host}/token"))
    bad_registry.on("GET /token", faults.redirect(f"http://{evil.host}"))
    with pytest.raises(Unavailable, match="redirect, which is not followed"):
        engine.images.pull(f"{bad_registry.host}/app")
    assert evil.requests == []
    assert_was_sent(bad_registry)


def test_the_token_server_of_another_registry(
    engine: Engine, bad_registry: BadRegistry, evil: BadRegistry, image: Stored
) -> None:
    """A registry without a login that names the token server of one with a login gets a token of
    nobody, although a token of the user's is at hand for the same server, service and scope."""
    realm = bearer(f"http://{bad_registry.host}/token")
    guarded(bad_registry, realm)
    engine.images.pull(f"{bad_registry.host}/app")
    assert_was_sent(bad_registry)

    def nobodys(good: Answer, request: Request) -> Answer:
        name = "user" if "authorization" in request.headers else "nobody"
        return answer(200, json.dumps({"token": f"token-of-{name}"}).encode())

    bad_registry.behave()
    bad_registry.on("GET /token", nobodys)
    evil.manifests, evil.blobs = bad_registry.manifests, bad_registry.blobs
    evil.on(
        "(GET|HEAD) /v2/",
        lambda good, request: (
            good if "authorization" in request.headers else answer(401, WWW_Authenticate=realm)
        ),
    )
    engine.images.pull(f"{evil.host}/app")
    sent = {request.headers.get("authorization") for request in evil.requests}
    assert sent == {None, "Bearer token-of-nobody"}
    assert_nothing_arrived(bad_registry)


@pytest.mark.parametrize(
    "realm",
    [
        "http://192.0.2.1/token",  # off this machine in the clear, which loopback never was
        "http://evil.example/token",
        "ftp://evil.example/token",
        "http://me:s3cret-password@127.0.0.1/token",
        "file:///etc/passwd",
        "/token",
    ],
)
def test_realms_that_are_not_asked(
    realm: str, engine: Engine, bad_registry: BadRegistry, image: Stored
) -> None:
    guarded(bad_registry, bearer(realm))
    with pytest.raises(Unauthorized, match="the token server it names is no") as info:
        engine.images.pull(f"{bad_registry.host}/app")
    assert_nothing_arrived(bad_registry)
    assert "@" not in str(info.value) or PASSWORD not in str(info.value).rpartition("@")[2]


@pytest.fixture
def https_registry(bad_registry: BadRegistry, tmp_path: Path) -> Iterator[str]:
    """The host of a registry that speaks TLS and asks for tokens of a server that does not."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "authorization" not in {name.lower() for name in self.headers}
            self.send_response(401)
            self.send_header("WWW-Authenticate", bearer(f"http://{bad_registry.host}/token"))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    _, certificate, key = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_registry_of_https_names_no_realm_of_http(
    engine: Engine, https_registry: str, bad_registry: BadRegistry
) -> None:
    for name in ("app", "app@sha256:" + "a" * 64):
        with pytest.raises(Unauthorized, match="is not reached by https: http://127"):
            engine.images.pull(f"{https_registry}/{name}")
    with pytest.raises(Unauthorized, match="is not reached by https: http://127"):
        engine.registries.login(https_registry, USER, PASSWORD)
    assert bad_registry.requests == []


def test_a_mirror_has_no_part_in_a_login(
    scheme: str, engine: Engine, bad_registry: BadRegistry, evil: BadRegistry, image: Stored
) -> None:
    """Not even if it asks: it has a name of its own, under which nobody has logged in."""
    settings = {"registry-mirrors": {bad_registry.host: [f"http://{evil.host}"]}}
    Path(engine.store.path, "config.json").write_text(json.dumps(settings))
    evil.on("(GET|HEAD) /v2/", faults.challenge("Basic realm=x"))
    engine.images.pull(f"{bad_registry.host}/app")
    assert evil.requests
    assert_nothing_arrived(evil)
    assert_was_sent(bad_registry)


# --- what is shown -------------------------------------------------------------------------------


def _shown(result: Any) -> str:
    return f"{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda registry: None,
        lambda registry: registry.on("GET /token", faults.respond(500, message=PASSWORD)),
        lambda registry: registry.on(
            "GET /token", lambda good, request: answer(401, _echo(request))
        ),
        lambda registry: registry.on("GET .*/manifests/", _refuse_and_echo),
        lambda registry: registry.on("GET .*/blobs/", faults.drop(-1)),
    ],
    ids=["good", "token 500", "token 401", "manifest 403", "blob dropped"],
)
def test_nothing_is_shown(
    misbehave: Callable[[BadRegistry], None],
    jubako: Jubako,
    bad_registry: BadRegistry,
    image: Stored,
) -> None:
    """Neither in errors, that repeat what the registry says, nor by --debug, --explain and info."""
    guarded(bad_registry, bearer(f"http://{bad_registry.host}/token"))
    misbehave(bad_registry)
    name = f"{bad_registry.host}/app"
    results = [
        jubako("--debug", "pull", name),
        jubako("pull", "--explain=json", name),
        jubako("--debug", "manifest", "inspect", "-v", name),
        jubako("--debug", "login", bad_registry.host),
        jubako("info"),
        jubako("events", "--since", "1h", "--until", "0s"),
    ]
    assert_was_sent(bad_registry)
    for result in results:
        for secret in SECRETS:
            assert secret not in _shown(result), result


def _echo(request: Request) -> bytes:
    """What a server that means it badly, or well, says: all that it was sent."""
    words = f"{request.headers.get('authorization')} {request.path} {PASSWORD}"
    return json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()


def _refuse_and_echo(good: Answer, request: Request) -> Answer:
    if "authorization" not in request.headers:
        return good
    words = request.headers["authorization"]
    body = json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()
    return answer(403, body)


def test_nothing_is_left_in_the_root(
    engine: Engine, bad_registry: BadRegistry, image: Stored, scheme: str
) -> None:
    engine.images.pull(f"{bad_registry.host}/app")
    assert_was_sent(bad_registry)
    for path in Path(engine.store.path).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret.encode() in data for secret in SECRETS), path
