"""The space that is kept for when the disk is full."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from jubako.errors import KernelError, Unavailable
from jubako.store import Store, reserve


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("jubako.store.store._RUN", str(tmp_path / "run"))
    return Store(str(tmp_path / "root"))


def test_it_is_made_with_the_database_and_given_up_only_when_space_is_scarce(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(store.path, "reserve")
    store.db.execute("SELECT 1")
    assert path.stat().st_size == reserve.BYTES
    store.use_reserve()
    assert path.exists()
    monkeypatch.setattr(reserve, "free_bytes", lambda root: 4096)
    store.use_reserve()
    assert not path.exists()
    store.use_reserve()  # nothing is left to give
    store.close()
    store.db.execute("SELECT 1")
    assert not path.exists()  # still scarce
    monkeypatch.undo()
    reserve.keep(store.path)
    assert path.exists()
    store.close()


@pytest.mark.parametrize(
    ("code", "free", "read_only", "expected"),
    [
        (sqlite3.SQLITE_FULL, 1 << 30, False, errno.ENOSPC),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 4096, False, errno.ENOSPC),
        (sqlite3.SQLITE_READONLY, 1 << 30, True, errno.EROFS),
        (sqlite3.SQLITE_CANTOPEN, 1 << 30, True, errno.EROFS),
        (sqlite3.SQLITE_IOERR_READ, 1 << 30, False, 0),
        (sqlite3.SQLITE_BUSY, 0, True, 0),
    ],
)
def test_errors_of_the_database_are_told_as_the_kernel_would(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    free: int,
    read_only: bool,
    expected: int,
) -> None:
    monkeypatch.setattr(reserve, "free_bytes", lambda root: free)
    monkeypatch.setattr(reserve, "is_read_only", lambda root: read_only)
    error = sqlite3.OperationalError("some words")
    error.sqlite_errorcode = code
    with pytest.raises((KernelError, Unavailable)) as found, store.transaction():
        raise error
    if expected:
        assert isinstance(found.value, KernelError)
        assert found.value.errno == expected
    else:
        assert isinstance(found.value, Unavailable)
        assert "some words" in str(found.value)
    store.close()
