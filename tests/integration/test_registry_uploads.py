"""Blobs on their way to a registry that loses them, forgets them or sends them elsewhere."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest

from jubako.errors import (
    IntegrityError,
    Unavailable,
)
from jubako.oci.digest import Digest
from jubako.registry.repository import Repository
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.registry_faults import (
    Answer,
    Request,
    answer,
    drop,
    respond,
    set_header,
)
from tests.integration.registry_tools import (
    BLOB,
    DATA,
    LOGIN,
    Watch,
    basic_wanted,
    describe,
)


def upload(repository: Repository) -> Digest:
    return repository.upload(BLOB.digest, BLOB.size, lambda: iter([DATA[:10], DATA[10:]]))


def test_an_upload_that_breaks_begins_anew(bad_registry: BadRegistry, watch: Watch) -> None:
    bad_registry.on("PUT ", drop(-1), times=1)
    bad_registry.on("PUT ", respond(502), times=1, skip=1)
    bad_registry.on("HEAD .*/blobs/", respond(404))
    assert upload(watch.repository(bad_registry)) == BLOB.digest
    assert bad_registry.blobs[BLOB.digest] == DATA
    assert len(watch.told) == 2
    assert len(bad_registry.lines("POST ")) == 3


def test_what_was_stored_is_not_sent_again(bad_registry: BadRegistry, watch: Watch) -> None:
    """The answer to the last request is lost."""
    bad_registry.on("PUT ", drop(-1), times=1)
    assert upload(watch.repository(bad_registry)) == BLOB.digest
    assert len(bad_registry.lines("PUT ")) == 1


@pytest.mark.parametrize("size", [BLOB.size - 1, BLOB.size + 1])
@pytest.mark.parametrize("known", [True, False])
def test_other_sizes_than_was_said(
    bad_registry: BadRegistry, watch: Watch, size: int, known: bool
) -> None:
    digest = BLOB.digest if known else None
    with pytest.raises(IntegrityError, match=f"expected {size} bytes, found {BLOB.size}"):
        watch.repository(bad_registry).upload(digest, size, lambda: iter([DATA]))
    assert bad_registry.blobs == {}


def test_an_upload_of_much_goes_on_where_it_was(bad_registry: BadRegistry, watch: Watch) -> None:
    """The registry has kept 9 of 12 MB, and says so when asked."""
    data = os.urandom(12_000_000)
    kept = 9_000_000
    blob = describe(data)
    sent: list[Request] = []

    def broken(good: Answer, request: Request) -> Answer:
        name = urlsplit(request.path).path.rpartition("/")[2]
        bad_registry._uploads[name] = data[:kept]
        return Answer(201, drop_after=-1)

    def status(good: Answer, request: Request) -> Answer:
        return answer(204, Location=urlsplit(request.path).path, Range=f"0-{kept - 1}")

    def note(good: Answer, request: Request) -> Answer:
        sent.append(request)
        return good

    bad_registry.on("PUT ", broken, times=1)
    bad_registry.on("GET .*/uploads/", status)
    bad_registry.on("PATCH ", note)
    bad_registry.on("HEAD .*/blobs/", respond(404), times=1)
    chunks = [data[at : at + 1_000_001] for at in range(0, len(data), 1_000_001)]
    repository = watch.repository(bad_registry)
    assert repository.upload(blob.digest, blob.size, lambda: iter(chunks)) == blob.digest
    assert bad_registry.blobs[blob.digest] == data
    (patch,) = sent
    assert patch.headers["content-range"] == f"{kept}-{len(data) - 1}"
    assert patch.body == data[kept:]
    assert len(bad_registry.lines("POST ")) == 1


def test_the_tries_of_an_upload_end(bad_registry: BadRegistry) -> None:
    bad_registry.on("PUT ", respond(503, "UNAVAILABLE", "no disk"))
    bad_registry.on("HEAD .*/blobs/", respond(404))
    watch = Watch(bad_registry, attempts=2)
    with watch.client, pytest.raises(Unavailable, match="push .*/app: unavailable: no disk"):
        upload(watch.repository(bad_registry))
    assert bad_registry.lines("DELETE .*/uploads/")  # the session was given up
    assert bad_registry._uploads == {}


def test_blobs_go_where_the_registry_says_but_credentials_stay(
    bad_registry: BadRegistry, second_registry: BadRegistry
) -> None:
    name = "f" * 16
    second_registry._uploads[name] = b""
    place = f"http://{second_registry.host}/v2/app/blobs/uploads/{name}?sig=abc"
    bad_registry.on("POST ", set_header("Location", place))
    bad_registry.on(".*", basic_wanted())
    watch = Watch(bad_registry, LOGIN)
    with watch.client:
        upload(watch.repository(bad_registry))
    assert second_registry.blobs[BLOB.digest] == DATA
    (put,) = second_registry.requests
    assert put.path.endswith(f"?sig=abc&digest={str(BLOB.digest).replace(':', '%3A')}")
    assert "authorization" not in put.headers


@pytest.mark.parametrize("place", ["", "http://reg.example/x", "file:///x", "http://a@127.0.0.1/"])
def test_blobs_go_nowhere_else(bad_registry: BadRegistry, watch: Watch, place: str) -> None:
    bad_registry.on("POST ", set_header("Location", place))
    with pytest.raises(Unavailable, match="push to http://127.0.0.1"):
        upload(watch.repository(bad_registry))
