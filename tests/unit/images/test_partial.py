from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.images.content.partial import Partial, remove_abandoned, size_bytes
from jubako.oci.digest import Digest
from jubako.store import Store

DIGEST = Digest.of(b"the blob")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"))


def write(store: Store, data: bytes, digest: Digest = DIGEST) -> Partial:
    partial = Partial(store, digest)
    assert partial.try_lock()
    partial.append(data)
    partial.unlock()
    return partial


def test_what_was_appended_is_replayed(store: Store) -> None:
    write(store, b"the ")
    partial = Partial(store, DIGEST)
    assert partial.try_lock()
    assert partial.size == 4
    partial.append(memoryview(b"blob"))
    assert b"".join(partial.replay()) == b"the blob"
    partial.unlock()
    partial.unlock()


def test_one_holds_it_at_a_time(store: Store) -> None:
    first, second = Partial(store, DIGEST), Partial(store, DIGEST)
    other = Partial(store, Digest.of(b"another"))
    assert first.try_lock()
    assert not second.try_lock()
    assert other.try_lock()
    first.append(b"x")
    first.unlock()
    assert second.try_lock()
    assert second.size == 1
    for partial in (second, other):
        partial.unlock()


def test_an_empty_file_goes_and_one_that_was_cleared(store: Store) -> None:
    partial = Partial(store, DIGEST)
    assert partial.try_lock()
    partial.unlock()
    assert not os.path.exists(partial.path)
    assert partial.try_lock()
    partial.append(b"wrong")
    partial.clear()
    partial.append(b"x")
    assert b"".join(partial.replay()) == b"x"
    partial.clear()
    partial.unlock()
    assert not os.path.exists(partial.path)


def test_nothing_is_written_after_the_end(store: Store) -> None:
    """A thread that was given up may still hold the object when the number is another file's."""
    partial = Partial(store, DIGEST)
    assert partial.try_lock()
    partial.unlock()
    with pytest.raises(KernelError):
        partial.append(b"late")


def test_who_waited_does_not_get_what_was_renamed(store: Store, tmp_path: Path) -> None:
    first, second = Partial(store, DIGEST), Partial(store, DIGEST)
    assert first.try_lock()
    first.append(b"the blob")
    first.make_durable()
    first.become(str(tmp_path / "final"))
    assert second.try_lock(), "it is a new file"
    assert second.size == 0
    second.unlock()
    first.unlock()
    assert (tmp_path / "final").read_bytes() == b"the blob"
    assert (tmp_path / "final").stat().st_mode & 0o777 == 0o400


def test_old_ones_that_nobody_holds_are_deleted(store: Store) -> None:
    assert remove_abandoned(store) == size_bytes(store) == 0
    fresh = write(store, b"fresh")
    old = write(store, bytes(100_000), Digest.of(b"old"))
    held = write(store, b"held", Digest.of(b"held"))
    assert held.try_lock()
    long_ago = time.time() - 8 * 24 * 3600
    for partial in (old, held):
        os.utime(partial.path, (long_ago, long_ago))
    assert size_bytes(store) > 100_000
    assert remove_abandoned(store) >= 100_000
    assert [os.path.exists(one.path) for one in (fresh, old, held)] == [True, False, True]
    remove_abandoned(store, 0)
    assert [os.path.exists(one.path) for one in (fresh, held)] == [False, True]
    held.unlock()
