"""Pushes to a registry that does everything wrong: the error says what, nothing of it is written
down, no password goes elsewhere, and the next push sends what is missing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jubako.errors import (
    IntegrityError,
    InvalidArgument,
    JubakoError,
    PermissionDenied,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from tests.fixtures import registry_faults as faults
from tests.fixtures.bad_registry import BadRegistry
from tests.integration.pull_tools import Root, layer_of, noise

ATTEMPTS = 3
ZERO = "sha256:" + "0" * 64


@pytest.fixture
def root(
    root_dir: Path, tmp_path: Path, bad_registry: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Root]:
    """With the image `app:latest` of two layers, which the registry lacks."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    root_dir.mkdir(exist_ok=True)
    (root_dir / "config.json").write_text(json.dumps({"max-download-attempts": ATTEMPTS}))
    found = Root(root_dir, bad_registry)
    parent = found.images.import_tar(io.BytesIO(layer_of({"large": noise(2_000_000)})))
    image = found.images.commit(parent, io.BytesIO(layer_of({"small": b"1"})), {})
    found.images.tag(image, f"{bad_registry.host}/app:latest")
    yield found
    found.close()


def push(root: Root) -> str:
    [pushed] = root.images.push(f"{root.bad.host}/app")
    return str(pushed.digest)


Fault = Callable[[BadRegistry], None]


def on(pattern: str, *what: faults.Fault, times: int | None = None) -> Fault:
    return lambda bad: bad.on(pattern, *what, times=times)


