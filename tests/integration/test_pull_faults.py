"""Pulls from a registry that does everything wrong: the error says what, nothing is left half-made,
and the next pull goes on where this one stopped."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import (
    IntegrityError,
    InvalidArgument,
    InvalidDigest,
    JubakoError,
    NotFound,
    PermissionDenied,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from jubako.oci import media
from tests.fixtures import registry_faults as faults
from tests.fixtures.bad_registry import BadRegistry, Stored
from tests.integration.pull_tools import Root, gzip_bomb, layer_of, noise, zstd_bomb

ATTEMPTS = 3  # their waits are a quarter and half a second
LAYER = layer_of({"large": noise(3_000_000)})
SMALL = layer_of({"small": b"1"})
ZERO = "sha256:" + "0" * 64


@pytest.fixture
def root(
    root_dir: Path, tmp_path: Path, bad_registry: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Root]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    configure(root_dir)
    found = Root(root_dir, bad_registry)
    yield found
    found.close()


def configure(path: Path, **more: Any) -> None:
    path.mkdir(exist_ok=True)
    settings = {"max-download-attempts": ATTEMPTS} | more
    (path / "config.json").write_text(json.dumps(settings))


@pytest.fixture
def image(bad_registry: BadRegistry) -> Stored:
    """An image of a small layer and one of 3 MB."""
    return bad_registry.add_image("app", [SMALL, LAYER])


Fault = Callable[[BadRegistry, Stored], None]


def of_layer(*what: faults.Fault, **options: Any) -> Fault:
    return lambda bad, image: bad.on(f"GET .*/blobs/{image.layers[1]}", *what, **options)


def of_config(*what: faults.Fault, **options: Any) -> Fault:
    return lambda bad, image: bad.on(f"GET .*/blobs/{image.config}", *what, **options)


def of_manifest(*what: faults.Fault, **options: Any) -> Fault:
    return lambda bad, image: bad.on("(GET|HEAD) .*/manifests/", *what, **options)


def of_all(*what: faults.Fault, **options: Any) -> Fault:
    return lambda bad, image: bad.on("", *what, **options)


def in_turn(*what: Fault) -> Fault:
    def fault(bad: BadRegistry, image: Stored) -> None:
        for one in what:
            one(bad, image)

    return fault


# name -> what goes wrong, always; the error; whether what came of the layer is kept
LASTING: dict[str, tuple[Fault, type[JubakoError], str, bool]] = {
    "no answer": (of_all(faults.drop(-1)), Unavailable, "EOF", False),
    "reset": (of_all(faults.drop(0, reset=True)), Unavailable, "EOF|reset", False),
    "drops a manifest": (of_manifest(faults.drop(100)), Unavailable, "EOF", False),
    "drops a config": (of_config(faults.drop(10)), Unavailable, "EOF", False),
    "never sends a layer": (of_layer(faults.drop(-1)), Unavailable, "EOF", False),
    "resets in a layer": (
        of_layer(faults.drop(1000, reset=True)), Unavailable, "reset|EOF", True
    ),
    "another byte in a layer": (
        of_layer(faults.flip(2_000_000)), IntegrityError, "expected sha256:.*found sha256:", False
    ),
    "another first byte": (
        of_layer(faults.flip(0)), IntegrityError, "expected sha256:.*found sha256:", False
    ),
    "another last byte": (
        of_layer(faults.flip(-1)), IntegrityError, "expected sha256:.*found sha256:", False
    ),
    "another byte in a config": (
        of_config(faults.flip(50)), IntegrityError, "expected sha256:.*found sha256:", False
    ),
    "a short config": (of_config(faults.truncate(50)), IntegrityError, "expected .*50", False),
    "a longer config": (
        of_config(faults.change(lambda data: data + b" ")), IntegrityError, "expected|more", False
    ),
    "a short layer": (of_layer(faults.truncate(5000)), IntegrityError, "5000", True),
    "an empty layer": (of_layer(faults.truncate(0)), IntegrityError, "0", False),
    "a longer layer": (
        of_layer(faults.change(lambda data: data + b"more")), IntegrityError, "expected|more", False
    ),
    "an endless layer": (of_layer(faults.endless()), IntegrityError, "more", False),
    "an endless config": (of_config(faults.endless()), IntegrityError, "more", False),
    "an endless manifest": (
        of_manifest(faults.endless(b" " * 65536)), Unavailable, "more than|larger", False
    ),
    "promises too much": (
        of_layer(faults.promise(lambda size: size + 5)), IntegrityError, "expected|more", False
    ),
    "a wrong digest header": (
        of_manifest(faults.set_header("Docker-Content-Digest", ZERO)),
        IntegrityError, "expected sha256:0+, found sha256:", False,
    ),
    "cut JSON": (of_manifest(faults.truncate(200)), IntegrityError, "expected", False),
    "a redirect to itself": (
        lambda bad, image: bad.on(
            f"GET .*{image.layers[1]}", faults.redirect(f"http://{bad.host}")
        ),
        Unavailable, "redirect", False,
    ),
    "a redirect to nowhere": (
        of_layer(faults.respond(307)), Unavailable, "redirect", False
    ),
    "a redirect to a file": (
        of_layer(faults.respond(307, Location="file:///etc/passwd")), Unavailable, "redirect", False
    ),
    "401 again and again": (
        lambda bad, image: bad.on(
            "(GET|HEAD) /v2/app",
            faults.challenge(f'Bearer realm="http://{bad.host}/token",service="x"'),
        ),
        Unauthorized, "pull access denied for .*/app, repository does not exist or may req", False,
    ),
    "401 of no known kind": (
        of_all(faults.challenge("Negotiate")), Unauthorized, "negotiate; Basic and Bearer", False
    ),
    "403": (
        of_manifest(faults.respond(403, "DENIED", "no")), PermissionDenied, "denied: no$", False
    ),
    "404": (
        of_manifest(faults.respond(404, "MANIFEST_UNKNOWN", "manifest unknown")),
        NotFound, "manifest for .*/app:latest not found: manifest unknown: manifest unknown", False,
    ),
    "404 of a layer": (
        of_layer(faults.respond(404, "BLOB_UNKNOWN", "gone")), NotFound, "blob unknown: gone", False
    ),
    "404 of a config": (
        of_config(faults.respond(404, "BLOB_UNKNOWN", "gone")), NotFound, "blob unknown", False
    ),
    "500": (of_all(faults.respond(500)), Unavailable, "500 Internal Server Error", False),
    "502 of a layer": (of_layer(faults.respond(502, "X", "proxy")), Unavailable, "proxy", False),
    "429": (
        of_all(faults.respond(429, "TOOMANYREQUESTS", "slow down", Retry_After="0")),
        Unavailable, "too many requests|slow down", False,
    ),
    "429 for an hour": (
        of_all(faults.respond(429, "TOOMANYREQUESTS", "slow down", Retry_After="3600")),
        Unavailable, "too many requests|slow down", False,
    ),
    "a wrong range": (
        in_turn(
            of_layer(faults.drop(1_500_000), times=1),
            of_layer(faults.set_header("Content-Range", "bytes 7-3000000/3000001")),
        ),
        IntegrityError, "asked for the bytes from 1500000 on, got 'bytes 7-", True,
    ),
    "a header of 100 kB": (
        of_manifest(faults.set_header("X-Large", "a" * 100_000)), Unavailable, "malformed", False
    ),
    "a thousand headers": (
        of_manifest(*(faults.set_header(f"X-{at}", "a") for at in range(1000))),
        Unavailable, "malformed", False,
    ),
    "compressed on the way": (
        of_manifest(faults.change(gzip.compress), faults.set_header("Content-Encoding", "gzip")),
        IntegrityError, "expected sha256:.*found sha256:", False,
    ),
    "no content": (of_layer(faults.say(b"", 204)), JubakoError, "204", False),
    "a status of its own": (of_layer(faults.say(b"", 299)), JubakoError, "299", False),
    "not modified": (of_manifest(faults.say(b"", 304)), JubakoError, "304", False),
    "an error page": (
        of_manifest(faults.say(b"<html>hotel network</html>", Content_Type="text/html")),
        JubakoError, "", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LASTING)
def test_what_goes_wrong_for_good(
    name: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    fault, kind, words, kept = LASTING[name]
    fault(bad_registry, image)
    with pytest.raises(kind) as info:
        root.pull()
    assert type(info.value) is kind or kind is JubakoError, repr(info.value)
    assert re.search(words, str(info.value)), info.value
    assert len(str(info.value)) < 600 and str(info.value).isprintable()
    root.check()
    assert kept or image.layers[1] not in root.partial()
    bad_registry.behave()
    assert root.pull().status == "Downloaded newer image"
    root.check("app")
    assert root.partial() == {}


# name -> what goes wrong for a while
PASSING: dict[str, Fault] = {
    "no answer": of_all(faults.drop(-1), times=ATTEMPTS - 1),
    "drops a manifest": of_manifest(faults.drop(100), times=ATTEMPTS - 1),
    "drops a config": of_config(faults.drop(100), times=ATTEMPTS - 1),
    "drops a layer": of_layer(faults.drop(1_500_000), times=ATTEMPTS - 1),
    "drops a layer at once": of_layer(faults.drop(0), times=ATTEMPTS - 1),
    "resets a layer": of_layer(faults.drop(1_500_000, reset=True), times=ATTEMPTS - 1),
    "drops at the last byte": of_layer(faults.drop(3_000_000), times=1),
    "500": of_all(faults.respond(500), times=ATTEMPTS - 1),
    "503 of a layer": of_layer(faults.respond(503), times=ATTEMPTS - 1),
    "429": of_all(faults.respond(429, Retry_After="1"), times=1),
    "slowly": of_layer(faults.drip(20_000_000, 65_536)),
    "late": of_all(faults.stall(0.2)),
}


@pytest.mark.parametrize(
    ("name", "ranges"),
    [
        (name, ranges)
        for name in PASSING
        for ranges in ("served", "refused", "ignored")
        if ranges == "served" or "layer" in name  # they matter to layers alone
    ],
)
def test_what_goes_wrong_for_a_while(
    name: str, ranges: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    bad_registry.ranges = ranges
    PASSING[name](bad_registry, image)
    assert root.pull().status == "Downloaded newer image"
    root.check("app")
    assert root.partial() == {}


def test_the_rest_of_a_layer_is_asked_for(
    root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    """Within one pull, and by the next one after this one has failed."""
    name = f"GET .*{image.layers[1]}"
    bad_registry.on(name, faults.drop(1_000_000), times=1)
    bad_registry.on(name, faults.drop(500_000), times=1, skip=1)
    bad_registry.on(name, faults.drop(-1), skip=2)
    with pytest.raises(Unavailable, match="EOF"):
        root.pull()
    assert ranges(bad_registry, image)[:3] == ["", "bytes=1000000-", "bytes=1500000-"]
    root.check()
    assert root.partial()[image.layers[1]] == 1_500_000
    bad_registry.behave()
    root.pull()
    root.check("app")
    assert ranges(bad_registry, image) == ["bytes=1500000-"]
    assert not bad_registry.lines(f"GET .*{image.layers[0]}"), "the layer that had come is there"


def ranges(bad: BadRegistry, image: Stored) -> list[str]:
    """The ranges that were asked for, without the end if it is the blob's."""
    return [
        re.sub(r"-\d+$", "-", request.headers.get("range", ""))
        for request in bad.requests
        if request.path.endswith(image.layers[1]) and request.method == "GET"
    ]


