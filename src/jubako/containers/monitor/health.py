"""Health checks: when one is due, and what a result makes of a container's health.

Docker's rules (moby, daemon/health.go), without clocks, processes or rows:

    starting ──success──> healthy <──success── unhealthy
        │                    │                    ▲
        └────── `Retries` failures in a row ──────┘     in the start period none of them counts

`Health` is the object that `inspect` shows.  A container that does not run, or is paused, shows
`unhealthy`, as with Docker.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import Config, HealthConfig

    Health = dict[str, Any]

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
STATUSES = (STARTING, HEALTHY, UNHEALTHY, "none")  # the last is for who has no check
ACTIONS = ("none", "kill", "restart", "stop")  # what `--health-on-failure` does

# What the exit code of a probe says; any other: nothing was checked.
EXIT_CODES = {65: STARTING, 66: HEALTHY, 67: UNHEALTHY}
MAX_RESULTS = 5
MAX_OUTPUT_BYTES = 4096
_SECOND_NS = 1_000_000_000
_DEFAULTS_NS = {
    "Interval": 30 * _SECOND_NS,
    "Timeout": 30 * _SECOND_NS,
    "StartPeriod": 0,
    "StartInterval": 5 * _SECOND_NS,
}
_RETRIES = 3


def is_checked(config: Config) -> bool:
    """Whether a container has a health check."""
    return (config.get("Healthcheck") or {}).get("Test", ["NONE"])[:1] in (["CMD"], ["CMD-SHELL"])


def command(config: Config) -> list[str]:
    """What a check executes; the container has one."""
    kind, *words = config["Healthcheck"]["Test"]
    if kind == "CMD":
        return words
    return [*(config.get("Shell") or ("/bin/sh", "-c")), *words]


def seconds(check: HealthConfig, key: str) -> float:
    """`Interval`, `Timeout`, `StartPeriod` or `StartInterval`, or its default."""
    given = {**check}.get(key)
    return (given if isinstance(given, int) and given else _DEFAULTS_NS[key]) / _SECOND_NS


def pause_s(check: HealthConfig, status: str, since_start_s: float) -> float:
    """The time from now to the next check."""
    if status == STARTING and since_start_s < seconds(check, "StartPeriod"):
        return seconds(check, "StartInterval")
    return seconds(check, "Interval")


def begun(config: Config, before: Health | None) -> dict[str, Health]:
    """What a start changes in the row: the column `health`, if there is a check."""
    if not is_checked(config):
        return {}
    log = before["Log"] if before is not None else []
    return {"health": {"Status": STARTING, "FailingStreak": 0, "Log": log}}


def ended(before: Health | None) -> dict[str, Health]:
    """What an end or a pause changes in the row."""
    return {} if before is None else {"health": {**before, "Status": UNHEALTHY}}


def step(
    before: Health, result: Mapping[str, Any], check: HealthConfig, *, since_start_s: float
) -> Health:
    """The health after one more result.

    result: Start, End, ExitCode, Output.  since_start_s: from the container's start to the check's.
    """
    status, streak = before["Status"], before["FailingStreak"]
    if result["ExitCode"] == 0:
        status, streak = HEALTHY, 0
    elif status != STARTING or since_start_s >= seconds(check, "StartPeriod"):
        streak += 1
        if streak >= (check.get("Retries") or _RETRIES):
            status = UNHEALTHY
    log = [*before["Log"], dict(result)][-MAX_RESULTS:]
    return {"Status": status, "FailingStreak": streak, "Log": log}


def duration_text(duration_s: float) -> str:
    """A time as Go writes it: `500ms`, `1.5s`, `1m30s`, `1h0m0s`."""
    ns = round(duration_s * _SECOND_NS)
    for unit_ns, name in ((1, "ns"), (1000, "µs"), (1_000_000, "ms")):
        if ns < unit_ns * 1000:
            return f"{ns / unit_ns:g}{name}"
    minutes, rest_ns = divmod(ns, 60 * _SECOND_NS)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ns / _SECOND_NS:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def text_of(output: bytes) -> str:
    """A check's output as its result shows it, cut to 4096 bytes."""
    text = output[:MAX_OUTPUT_BYTES].decode(errors="replace")
    return f"{text}..." if len(output) > MAX_OUTPUT_BYTES else text
