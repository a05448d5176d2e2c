"""The table of events: order, what a transaction takes back, and what is forgotten."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from jubako.store import Store, events
from jubako.store.following import Changes

HOUR_S = 3600


def _store(path: Path) -> Store:
    return Store(str(path))


def _emit_at(store: Store, age_s: float, action: str = "start", kind: str = "container") -> None:
    at_ns = time.time_ns() - int(age_s * 1e9)
    with store.transaction() as db:
        db.execute(
            "INSERT INTO events (at_ns, type, action, actor, attributes)"
            " VALUES (?, ?, ?, 'x', '{}')",
            (at_ns, kind, action),
        )


def test_events_come_in_order_and_once(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for number in range(5):
        events.emit(store, "container", "start", f"id{number}", {"name": "x"})
    first = events.after(store, 0, limit=2)
    rest = events.after(store, first[-1].id)
    assert [event.actor for event in (*first, *rest)] == ["id0", "id1", "id2", "id3", "id4"]
    assert events.last_id(store) == rest[-1].id
    assert events.after(store, rest[-1].id) == []
    assert [event.action for event in events.of(store, "id3")] == ["start"]


def test_a_change_that_fails_has_no_event(tmp_path: Path) -> None:
    store = _store(tmp_path)
    with pytest.raises(RuntimeError), store.transaction():
        events.emit(store, "container", "start", "id")
        raise RuntimeError
    assert events.last_id(store) == 0


def test_notes_are_no_attributes(tmp_path: Path) -> None:
    store = _store(tmp_path)
    events.emit(store, "container", "kill", "id", {"": "a label", "a": "b"})
    events.emit(store, "container", "kill", "id", {"a": "b"}, notes={"by": {"uid": 0}})
    plain, noted = events.after(store, 0)
    assert (plain.attributes, plain.notes) == ({"": "a label", "a": "b"}, {})
    assert (noted.attributes, noted.notes) == ({"a": "b"}, {"by": {"uid": 0}})


def test_what_is_too_old_is_forgotten(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for age_s in (50 * HOUR_S, 30 * HOUR_S, 10 * HOUR_S, 0):
        _emit_at(store, age_s)
    for at_ns in (time.time_ns() - 40 * HOUR_S * 10**9, time.time_ns()):
        store.db.execute("INSERT INTO samples VALUES ('x', ?, '{}')", (at_ns,))
    events.expire(store, 60 * HOUR_S)
    assert len(events.after(store, 0)) == 4
    events.expire(store, 24 * HOUR_S)
    assert len(events.after(store, 0)) == 2
    assert store.db.execute("SELECT count(*) FROM samples").fetchone()[0] == 1


def test_chatter_is_kept_for_an_hour_only(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for action in ("start", "exec_die", "exec_start: true", "top", "health_status: healthy"):
        _emit_at(store, 3 * HOUR_S, action)
    _emit_at(store, 0.5 * HOUR_S, "exec_die")
    _emit_at(store, 3 * HOUR_S, "top", "volume")
    events.expire(store, 168 * HOUR_S)
    left = [event.action for event in events.after(store, 0)]
    assert left == ["start", "health_status: healthy", "exec_die", "top"]


def test_an_event_now_and_then_deletes_what_is_too_old(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"record-keep": "1h"}')
    store = _store(tmp_path)
    with store.transaction():
        for _ in range(500):
            _emit_at(store, 2 * HOUR_S)
        for _ in range(12):
            events.emit(store, "container", "start", "new")
    assert {event.actor for event in events.after(store, 0)} == {"new"}


def test_waiting_ends_when_another_connection_commits(tmp_path: Path) -> None:
    store = _store(tmp_path)
    events.emit(store, "container", "start", "first")
    seen = events.last_id(store)

    def write() -> None:
        other = _store(tmp_path)
        events.emit(other, "container", "start", "second")
        other.close()

    with Changes(store) as changes:
        writer = threading.Thread(target=write)
        found = events.after(store, seen)
        writer.start()
        while not found:
            changes.wait(10, found=False)
            found = events.after(store, seen)
        writer.join()
    assert [event.actor for event in found] == ["second"]


def test_waiting_ends_at_the_time_that_was_given(tmp_path: Path) -> None:
    store = _store(tmp_path)
    with Changes(store) as changes:
        changes.wait(0, found=False)


def test_without_inotify_it_looks_every_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jubako.errors import KernelError
    from jubako.linux import inotify

    def refuse() -> int:
        raise KernelError("inotify_init1", 24)

    monkeypatch.setattr(inotify, "init", refuse)
    store = _store(tmp_path)
    with Changes(store) as changes:
        changes.wait(None, found=False)