@pytest.mark.parametrize("at", [0, 1, 511, 512, 1024, 70_000, 1_048_576, 2_999_999])
def test_a_connection_lost_at_any_byte(
    at: int, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    bad_registry.on(f"GET .*{image.layers[1]}", faults.drop(at), times=1)
    bad_registry.on(f"GET .*{image.layers[1]}", faults.drop(-1), skip=1)
    with pytest.raises(Unavailable):
        root.pull()
    root.check()
    assert root.partial().get(image.layers[1], 0) == at
    bad_registry.behave()
    root.pull()
    root.check("app")
    assert ranges(bad_registry, image) == ([f"bytes={at}-"] if at else [""])


def test_damaged_bytes_of_an_earlier_pull_are_fetched_again(
    root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    bad_registry.on(f"GET .*{image.layers[1]}", faults.flip(1000), faults.drop(2_000_000))
    with pytest.raises((Unavailable, IntegrityError)):
        root.pull()
    bad_registry.behave()
    root.pull()
    root.check("app")


# --- manifests -----------------------------------------------------------------------------------


def broken(document: Any) -> Callable[[Stored], Any]:
    return lambda image: document


MANIFESTS: dict[str, tuple[Callable[[Stored], Any], type[JubakoError], str]] = {
    "10,000 layers": (
        lambda image: image.manifest | {"layers": image.manifest["layers"][:1] * 10_000},
        InvalidArgument, "10000 layers, more than the limit of 500",
    ),
    "both kinds": (
        lambda image: image.manifest | {"manifests": []}, InvalidArgument, "both an index and",
    ),
    "another media type": (
        lambda image: image.manifest | {"mediaType": media.DOCKER_MANIFEST},
        InvalidArgument, "it came as",
    ),
    "an artifact": (
        lambda image: image.manifest
        | {"config": image.manifest["config"] | {"mediaType": "application/vnd.cncf.helm"}},
        Unsupported, "helm: an artifact, not a container image",
    ),
    "an unknown layer": (
        lambda image: image.manifest
        | {"layers": [image.manifest["layers"][0] | {"mediaType": "application/x"}]},
        Unsupported, "unknown media type application/x",
    ),
    "a bad digest": (
        lambda image: image.manifest
        | {"layers": [image.manifest["layers"][0] | {"digest": "sha256:../../../etc/passwd"}]},
        InvalidDigest, "invalid checksum digest format",
    ),
    "a negative size": (
        lambda image: image.manifest
        | {"layers": [image.manifest["layers"][0] | {"size": -1}]},
        InvalidArgument, "size is not a number of bytes",
    ),
    "a config of 1 TB": (
        lambda image: image.manifest
        | {"config": image.manifest["config"] | {"size": 1 << 40}},
        InvalidArgument, "more than .* bytes",
    ),
    "fewer layers than the config has": (
        lambda image: image.manifest | {"layers": image.manifest["layers"][:1]},
        InvalidArgument, "layers length mismatch: expected 2, got 1",
    ),
    "layers in another order": (
        lambda image: image.manifest | {"layers": image.manifest["layers"][::-1]},
        IntegrityError, "its content should have the digest",
    ),
    "a layer of another size": (
        lambda image: image.manifest
        | {"layers": [image.manifest["layers"][0] | {"size": 5}, image.manifest["layers"][1]]},
        IntegrityError, "expected|more",
    ),
    "a layer that nobody has": (
        lambda image: image.manifest
        | {"layers": [image.manifest["layers"][0], image.manifest["layers"][1] | {"digest": ZERO}]},
        NotFound, "blob unknown",
    ),
    "JSON without end": (lambda image: b"[" * 100_000, InvalidArgument, "not valid JSON"),
    "no JSON": (lambda image: b"\xff\xfe", InvalidArgument, "not valid JSON"),
    "cut": (
        lambda image: json.dumps(image.manifest).encode()[:-7], InvalidArgument, "not valid JSON",
    ),
    "5 MB": (
        lambda image: json.dumps(image.manifest | {"x": "y" * 5_000_000}).encode(),
        JubakoError, "more than|larger",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_that_are_none(
    name: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    make, kind, words = MANIFESTS[name]
    bad_registry.add_manifest("app", make(image), "bad", media.OCI_MANIFEST)
    with pytest.raises(kind, match=words) as info:
        root.images.pull(f"{bad_registry.host}/app:bad")
    assert len(str(info.value)) < 600
    root.check()
    root.pull()
    root.check("app")


def test_schema_1_is_refused_in_words(root: Root, bad_registry: BadRegistry) -> None:
    old = {"schemaVersion": 1, "name": "old", "tag": "latest", "fsLayers": [], "history": []}
    bad_registry.add_manifest("old", old, media_type=media.DOCKER_SCHEMA1_SIGNED)
    with pytest.raises(Unsupported, match="schema 1 support has been removed") as info:
        root.pull("old")
    assert "upgrade" in (info.value.hint or "")
    root.check()


# --- indexes -------------------------------------------------------------------------------------


def index_of(bad: BadRegistry, image: Stored, *platforms: dict[str, str] | None) -> None:
    """Serve the image as an entry for each platform, under the name `multi`."""
    data = json.dumps(image.manifest).encode()
    entry = {"mediaType": media.OCI_MANIFEST, "digest": image.digest, "size": len(data)}
    bad.manifests["multi", image.digest] = data, media.OCI_MANIFEST
    entries = [entry | ({"platform": platform} if platform else {}) for platform in platforms]
    bad.add_manifest(
        "multi", {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}
    )


def test_no_image_for_this_platform(root: Root, bad_registry: BadRegistry, image: Stored) -> None:
    index_of(bad_registry, image, {"os": "linux", "architecture": "s390x"})
    with pytest.raises(NotFound, match=r"^no matching manifest for linux/\w+ in the manifest list"):
        root.pull("multi")
    root.check()


@pytest.mark.parametrize("platform", [None, {"os": "linux", "architecture": "386"}])
def test_an_image_that_runs_here_all_the_same(
    platform: dict[str, str] | None, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    """An index that does not say for whom its entry is; amd64 runs what is for 386."""
    if platform and image.config and "amd64" not in bad_registry.blobs[image.config].decode():
        pytest.skip("needs amd64")
    index_of(bad_registry, image, platform)
    assert root.pull("multi").status == "Downloaded newer image"
    root.check("multi")


def test_indexes_that_name_one_another(root: Root, bad_registry: BadRegistry) -> None:
    """Ten of them, each in the next; a circle would need a digest that nobody can compute."""
    inner: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
    for _ in range(10):
        data = json.dumps(inner).encode()
        digest = bad_registry.add_manifest("deep", inner)
        entry = {"mediaType": media.OCI_INDEX, "digest": digest, "size": len(data)}
        inner = inner | {"manifests": [entry]}
    bad_registry.add_manifest("deep", inner)
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        root.pull("deep")
    root.check()


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [gzip_bomb, zstd_bomb])
def test_a_bomb(
    make: Callable[[int], bytes], root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    """It would inflate to 16 GB in gzip's format, here to 600 MB, of which a part is written."""
    kind = media.OCI_LAYER_GZIP if make is gzip_bomb else media.OCI_LAYER_ZSTD
    bomb = bad_registry.describe(kind, make(600 << 20))
    bad_registry.add_manifest(
        "bomb", image.manifest | {"layers": [image.manifest["layers"][0], bomb]}
    )
    started = time.monotonic()
    with pytest.raises(InvalidArgument, match="stream grows from"):
        root.pull("bomb")
    assert time.monotonic() - started < 30
    root.check()
    root.pull()
    root.check("app")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no tar at all" * 100, "invalid tar header"),
        (b"", "expected|empty|its content should have"),
        (b"\x1f\x8b\x08garbage" * 20, "gzip"),
        (b"\x28\xb5\x2f\xfdgarbage" * 20, "zstd"),
    ],
)
def test_a_layer_that_is_none(
    data: bytes, words: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    layers = [image.manifest["layers"][0], bad_registry.describe(media.OCI_LAYER_GZIP, data)]
    bad_registry.add_manifest("odd", image.manifest | {"layers": layers})
    with pytest.raises((InvalidArgument, IntegrityError), match=words):
        root.pull("odd")
    root.check()
    assert layers[1]["digest"] not in root.partial()
    root.pull()
    root.check("app")


# --- credentials ---------------------------------------------------------------------------------


def with_login(tmp_path: Path, host: str) -> None:
    (tmp_path / "docker").mkdir()
    document = {"auths": {host: {"auth": "dXNlcjpwYXNzd29yZA=="}}}  # user:password
    (tmp_path / "docker" / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize("challenge", ["Basic realm=x", "Bearer"])
def test_a_redirect_never_takes_credentials_along(
    challenge: str,
    root: Root,
    tmp_path: Path,
    bad_registry: BadRegistry,
    second_registry: BadRegistry,
    image: Stored,
) -> None:
    """Blobs are elsewhere: at another port, and under another name of the same port."""
    with_login(tmp_path, bad_registry.host)
    if challenge == "Bearer":
        challenge = f'Bearer realm="http://{bad_registry.host}/token",service="x"'

    def guard(good: faults.Answer, request: faults.Request) -> faults.Answer:
        if "authorization" in request.headers or request.headers["host"] != bad_registry.host:
            return good
        return faults.challenge(challenge)(good, request)

    second_registry.blobs = bad_registry.blobs
    bad_registry.on("(GET|HEAD) /v2/", guard)
    targets = [second_registry.host, bad_registry.other_name]
    for layer, target in zip(image.layers, targets, strict=True):
        to = faults.redirect(f"http://{target}")

        def moved(
            good: faults.Answer, request: faults.Request, to: faults.Fault = to
        ) -> faults.Answer:
            own = request.headers["host"] == bad_registry.host and good.status == 200
            return to(good, request) if own else good

        bad_registry.on(f"GET .*{layer}", moved)
    root.pull()
    root.check("app")
    there = [*second_registry.requests]
    there += [r for r in bad_registry.requests if r.headers["host"] == bad_registry.other_name]
    assert len(there) == 2
    for request in there:
        assert not {"authorization", "cookie"} & set(request.headers), request
    assert any("authorization" in request.headers for request in bad_registry.requests)


def test_a_token_server_elsewhere_gets_no_password(
    root: Root,
    tmp_path: Path,
    bad_registry: BadRegistry,
    second_registry: BadRegistry,
    image: Stored,
) -> None:
    """The realm of a challenge is the registry's choice; a plain-http one on another host is no
    place for a password (loopback aside, where the tests are)."""
    with_login(tmp_path, bad_registry.host)
    second_registry.on("", faults.say(b'{"token": "' + b"x" * 10 + b'"}'))
    bad_registry.on(
        "(GET|HEAD) /v2/", faults.challenge('Bearer realm="http://192.0.2.1/token",service="x"')
    )
    with pytest.raises(JubakoError) as info:
        root.pull()
    assert "password" not in str(info.value) and "dXNlcjp" not in str(info.value)
    root.check()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b"x" * 5_000_000],
)
def test_tokens_that_are_none(
    body: bytes, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    bad_registry.on("GET /token", faults.say(body))
    realm = f'Bearer realm="http://{bad_registry.host}/token",service="x"'
    bad_registry.on("(GET|HEAD) /v2/", faults.challenge(realm))
    with pytest.raises(JubakoError) as info:
        root.pull()
    assert isinstance(info.value, Unauthorized | Unavailable), repr(info.value)
    assert len(str(info.value)) < 600
    assert len(bad_registry.requests) < 20
    root.check()


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer realm=", 'Bearer realm="x', "Basic " * 500, "\x01", "Bearer =,="],
)
def test_challenges_that_are_none(
    header: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    bad_registry.on("(GET|HEAD) /v2/", faults.challenge(header))
    with pytest.raises(JubakoError) as info:
        root.pull()
    assert isinstance(info.value, Unauthorized | Unavailable), repr(info.value)
    assert len(bad_registry.requests) < 20
    root.check()


# --- mirrors -------------------------------------------------------------------------------------


def test_a_mirror_that_lies_is_passed_by(
    root: Root, bad_registry: BadRegistry, second_registry: BadRegistry, image: Stored
) -> None:
    """What it sends is checked like everything else, and the registry itself has the last word."""
    second_registry.manifests = bad_registry.manifests
    second_registry.blobs = {
        digest: data[:-9] + b"x" * 9 for digest, data in bad_registry.blobs.items()
    }
    configure(
        root.path,
        **{"registry-mirrors": {bad_registry.host: [f"http://{second_registry.host}"]}},
    )
    with pytest.raises(IntegrityError, match="expected sha256:.*found sha256:"):
        root.pull()
    root.check()
    second_registry.on("GET .*/blobs/", faults.respond(404))
    root.pull()
    root.check("app")
