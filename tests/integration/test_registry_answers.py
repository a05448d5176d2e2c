"""What the client makes of answers that a good registry on a good day does not give."""

from __future__ import annotations

import base64
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from jubako.errors import (
    IntegrityError,
    InvalidArgument,
    JubakoError,
    NotFound,
    PermissionDenied,
    Unauthorized,
    Unavailable,
)
from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.registry import Client
from jubako.registry.headers import Quota
from jubako.registry.repository import Repository
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.registry import Registry
from tests.fixtures.registry_faults import (
    Answer,
    Fault,
    Request,
    answer,
    change,
    drop,
    redirect,
    respond,
    say,
    set_header,
    stall,
)
from tests.integration.registry_tools import (
    BLOB,
    DATA,
    LOGIN,
    Watch,
    basic_wanted,
    open_client,
    push_image,
    read,
    repository_of,
)

# --- digests -------------------------------------------------------------------------------------


def test_a_manifest_is_what_its_digest_says(bad_registry: BadRegistry, app: Repository) -> None:
    digest = app.get_manifest("latest").digest
    bad_registry.on("GET .*/manifests/", change(lambda data: data + b" "))
    for ref in (digest, "latest"):  # the header has the old digest
        with pytest.raises(IntegrityError, match=f"expected {digest}, found sha256:"):
            app.get_manifest(ref)
    bad_registry.behave()
    bad_registry.on("HEAD .*/manifests/", set_header("Docker-Content-Digest", "sha256:" + "0" * 64))
    with pytest.raises(IntegrityError):
        app.head_manifest(digest)


def test_a_registry_need_not_name_digests(bad_registry: BadRegistry, app: Repository) -> None:
    bad_registry.on(".*/manifests/", set_header("Docker-Content-Digest", None))
    head, got = app.head_manifest("latest"), app.get_manifest("latest")
    assert head is not None
    assert head.digest == got.digest == Digest.of(got.data)
    assert head.size == len(got.data)


def test_what_is_stored_is_compared(bad_registry: BadRegistry, app: Repository) -> None:
    bad_registry.on("PUT ", set_header("Docker-Content-Digest", "sha256:" + "0" * 64))
    with pytest.raises(IntegrityError, match="the registry stored sha256:0000"):
        app.put_manifest("x", b"{}", media.OCI_MANIFEST)
    with pytest.raises(IntegrityError, match="the registry stored sha256:0000"):
        app.upload(BLOB.digest, BLOB.size, lambda: iter([DATA]))


# --- a registry that has no time -----------------------------------------------------------------


def test_it_is_waited_for_as_it_asks(
    bad_registry: BadRegistry, app: Repository, watch: Watch
) -> None:
    busy = respond(429, "TOOMANYREQUESTS", "slow down", Retry_After="1")
    bad_registry.on("GET .*/manifests/", busy, times=1)
    bad_registry.on("GET .*/blobs/", respond(503, Retry_After="0"), times=2)
    started = time.monotonic()
    app.get_manifest("latest")
    assert time.monotonic() - started >= 1
    assert read(app, BLOB) == DATA
    assert [seconds for _, seconds in watch.told] == [1.0, 0.0, 0.0]
    manifest = f"http://{bad_registry.host}/v2/app/manifests/latest"
    assert watch.told[0][0] == f'Get "{manifest}": toomanyrequests: slow down'


def test_nobody_waits_for_hours(bad_registry: BadRegistry, app: Repository, watch: Watch) -> None:
    busy = respond(429, "TOOMANYREQUESTS", "You have reached your limit", Retry_After="21600")
    bad_registry.on("GET ", busy)
    for ask in (lambda: app.get_manifest("latest"), lambda: app.open_blob(BLOB)):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert "toomanyrequests: You have reached your limit" in str(caught.value)
        assert caught.value.hint is not None and "Retry-After: 21600" in caught.value.hint
    assert watch.told == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_faults_of_servers_may_pass(
    bad_registry: BadRegistry, app: Repository, watch: Watch, status: int
) -> None:
    bad_registry.on(".*/manifests/", drop(-1), times=1)
    bad_registry.on(".*/manifests/", respond(status), times=1, skip=1)
    assert app.head_manifest("latest") is not None
    assert len(watch.told) == 2


def test_bodies_break_off_like_anything_else(
    bad_registry: BadRegistry, app: Repository, watch: Watch
) -> None:
    for path in ("manifests/latest", "tags/list"):
        bad_registry.on(f"GET .*/{path}", drop(10), times=2)
    assert app.get_manifest("latest").digest
    assert list(app.tags()) == ["latest"]
    assert [reason.rpartition(": ")[2] for reason, _ in watch.told] == ["unexpected EOF"] * 4


