"""Restart policies as arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.model import RestartPolicy
from jubako.containers.monitor import restart

CODES = st.integers(0, 255)
COUNTS = st.integers(0, 50)


def policy(name: str, most: int = 0) -> RestartPolicy:
    return {"Name": name, "MaximumRetryCount": most}


def wanted(name: str, code: int, *, most: int = 0, count: int = 0, stop: int = 0) -> bool:
    return restart.wanted(
        policy(name, most), exit_code=code, restart_count=count, stop_requested=stop
    )


@pytest.mark.parametrize(
    ("name", "after_success", "after_failure"),
    [
        ("no", False, False),
        ("on-failure", False, True),
        ("always", True, True),
        ("unless-stopped", True, True),
    ],
)
def test_what_each_policy_wants(name: str, after_success: bool, after_failure: bool) -> None:
    assert wanted(name, 0) is after_success
    assert wanted(name, 137) is after_failure


@given(name=st.sampled_from(restart.POLICIES), code=CODES, stop=st.integers(1, 3))
def test_a_users_stop_rests_every_policy(name: str, code: int, stop: int) -> None:
    assert not wanted(name, code, stop=stop)


@given(most=st.integers(1, 20), count=COUNTS)
def test_on_failure_gives_up_after_so_many_restarts(most: int, count: int) -> None:
    assert wanted("on-failure", 1, most=most, count=count) is (count < most)
    assert wanted("on-failure", 1, count=count)  # 0 is no limit


def test_after_a_boot() -> None:
    for stop in (0, restart.RESTARTED, restart.SHUTDOWN):
        assert restart.wanted_at_boot(policy("unless-stopped"), stop_requested=stop)
    assert not restart.wanted_at_boot(policy("unless-stopped"), stop_requested=restart.RESTS)
    assert restart.wanted_at_boot(policy("always"), stop_requested=restart.RESTS)
    for name in ("no", "on-failure"):
        assert not restart.wanted_at_boot(policy(name), stop_requested=0)


def test_the_wait_doubles_up_to_a_minute() -> None:
    waits = [0.0]
    for _ in range(12):
        waits.append(restart.next_delay_s(waits[-1], 0.5))
    assert waits[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert waits[10:] == [51.2, 60.0, 60.0]


@given(previous=st.floats(0, 60), ran=st.floats(10, 1e9))
def test_a_container_that_ran_for_ten_seconds_begins_anew(previous: float, ran: float) -> None:
    assert restart.next_delay_s(previous, ran) == 0.1
