"""The root: transactions, locks, versions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jubako.errors import Unavailable, Unsupported
from jubako.store import Store
from jubako.store.lock import Lock, is_held


def test_roots_have_names_of_their_own(tmp_path: Path) -> None:
    one, two = Store(str(tmp_path / "one")), Store(str(tmp_path / "two"))
    assert one.name != two.name and one.run_dir != two.run_dir
    assert one.name == f"jubako-{one.key}" and len(one.key) == 8


def test_the_root_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"))
    assert os.stat(store.path).st_mode & 0o777 == 0o700
    assert os.stat(store.run_dir).st_mode & 0o777 == 0o700


def test_a_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(RuntimeError):
        with store.transaction() as db:
            db.execute("INSERT INTO networks VALUES ('1', 'a', 'bridge', '{}')")
            with store.transaction() as inner:
                inner.execute("INSERT INTO networks VALUES ('2', 'b', 'bridge', '{}')")
            raise RuntimeError
    assert store.db.execute("SELECT count(*) FROM networks").fetchone()[0] == 0


def test_two_stores_see_each_others_changes(tmp_path: Path) -> None:
    one, two = Store(str(tmp_path)), Store(str(tmp_path))
    assert two.db.execute("SELECT count(*) FROM networks").fetchone()[0] == 0
    with one.transaction() as db:
        db.execute("INSERT INTO networks VALUES ('1', 'a', 'bridge', '{}')")
    assert two.db.execute("SELECT name FROM networks").fetchone()["name"] == "a"


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(Unsupported, match="version 999"):
        _ = Store(str(tmp_path)).db


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        _ = Store(str(tmp_path)).db


def test_a_lock_excludes_and_times_out(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert not is_held(path)
    with Lock(path):
        assert is_held(path)
        with pytest.raises(Unavailable, match="held by another command"):
            Lock(path, timeout_s=0.02).acquire()
    assert not is_held(path)


def test_shared_locks_share(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with Lock(path, shared=True), Lock(path, shared=True, timeout_s=0):
        with pytest.raises(Unavailable):
            Lock(path, timeout_s=0).acquire()


def test_a_lock_on_a_removed_file_is_not_enough(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = Lock(path)
    first.acquire()
    os.unlink(path)
    with Lock(path, timeout_s=0):  # a new file: the old holder does not count any more
        assert is_held(path)
    first.release()


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    child = os.fork()
    if child == 0:
        Lock(path).acquire()
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_held(path)


def test_flush_works_with_and_without_a_log(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.flush()
    with store.transaction() as db:
        db.execute("INSERT INTO networks VALUES ('1', 'a', 'bridge', '{}')")
    store.flush()
    store.close()
    assert Store(str(tmp_path)).db.execute("SELECT count(*) FROM networks").fetchone()[0] == 1


_OLD_TABLES = (
    "CREATE TABLE images (id TEXT PRIMARY KEY, manifest TEXT, parent TEXT, created TEXT NOT NULL,"
    " size_bytes INTEGER NOT NULL, config TEXT NOT NULL, last_used_ns INTEGER NOT NULL,"
    " removed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE TABLE layers (diff_id TEXT PRIMARY KEY, driver TEXT NOT NULL,"
    " size_bytes INTEGER NOT NULL, tar_bytes INTEGER NOT NULL, blob TEXT) WITHOUT ROWID",
)


def test_a_database_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    fresh = _tables(store)
    store.close()
    old = tmp_path / "old"
    old.mkdir()
    with closing(sqlite3.connect(old / "state.db")) as db:
        changed = {"containers", "images", "layers", "sqlite_sequence"}
        added = {"execs", "events", "samples", "manifests", "blobs", "blob_sources"}
        for table, sql in fresh.items():
            if table not in changed | added:
                db.execute(sql)
        for statement in _OLD_TABLES:
            db.execute(statement)
        columns = "id TEXT PRIMARY KEY, name TEXT, status TEXT, boot_id TEXT"
        db.execute(f"CREATE TABLE containers ({columns})")
        db.execute("INSERT INTO containers VALUES ('abc', 'kept', 'exited', '')")
        db.execute("INSERT INTO layers VALUES ('sha256:1', 'overlay', 5, 10240, NULL)")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    upgraded = Store(str(old))
    assert set(_tables(upgraded)) == set(fresh)
    row = upgraded.db.execute("SELECT * FROM containers").fetchone()
    assert (row["name"], row["restart_count"], row["health"]) == ("kept", 0, "")
    layers = upgraded.db.execute("SELECT * FROM layers").fetchall()
    assert [tuple(layer) for layer in layers] == [("sha256:1", "overlay", 5, 10240)]
    upgraded.close()


def _tables(store: Store) -> dict[str, str]:
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
    return {row["name"]: row["sql"] for row in store.db.execute(query)}
