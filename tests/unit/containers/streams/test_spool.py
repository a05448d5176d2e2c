"""The circular file behind a slow client."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.streams.spool import Spool


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(1, 50)), max_size=60))
def test_it_is_a_queue_with_a_bound(
    tmp_path_factory: pytest.TempPathFactory, steps: list[bytes | int]
) -> None:
    spool = Spool(str(tmp_path_factory.getbasetemp()), 64)
    expected = b""
    for step in steps:
        if isinstance(step, bytes):
            kept = spool.put(step)
            assert kept == (len(expected) + len(step) <= 64)
            expected += step if kept else b""
        else:
            taken = spool.take(step)
            assert expected.startswith(taken) and (taken or not expected)
            expected = expected[len(taken) :]
        assert spool.size == len(expected)
    spool.close()


def test_the_file_has_no_name(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    assert spool.put(b"data")
    assert not list(tmp_path.iterdir())
    spool.close()
