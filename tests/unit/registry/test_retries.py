from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.registry.retries import MAX_WAIT_S, Tries, backoff_s, is_transient, parse_retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("1700000030", 30.0),  # Docker Hub's: a date in seconds since 1970
        ("1699999999", 0.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),  # it is over
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Tue, 99 Nov 2023 99:14:20 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@given(st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)))
def test_every_date_is_a_wait_or_over(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    found = parse_retry_after(format_datetime(moment, usegmt=True), NOW)
    assert found == max(moment.timestamp() - NOW, 0)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    found = parse_retry_after(text, NOW)
    assert found is None or found >= 0


def test_waits_grow_and_end_growing() -> None:
    waits = [backoff_s(count) for count in range(1, 2000)]
    assert 0.1 < waits[0] < 0.4
    assert all(wait <= 12.5 for wait in waits)
    assert waits[6] > waits[0]


def make(attempts: int) -> tuple[Tries, list[float], list[tuple[str, float]]]:
    waits: list[float] = []
    told: list[tuple[str, float]] = []
    return Tries(attempts, waits.append, lambda *args: told.append(args)), waits, told


def test_the_last_try_is_the_last() -> None:
    tries, waits, told = make(3)
    assert [tries.again("EOF") for _ in range(3)] == [True, True, False]
    assert len(waits) == 2
    assert [reason for reason, _ in told] == ["EOF", "EOF"]
    assert [seconds for _, seconds in told] == waits


def test_what_the_registry_asks_for_is_waited_for_unless_it_is_too_long() -> None:
    tries, waits, told = make(5)
    assert tries.again("busy", "2")
    assert waits == [2.0]
    assert told == [("busy", 2.0)]
    assert not tries.again("busy", str(int(MAX_WAIT_S) + 1))
    assert waits == [2.0]


def test_progress_begins_the_count_anew() -> None:
    tries, _, _ = make(2)
    assert tries.again("EOF")
    tries.progressed()
    assert tries.again("EOF")
    assert not tries.again("EOF")


def test_only_what_may_pass_is_tried_again() -> None:
    assert [status for status in range(100, 600) if is_transient(status)] == [
        *(408, 429, 500, 502, 503, 504)
    ]