def test_what_will_not_pass_is_not_tried_again(
    bad_registry: BadRegistry, app: Repository, watch: Watch
) -> None:
    expected: dict[int, type[JubakoError]] = {
        400: InvalidArgument,
        403: PermissionDenied,
        404: NotFound,
        418: Unavailable,
    }
    for status, kind in expected.items():
        bad_registry.behave()
        bad_registry.on("GET .*/manifests/", respond(status, "ODD_CODE", "a\x1b[31m\nb"))
        with pytest.raises(kind) as caught:
            app.get_manifest("latest")
        assert str(caught.value).endswith("odd code: a [31m b")
        assert len(bad_registry.lines("GET .*/manifests/")) == 1
    assert watch.told == []


def test_the_quota_and_the_warnings(
    bad_registry: BadRegistry, app: Repository, watch: Watch
) -> None:
    for name, value in (
        ("RateLimit-Limit", "100;w=21600"),
        ("RateLimit-Remaining", "99;w=21600"),
        ("Warning", '299 - "use another name"'),
    ):
        bad_registry.on(".*/manifests/", set_header(name, value))
    head, got = app.head_manifest("latest"), app.get_manifest("latest")
    assert head is not None
    assert head.quota == got.quota == Quota(100, 99, 21600)
    assert watch.warned == ["use another name"]


# --- redirects -----------------------------------------------------------------------------------


def test_credentials_stay_with_their_host(
    bad_registry: BadRegistry, second_registry: BadRegistry
) -> None:
    second_registry.add_blob(DATA)
    bad_registry.on("GET .*/blobs/", redirect(f"http://{second_registry.host}"))
    bad_registry.on(".*", basic_wanted())
    watch = Watch(bad_registry, LOGIN)
    with watch.client:
        assert read(watch.repository(bad_registry), BLOB) == DATA
    assert "authorization" in bad_registry.requests[-1].headers
    assert second_registry.requests
    for request in second_registry.requests:
        assert "authorization" not in request.headers


def test_credentials_stay_with_their_name(bad_registry: BadRegistry) -> None:
    """The same server by another name is another server."""
    bad_registry.add_blob(DATA)
    bad_registry.on("GET .*/blobs/", redirect(f"http://{bad_registry.other_name}"), times=2)
    bad_registry.on(".*", basic_wanted())
    watch = Watch(bad_registry, LOGIN)
    with watch.client, pytest.raises(Unauthorized):
        read(watch.repository(bad_registry), BLOB)
    assert "authorization" not in bad_registry.requests[-1].headers


def test_a_circle_of_redirects_ends(bad_registry: BadRegistry, app: Repository) -> None:
    bad_registry.on("GET .*/blobs/", redirect(f"http://{bad_registry.host}"))
    with pytest.raises(Unavailable, match="more than 10 redirects"):
        read(app, BLOB)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://reg.example/x", "a redirect to http at reg.example is refused"),
        ("file:///etc/passwd", "no http or https URL"),
        ("http://user:pw@127.0.0.1/x", "no http or https URL"),
        ("http://[::1/x", "no http or https URL"),
    ],
)
def test_redirects_that_are_refused(
    bad_registry: BadRegistry, app: Repository, location: str, message: str
) -> None:
    bad_registry.on("GET .*/blobs/", respond(307, Location=location))
    with pytest.raises(Unavailable, match=message) as caught:
        read(app, BLOB)
    assert "pw" not in str(caught.value)


# --- lists ---------------------------------------------------------------------------------------


def paged(request: Request, names: list[str]) -> Answer:
    query = parse_qs(urlsplit(request.path).query)
    at = int(query.get("last", ["0"])[0])
    body = json.dumps({"name": "app", "tags": names[at : at + 2]}).encode()
    if at + 2 >= len(names):
        return answer(200, body)
    return answer(200, body, Link=f'</v2/app/tags/list?n=2&last={at + 2}>; rel="next"')


def test_tags_come_in_pages(bad_registry: BadRegistry, app: Repository) -> None:
    names = ["a", "b", "c", "d", "e"]
    bad_registry.on("GET .*/tags/list", lambda _, request: paged(request, names))
    assert list(app.tags()) == names
    assert len(bad_registry.lines("GET .*/tags/list")) == 3


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("<http://localhost/v2/app/tags/list>; rel=next", "its next page is on another host"),
        ("</v2/app/tags/list?n=1000>; rel=next", "its pages go round in a circle"),
    ],
)
def test_pages_that_lead_astray(
    bad_registry: BadRegistry, app: Repository, link: str, message: str
) -> None:
    bad_registry.on("GET .*/tags/list", set_header("Link", link))
    with pytest.raises(Unavailable, match=message):
        list(app.tags())


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"tags": 3}', b'{"tags": [3]}', b'{"tags": ["\\u001b[31m"]}']
)
def test_lists_that_are_none(bad_registry: BadRegistry, app: Repository, body: bytes) -> None:
    bad_registry.on("GET .*/tags/list", say(body))
    with pytest.raises(JubakoError) as caught:
        list(app.tags())
    assert str(caught.value).isprintable()