LASTING: dict[str, tuple[Fault, type[JubakoError], str]] = {
    "no answer": (on("", faults.drop(-1)), Unavailable, "EOF"),
    "hangs up on blobs": (
        on("(PATCH|PUT) .*/uploads/", faults.drop(-1)), Unavailable, "EOF|pipe|reset"),
    "500 for blobs": (on("POST", faults.respond(500)), Unavailable, "500|as told"),
    "503 for bytes": (on("(PATCH|PUT) .*/uploads/", faults.respond(503)), Unavailable, "as told"),
    "500 for the manifest": (on("PUT .*/manifests/", faults.respond(500)), Unavailable, "as told"),
    "429": (on("POST", faults.respond(429, "TOOMANYREQUESTS", "slow down", Retry_After="0")),
            Unavailable, "slow down"),
    "429 for an hour": (
        on("POST", faults.respond(429, "TOOMANYREQUESTS", "slow down", Retry_After="3600")),
        Unavailable, "slow down"),
    "401": (on("POST", faults.challenge("Basic realm=x")), Unauthorized, "who are you"),
    "403": (on("POST", faults.respond(403, "DENIED", "read only")),
            PermissionDenied, "push access denied|denied: read only"),
    "405": (on("POST", faults.respond(405, "UNSUPPORTED", "read only")), Unsupported, "read only"),
    "413": (on("(PATCH|PUT) .*/uploads/", faults.respond(413, "SIZE_INVALID", "too large")),
            InvalidArgument, "too large"),
    "another digest": (
        on("PUT .*/uploads/", faults.respond(400, "DIGEST_INVALID", "digest did not match")),
        JubakoError, "digest did not match"),
    "stores something else": (
        on("PUT .*/uploads/", faults.set_header("Docker-Content-Digest", ZERO)),
        IntegrityError, "the registry stored sha256:0+, sent was sha256:"),
    "stores another manifest": (
        on("PUT .*/manifests/", faults.set_header("Docker-Content-Digest", ZERO)),
        IntegrityError, "the registry stored sha256:0+, sent was sha256:"),
    "refuses the manifest": (
        on("PUT .*/manifests/", faults.respond(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown")),
        JubakoError, "blob unknown"),
    "no Location": (
        on("POST", faults.set_header("Location", None)), Unavailable, "no place to send"),
    "a Location on disk": (
        on("POST", faults.set_header("Location", "file:///etc/passwd")),
        Unavailable, "no place|refused"),
    "a Location elsewhere": (
        on("POST", faults.set_header("Location", "http://192.0.2.1/upload")),
        Unavailable, "refused"),
    "a redirected manifest": (
        on("PUT .*/manifests/", faults.respond(307, Location="http://192.0.2.1/x")),
        JubakoError, "307|redirect|as told"),
    "says it is there": (
        on("HEAD .*/blobs/", faults.respond(302, Location="http://192.0.2.1/x")),
        Unavailable, "redirect to http at 192.0.2.1 is refused"),
    "an endless answer": (on("POST", faults.endless(), faults.set_header("Location", None)),
                          Unavailable, "no place to send"),
}  # fmt: skip


@pytest.mark.parametrize("name", LASTING)
def test_what_goes_wrong_for_good(name: str, root: Root, bad_registry: BadRegistry) -> None:
    fault, kind, words = LASTING[name]
    fault(bad_registry)
    with pytest.raises(kind) as info:
        push(root)
    assert type(info.value) is kind or kind is JubakoError, repr(info.value)
    assert re.search(words, str(info.value)), info.value
    assert len(str(info.value)) < 600 and str(info.value).isprintable()
    untouched(root)
    bad_registry.behave()
    digest = push(root)
    assert ("app", digest) in bad_registry.manifests
    assert root.pull().status == "Image is up to date"


def untouched(root: Root) -> None:
    """The root knows nothing of a push that failed, and has no files of it."""
    root.check("app")
    query = "SELECT (SELECT count(*) FROM manifests) + (SELECT count(*) FROM blob_sources)"
    assert root.store.db.execute(query).fetchone()[0] == 0


PASSING: dict[str, Fault] = {
    "no answer": on("", faults.drop(-1), times=ATTEMPTS - 1),
    "hangs up on blobs": on("(PATCH|PUT) .*/uploads/", faults.drop(-1), times=ATTEMPTS - 1),
    "500 for blobs": on("POST", faults.respond(500), times=ATTEMPTS - 1),
    "503 for bytes": on("(PATCH|PUT) .*/uploads/", faults.respond(503), times=ATTEMPTS - 1),
    "forgets the session": on("(PATCH|PUT) .*/uploads/", faults.respond(404), times=1),
    "500 for the manifest": on("PUT .*/manifests/", faults.respond(500), times=ATTEMPTS - 1),
    "429": on("POST", faults.respond(429, Retry_After="1"), times=1),
    "late": on("", faults.stall(0.1)),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_goes_wrong_for_a_while(name: str, root: Root, bad_registry: BadRegistry) -> None:
    PASSING[name](bad_registry)
    digest = push(root)
    assert ("app", digest) in bad_registry.manifests
    root.check("app")


@pytest.mark.parametrize("where", ["second", "other name"])
def test_a_session_elsewhere_gets_no_credentials(
    where: str,
    root: Root,
    tmp_path: Path,
    bad_registry: BadRegistry,
    second_registry: BadRegistry,
) -> None:
    """Location may name another host: the bytes go there, the password does not."""
    (tmp_path / "docker").mkdir()
    auth = {"auths": {bad_registry.host: {"auth": "dXNlcjpwYXNzd29yZA=="}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(auth))
    second_registry._uploads = bad_registry._uploads
    second_registry.blobs = bad_registry.blobs
    target = second_registry.host if where == "second" else bad_registry.other_name

    def guard(good: faults.Answer, request: faults.Request) -> faults.Answer:
        own = request.headers["host"] == bad_registry.host
        if own and "authorization" not in request.headers:
            return faults.challenge("Basic realm=x")(good, request)
        return good

    def away(good: faults.Answer, request: faults.Request) -> faults.Answer:
        location = f"http://{target}{good.headers.get('Location', '')}"
        return faults.set_header("Location", location)(good, request)

    bad_registry.on("", guard)
    bad_registry.on("POST", away)
    digest = push(root)
    assert ("app", digest) in bad_registry.manifests
    there = [*second_registry.requests]
    there += [r for r in bad_registry.requests if r.headers["host"] == bad_registry.other_name]
    assert there
    for request in there:
        assert not {"authorization", "cookie"} & set(request.headers), request


def test_a_registry_that_claims_to_have_everything(root: Root, bad_registry: BadRegistry) -> None:
    """Its word is all there is; the manifest, which it checks, is its last chance."""
    bad_registry.on("HEAD .*/blobs/", faults.say(b"", Content_Type="application/octet-stream"))
    bad_registry.on(
        "PUT .*/manifests/", faults.respond(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown")
    )
    with pytest.raises(JubakoError, match="blob unknown"):
        push(root)
    untouched(root)
    bad_registry.behave()
    push(root)
