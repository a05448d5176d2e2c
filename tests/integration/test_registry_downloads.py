"""Blobs that break off, and blobs of other lengths than was promised."""

from __future__ import annotations

import os
import re

import pytest

from jubako.errors import (
    IntegrityError,
    Unavailable,
)
from jubako.registry.repository import Repository
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.registry_faults import (
    Fault,
    change,
    drop,
    endless,
    promise,
    respond,
    set_header,
)
from tests.integration.registry_tools import (
    BLOB,
    DATA,
    Watch,
    describe,
    read,
)


def ranges(bad: BadRegistry) -> list[str]:
    """The Range of each request for `BLOB` so far."""
    wanted = f"GET /v2/app/blobs/{BLOB.digest}"
    return [one.headers.get("range", "") for one in bad.requests if one.line == wanted]


# --- blobs that break off ------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_blob_goes_on_where_it_was(
    bad_registry: BadRegistry, app: Repository, watch: Watch, reset: bool
) -> None:
    bad_registry.on("GET .*/blobs/", drop(700_000, reset=reset), times=2)
    with app.open_blob(BLOB) as stream:
        pieces = list(stream)
    assert b"".join(pieces) == DATA
    assert max(len(piece) for piece in pieces) <= 1 << 20
    first, *later = ranges(bad_registry)
    assert first == ""
    assert len(later) == 2
    assert all(re.fullmatch(r"bytes=\d+-", text) for text in later)
    assert len(watch.told) == 2
    assert all(str(BLOB.digest) in reason for reason, _ in watch.told)


def test_every_byte_may_be_the_last(bad_registry: BadRegistry, app: Repository) -> None:
    data = b"0123456789"
    small = describe(data)
    bad_registry.add_blob(data)
    for at in (-1, *range(len(data))):
        bad_registry.on("GET .*/blobs/", drop(at), times=1)
        assert read(app, small) == data, at


def test_a_server_without_ranges_sends_again_what_is_skipped(
    bad_registry: BadRegistry, app: Repository
) -> None:
    bad_registry.ranges = "ignored"
    bad_registry.on("GET .*/blobs/", drop(1_500_000), times=1)
    assert read(app, BLOB) == DATA
    with app.open_blob(BLOB, 1000) as stream:
        assert stream.offset == 0
        assert b"".join(stream) == DATA


def test_it_goes_on_with_the_same_or_not_at_all(bad_registry: BadRegistry, app: Repository) -> None:
    bad_registry.on("GET .*/blobs/", set_header("ETag", '"one"'), drop(100_000), times=1)
    bad_registry.on("GET .*/blobs/", set_header("ETag", 'W/"two"'), drop(100_000), times=1, skip=1)
    assert read(app, BLOB) == DATA
    asked = [request.headers.get("if-range") for request in bad_registry.requests]
    assert asked[-3:] == [None, '"one"', None]  # a weak tag promises no bytes


def test_progress_is_worth_another_try(bad_registry: BadRegistry) -> None:
    """Nine breaks with three attempts: but each had brought more than a MiB."""
    data = os.urandom(12_000_000)
    bad_registry.add_blob(data)
    bad_registry.on("GET .*/blobs/", drop(1_300_000), times=9)
    watch = Watch(bad_registry, attempts=2)
    with watch.client:
        assert read(watch.repository(bad_registry), describe(data)) == data


def test_the_tries_end(bad_registry: BadRegistry) -> None:
    bad_registry.add_blob(DATA)
    bad_registry.on("GET .*/blobs/", drop(10))
    watch = Watch(bad_registry, attempts=3)
    with watch.client, pytest.raises(Unavailable) as caught:
        read(watch.repository(bad_registry), BLOB)
    assert f"blob {BLOB.digest} of {bad_registry.host}/app: unexpected EOF" in str(caught.value)
    assert len(ranges(bad_registry)) == 3


def test_a_mirror_that_breaks_is_left_for_the_registry(
    bad_registry: BadRegistry, second_registry: BadRegistry
) -> None:
    for one in (bad_registry, second_registry):
        one.add_blob(DATA)
    second_registry.on("GET .*/blobs/", drop(1000))
    mirrors = {bad_registry.host: [f"http://{second_registry.host}"]}
    watch = Watch(bad_registry, mirrors=mirrors)
    with watch.client:
        assert read(watch.repository(bad_registry), BLOB) == DATA
    assert len(ranges(second_registry)) == 1
    assert ranges(bad_registry) == ["bytes=1000-"]
    assert watch.told == []  # nobody had to wait


def test_a_dead_mirror_is_asked_once(bad_registry: BadRegistry) -> None:
    bad_registry.add_blob(DATA)
    watch = Watch(bad_registry, mirrors={bad_registry.host: ["http://127.0.0.1:1"]})
    with watch.client:
        repository = watch.repository(bad_registry)
        read(repository, BLOB)
        exchange = repository._exchange
        (left,) = exchange.places(repository._reference)
    assert not left.mirror


# --- lengths that are not what was promised ------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        change(lambda data: data + b"x"),
        change(lambda data: data[:-1]),
        promise(lambda length: length * 1000),
        promise(lambda length: 0),
        endless(),
        set_header("Content-Range", "bytes 0-9/10"),
        respond(416),
    ],
)
def test_other_lengths_are_found(
    bad_registry: BadRegistry, app: Repository, watch: Watch, fault: Fault
) -> None:
    bad_registry.on("GET .*/blobs/", fault)
    with pytest.raises(IntegrityError, match=f"{BLOB.digest}"):
        read(app, BLOB, 1000)
    assert watch.told == []


def test_an_end_that_nobody_announced_is_one_that_broke(
    bad_registry: BadRegistry, app: Repository
) -> None:
    """Without Content-Length a short body looks like a broken one; asked again, it is short."""
    short = change(lambda data: data[: len(data) // 2])
    bad_registry.on("GET .*/blobs/", short, promise(lambda length: None))
    with pytest.raises((IntegrityError, Unavailable)):
        read(app, BLOB)


def test_more_than_the_limit_of_a_manifest(bad_registry: BadRegistry, app: Repository) -> None:
    bad_registry.on("GET .*/manifests/", endless())
    with pytest.raises(Unavailable, match="an answer of more than 4194304 bytes"):
        app.get_manifest("latest")