def test_no_tags_are_no_error(bad_registry: BadRegistry, app: Repository) -> None:
    bad_registry.on("GET .*/tags/list", say(b'{"name": "app", "tags": null}'))
    assert list(app.tags()) == []


def test_referrers_are_filtered_here_if_not_there(
    bad_registry: BadRegistry, app: Repository
) -> None:
    entry = {"mediaType": media.OCI_MANIFEST, "digest": BLOB.digest, "size": 5}
    kinds = ("application/x.sbom", "application/x.signature")
    index = {
        "schemaVersion": 2,
        "mediaType": media.OCI_INDEX,
        "manifests": [entry | {"artifactType": kind} for kind in kinds],
    }
    found = say(json.dumps(index).encode(), Content_Type=media.OCI_INDEX)
    bad_registry.on("GET /v2/app/referrers/", found)
    assert len(app.referrers(BLOB.digest).manifests) == 2
    (one,) = app.referrers(BLOB.digest, kinds[1]).manifests
    assert one.artifact_type == kinds[1]
    assert bad_registry.lines("GET .*referrers")[-1].endswith(
        "?artifactType=application%2Fx.signature"
    )


# --- secrets -------------------------------------------------------------------------------------


def test_no_error_repeats_a_secret(bad_registry: BadRegistry) -> None:
    """Not even if the registry does: nor do tracebacks."""
    pair = base64.b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()
    bad_registry.on(".*/manifests/", respond(403, "DENIED", f"not {LOGIN.password}, not {pair}"))
    bad_registry.on(".*/blobs/", drop(-1))
    bad_registry.on(".*", basic_wanted())
    watch = Watch(bad_registry, LOGIN, attempts=1)
    texts = []
    with watch.client:
        repository = watch.repository(bad_registry)
        for ask in (lambda: repository.get_manifest("x"), lambda: read(repository, BLOB)):
            with pytest.raises(JubakoError) as caught:
                ask()
            texts.append("".join(traceback.format_exception(caught.value)))
    assert "denied: not ***, not ***" in texts[0]
    for text in texts:
        assert LOGIN.password not in text and pair not in text


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True], ids=["body", "headers"])
def test_closing_the_client_ends_what_waits(bad_registry: BadRegistry, silent: bool) -> None:
    bad_registry.add_blob(DATA)
    bad_registry.on("GET .*/blobs/", stall(3) if silent else hang_after(1_000_000))
    watch = Watch(bad_registry)
    ended: list[BaseException] = []

    def pull() -> None:
        try:
            read(watch.repository(bad_registry), BLOB)
        except JubakoError as exc:
            ended.append(exc)

    thread = threading.Thread(target=pull)
    thread.start()
    while not bad_registry.lines("GET .*/blobs/"):
        time.sleep(0.01)
    time.sleep(0.2)
    started = time.monotonic()
    watch.client.close()
    thread.join()
    assert time.monotonic() - started < 2
    assert isinstance(ended[0], Unavailable)


def hang_after(size: int) -> Fault:
    def fault(good: Answer, request: Request) -> Answer:
        def body() -> Iterator[bytes]:
            yield good.data[:size]
            time.sleep(3)

        return Answer(good.status, good.headers, body(), good.length)

    return fault


def test_connections_are_used_again(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after answers without a body, after refusals and after blobs."""
    from urllib3.connection import HTTPConnection

    made: list[object] = []
    connect: Callable[[HTTPConnection], None] = HTTPConnection.connect

    def count(self: HTTPConnection) -> None:
        made.append(self)
        connect(self)

    monkeypatch.setattr(HTTPConnection, "connect", count)
    with open_client() as client:
        repository = repository_of(client, f"{registry.host}/answers/reuse")
        _, (_, layer) = push_image(repository, "1", DATA)
        made.clear()
        for _ in range(3):
            assert repository.head_manifest("nothing") is None
            with pytest.raises(NotFound):
                repository.get_manifest("nothing")
            assert repository.has_blob(layer.digest) == len(DATA)
            assert read(repository, layer) == DATA
            list(repository.tags())
    assert made == []


def test_silence_is_told_from_refusal(bad_registry: BadRegistry, client_timeout: None) -> None:
    bad_registry.on("GET .*/manifests/", stall(1.5))
    watch = Watch(bad_registry, attempts=1)
    with watch.client, pytest.raises(Unavailable, match="i/o timeout"):
        watch.repository(bad_registry).get_manifest("latest")


@pytest.fixture
def client_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wait for half a second only."""
    monkeypatch.setattr("jubako.registry.transport._READ_S", 0.5)


def test_clients_are_closed_twice_without_harm() -> None:
    client: Client = open_client()
    client.close()
    client.close()
    with pytest.raises(Unavailable, match="the client is closed"):
        repository_of(client, "localhost:1/x").get_manifest("1")
