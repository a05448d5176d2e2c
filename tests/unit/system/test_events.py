"""The API's EventMessage, past and to come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument
from jubako.store import Store, events
from jubako.system.events import stream
from tests.fixtures import engine_api


def _stream(store: Store, **given: Any) -> Iterator[dict[str, Any]]:
    chosen = {"since_ns": None, "until_ns": None, "filters": {}, "follow": False, **given}
    return stream(store, **chosen)


def test_message(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    events.emit(store, "container", "die", "c1", {"name": "x", "image": "bb", "exitCode": "3"})
    events.emit(store, "image", "tag", "sha256:1", {"name": "bb:1"})
    events.emit(store, "image", "prune", "", {"reclaimed": "0"})
    events.emit(store, "network", "connect", "n1", {"type": "bridge"})
    events.note(store, "start-failed", "c1", {"error": "x"})
    container, image, prune, network = _stream(store)
    assert (container["status"], container["id"], container["from"]) == ("die", "c1", "bb")
    assert (image["status"], image["id"], "from" in image) == ("tag", "sha256:1", False)
    assert (prune["status"], "id" in prune) == ("prune", False)
    assert not {"status", "id", "from"} & network.keys()
    assert list(container["Actor"]["Attributes"]) == ["exitCode", "image", "name"]
    assert container["time"] == container["timeNano"] // 10**9
    for message in (container, image, prune, network):
        own = {key: message[key] for key in message if key not in ("status", "id", "from")}
        engine_api.check(own, "definitions", "EventMessage")


def test_since_and_until_choose_to_the_nanosecond(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for number in range(4):
        events.emit(store, "container", "start", f"c{number}")
    times = [event.at_ns for event in events.after(store, 0)]
    found = _stream(store, since_ns=times[1], until_ns=times[2])
    assert [message["Actor"]["ID"] for message in found] == ["c1", "c2"]
    found = _stream(store, until_ns=times[0], follow=True)
    assert [message["Actor"]["ID"] for message in found] == ["c0"]


def test_until_before_since_is_refused(tmp_path: Path) -> None:
    words = "`since` time \\(20\\) cannot be after `until` time \\(10\\)"
    with pytest.raises(InvalidArgument, match=words):
        _stream(Store(str(tmp_path)), since_ns=20 * 10**9, until_ns=10 * 10**9)


def test_what_is_to_come_begins_with_the_call(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    events.emit(store, "container", "start", "before")
    following = _stream(store, follow=True)
    events.emit(store, "container", "start", "after")
    assert next(following)["Actor"]["ID"] == "after"


def test_it_ends_at_until(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert list(_stream(store, until_ns=time.time_ns() + 10**7, follow=True)) == []


def test_more_than_one_batch(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with store.transaction():
        for number in range(2500):
            events.emit(store, "container", "start", f"c{number}")
    found = [message["Actor"]["ID"] for message in _stream(store)]
    assert found == [f"c{number}" for number in range(2500)]
