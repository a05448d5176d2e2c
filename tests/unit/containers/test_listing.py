"""Docker's words for lengths of time, and times as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.listing import human_duration
from jubako.containers.times import seconds, timestamp

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (60 * 59, "59 minutes"),
        (60 * 61, "About an hour"),
        (HOUR * 47, "47 hours"),
        (DAY * 3, "3 days"),
        (DAY * 20, "2 weeks"),
        (DAY * 70, "2 months"),
        (DAY * 365 * 3, "3 years"),
    ],
)
def test_human_duration(duration: float, words: str) -> None:
    assert human_duration(duration) == words


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_time_survives_as_text(at_ns: int) -> None:
    assert seconds(timestamp(at_ns)) == pytest.approx(at_ns / 1e9, abs=1e-6)
