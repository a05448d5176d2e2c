"""The state machine of health checks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.model import Config, HealthConfig
from jubako.containers.monitor import health

SECOND = 1_000_000_000
RESULTS = st.lists(st.sampled_from((0, 0, 1, 2, 137, -1)), max_size=30)


def result(code: int, output: str = "") -> dict[str, Any]:
    return {"Start": "s", "End": "e", "ExitCode": code, "Output": output}


def begun(**config: Any) -> dict[str, Any]:
    config = {"Healthcheck": {"Test": ["CMD", "true"]}, **config}
    return health.begun(config, None)["health"]  # type: ignore[arg-type]  # a Config in pieces


def steps(codes: list[int], check: HealthConfig, since_start_s: float = 1e9) -> dict[str, Any]:
    state = begun()
    for code in codes:
        state = health.step(state, result(code), check, since_start_s=since_start_s)
    return state


def test_a_start_is_starting_and_keeps_the_results_of_before() -> None:
    config: Config = {"Healthcheck": {"Test": ["CMD-SHELL", "x"]}}
    assert begun() == {"Status": "starting", "FailingStreak": 0, "Log": []}
    before = {"Status": "unhealthy", "FailingStreak": 7, "Log": [result(1)]}
    after = health.begun(config, before)["health"]
    assert after == {"Status": "starting", "FailingStreak": 0, "Log": [result(1)]}
    assert health.ended(after)["health"]["Status"] == "unhealthy"
    assert health.ended(None) == {}


@pytest.mark.parametrize("test", [None, [], ["NONE"], ["WHATEVER", "x"]])
def test_without_a_test_there_is_no_health(test: list[str] | None) -> None:
    config: Config = {"Healthcheck": {"Test": test, "Interval": 1}} if test is not None else {}
    assert not health.is_checked(config)
    assert health.begun(config, None) == {}


def test_the_command() -> None:
    assert health.command({"Healthcheck": {"Test": ["CMD", "a", "b c"]}}) == ["a", "b c"]
    shell: Config = {"Healthcheck": {"Test": ["CMD-SHELL", "a && b"]}}
    assert health.command(shell) == ["/bin/sh", "-c", "a && b"]
    shell["Shell"] = ["/bin/bash", "-ec"]
    assert health.command(shell) == ["/bin/bash", "-ec", "a && b"]


def test_so_many_failures_in_a_row_are_unhealthy() -> None:
    assert steps([0, 1, 1], {"Retries": 3})["Status"] == "healthy"
    assert steps([0, 1, 1, 1], {"Retries": 3})["Status"] == "unhealthy"
    assert steps([1, 1, 1], {})["Status"] == "unhealthy"  # three by default
    assert steps([1, 1, 0, 1, 1], {}) == {
        "Status": "healthy",
        "FailingStreak": 2,
        "Log": [result(code) for code in (1, 1, 0, 1, 1)],
    }


def test_failures_of_the_start_period_do_not_count() -> None:
    check: HealthConfig = {"StartPeriod": 10 * SECOND, "Retries": 1}
    assert steps([1, 1, 1], check, 9.9)["FailingStreak"] == 0
    assert steps([1], check, 10.0)["Status"] == "unhealthy"
    # once it was healthy, the period is over
    assert steps([1, 0, 1], check, 1.0)["Status"] == "unhealthy"


@given(codes=RESULTS, retries=st.integers(1, 5))
def test_what_holds_after_any_results(codes: list[int], retries: int) -> None:
    state = steps(codes, {"Retries": retries})
    last = codes[::-1].index(0) if 0 in codes else len(codes)
    assert state["FailingStreak"] == last
    assert [entry["ExitCode"] for entry in state["Log"]] == codes[-5:]
    if codes and codes[-1] == 0:
        assert state["Status"] == "healthy"
    if last >= retries:
        assert state["Status"] == "unhealthy"


@given(codes=RESULTS)
def test_a_step_changes_nothing_that_was_given(codes: list[int]) -> None:
    state = begun()
    for code in codes:
        before = {**state, "Log": list(state["Log"])}
        after = health.step(state, result(code), {}, since_start_s=0)
        assert state == before
        state = after


def test_the_time_between_checks() -> None:
    check: HealthConfig = {
        "Interval": 20 * SECOND,
        "StartPeriod": 60 * SECOND,
        "StartInterval": 2 * SECOND,
    }
    assert health.pause_s(check, "starting", 59) == 2
    assert health.pause_s(check, "starting", 60) == 20
    assert health.pause_s(check, "healthy", 1) == 20
    assert health.pause_s({}, "starting", 0) == 30
    assert health.pause_s({"StartPeriod": SECOND}, "starting", 0) == 5
    assert health.seconds({}, "Timeout") == 30


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.5, "500ms"), (1, "1s"), (1.5, "1.5s"), (30, "30s"), (90, "1m30s"), (3600, "1h0m0s"),
     (0.0015, "1.5ms"), (0.000002, "2µs"), (60.25, "1m0.25s")],
)  # fmt: skip
def test_durations_as_go_writes_them(duration_s: float, text: str) -> None:
    assert health.duration_text(duration_s) == text


def test_output_is_cut() -> None:
    assert health.text_of(b"x" * 4096) == "x" * 4096
    assert health.text_of(b"x" * 4097) == "x" * 4096 + "..."
    assert health.text_of(b"\xff\n") == "\ufffd\n"
