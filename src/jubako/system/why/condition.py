"""How a container is now: its state, its restarts, its health, what it uses."""

from __future__ import annotations

import time

from jubako.containers.times import seconds
from jubako.store import events
from jubako.system.why import words
from jubako.system.why.findings import NOTE, OK, PROBLEM, finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.containers.table import Container
    from jubako.system.why.findings import Finding
    from jubako.system.why.history import History

_LOOP_RUNS = 3  # so many short runs one after another are a loop
_SHORT_S = 10.0
_NEARLY = 0.9
_OUTPUT_LINES = 5


def state(history: History) -> Iterator[Finding]:
    """Whether it runs, and since when."""
    row = history.row
    if row is None:
        yield from _removed(history)
    elif row.restarting:
        yield from _restarting(row)
    elif row.running:
        since_ns = int(seconds(row.started) * 1e9)
        if row.status == "paused":
            yield _paused(history, since_ns)
        else:
            text = f"It is running since {words.moment(since_ns)}."
            yield finding("state", OK, text, at_ns=since_ns, Status="running", Pid=row.pid)
    elif row.status == "created" and history.failed_start is None:
        text = f"It was created at {words.moment(row.created_ns)} and never started."
        yield finding("state", NOTE, text, at_ns=row.created_ns, Status="created")
    else:
        yield finding("state", NOTE, "It does not run.", Status=row.status)


def _removed(history: History) -> Iterator[Finding]:
    removal = history.removal
    if removal is None:
        yield finding("state", NOTE, "It is not there any more.", Status="removed")
        return
    by = removal.notes.get("by")
    how = f" by {words.who(by)}" if by else " at its end, as `--rm` asks for"
    text = f"It was removed at {words.moment(removal.at_ns)}{how}."
    yield finding("state", NOTE, text, at_ns=removal.at_ns, Status="removed", By=by)


def _paused(history: History, since_ns: int) -> Finding:
    pauses = history.runs[-1].all("pause") if history.runs else []
    if not pauses:
        return finding("state", PROBLEM, "It is paused: no process of it runs.", Status="paused")
    by = pauses[-1].notes.get("by")
    text = (
        f"It is paused since {words.moment(pauses[-1].at_ns)} by {words.who(by)}: no process of it "
        f"runs until `jubako unpause {history.name}`."
    )
    return finding("state", PROBLEM, text, at_ns=pauses[-1].at_ns, Status="paused", By=by)


def _restarting(row: Container) -> Iterator[Finding]:
    policy = row.record["HostConfig"]["RestartPolicy"]
    text = f"It has ended, and its restart policy `{_policy(policy)}` will start it again."
    yield finding("state", PROBLEM, text, Status="restarting", RestartCount=row.restart_count)


def _policy(policy: object) -> str:
    assert isinstance(policy, dict)
    most = policy.get("MaximumRetryCount")
    return f"{policy['Name']}:{most}" if most else str(policy["Name"])


def restarts(history: History) -> Iterator[Finding]:
    """What the restart policy did, and whether it goes round in circles."""
    row = history.row
    ended = [run for run in history.runs if run.end is not None]
    streak = 0
    for run in reversed(ended):
        if run.lasted_s is None or run.lasted_s >= _SHORT_S or not run.end:
            break
        if "restart_s" not in run.end.notes:
            if streak or run is not ended[-1]:
                break
            continue
        streak += 1
    if streak >= _LOOP_RUNS:
        delay_s = ended[-1].end.notes.get("restart_s") if ended[-1].end else None
        wait = f" It waits longer each time, {delay_s:g} s the last time." if delay_s else ""
        text = (
            f"It goes round in circles: {streak} runs one after another ended within "
            f"{_SHORT_S:g} seconds, and the restart policy started it again.{wait}"
        )
        yield finding("restart", PROBLEM, text, Runs=streak, DelaySeconds=delay_s)
    elif row is not None and row.restart_count:
        times = "once" if row.restart_count == 1 else f"{row.restart_count} times"
        text = f"Its restart policy has started it again {times} since a user started it."
        yield finding("restart", NOTE, text, RestartCount=row.restart_count)
    if row is None or row.active or not ended:
        return
    policy = row.record["HostConfig"]["RestartPolicy"]
    if policy["Name"] in ("", "no"):
        return
    if row.stop_requested:
        text = (
            f"Its restart policy `{_policy(policy)}` rests since a user stopped it, until the next "
            "`jubako start`."
        )
        yield finding("restart", NOTE, text, Policy=_policy(policy), Rests=True)
    elif policy["Name"] == "on-failure" and row.exit_code:
        text = f"Its restart policy `{_policy(policy)}` has given up after {row.restart_count}."
        yield finding("restart", PROBLEM, text, Policy=_policy(policy), Rests=False)


def health(history: History) -> Iterator[Finding]:
    """What its health check says, since when, and the output of the last failures."""
    changes = [event for event in history.events if event.action.startswith("health_status: ")]
    last = changes[-1] if changes else None
    row = history.row
    if row is not None and row.running and row.health is not None:
        yield _health_now(row.health, last.at_ns if last is not None else None)
    elif last is not None and last.action.endswith(" unhealthy"):
        output = str(last.notes.get("output", "")).strip()
        said = f" Its check said: {_shortened(output)}" if output else ""
        text = f"It was unhealthy from {words.moment(last.at_ns)} on.{said}"
        yield finding("health", PROBLEM, text, at_ns=last.at_ns, Status="unhealthy", Output=output)


def _health_now(found: dict[str, object], since_ns: int | None) -> Finding:
    status = str(found["Status"])
    log = found.get("Log")
    failed = [one for one in log if one["ExitCode"] != 0] if isinstance(log, list) else []
    since = f" since {words.moment(since_ns)}" if since_ns is not None else ""
    output = str(failed[-1]["Output"]).strip() if failed else ""
    if status == "healthy":
        return finding("health", OK, f"It is healthy{since}.", at_ns=since_ns, Status=status)
    streak = found.get("FailingStreak")
    text = f"It is {status}{since}" if status == "unhealthy" else "Its health is not known yet"
    text += f"; the last {streak} checks failed" if streak else ""
    if failed:
        text += f", the last with exit code {failed[-1]['ExitCode']} and: {_shortened(output)}"
    level = PROBLEM if status == "unhealthy" else NOTE
    return finding(
        "health",
        level,
        f"{text.rstrip('.')}.",
        at_ns=since_ns,
        Status=status,
        FailingStreak=streak,
        Output=output,
    )


def _shortened(output: str) -> str:
    lines = output.splitlines()
    text = " / ".join(line.strip() for line in lines[-_OUTPUT_LINES:]) or "(no output)"
    return f"... {text}" if len(lines) > _OUTPUT_LINES else text


def log(history: History) -> Iterator[Finding]:
    """How much of what it wrote in its last run is in no log."""
    for event in reversed(history.events):
        if event.kind == events.RECORDER and event.action == "log-lost":
            count, driver = int(event.attributes["records"]), event.attributes["driver"]
            text = (
                f"{count} records of what it wrote were lost, because the log driver `{driver}` "
                "could not take them: the disk was full, or its server slow or down."
            )
            yield finding("log", NOTE, text, at_ns=event.at_ns, Records=count, Driver=driver)
        if event.action == "start":
            return


def resources(history: History) -> Iterator[Finding]:
    """Whether it lives at its limits, by the last samples."""
    if not history.samples:
        return
    last = history.samples[-1]
    limit, peak = last.get("limit"), last.get("peak")
    if limit and peak is not None and peak >= limit * _NEARLY and not last.get("oom_kills"):
        text = (
            f"Its memory was nearly used up: {words.size(peak)} of {words.size(limit)}. Caches "
            "count, so this need not be a problem."
        )
        yield finding("resources", NOTE, text, LimitBytes=limit, PeakBytes=peak)
    begun_s = _begun_s(history)
    throttled_s = last.get("throttled_ns", 0) / 1e9
    if begun_s is not None and throttled_s > 1.0:
        ran_s = max(0.001, last["at"] / 1e9 - begun_s)
        if throttled_s / ran_s > 1 - _NEARLY:
            text = (
                f"It waited {throttled_s:.0f} seconds because of its limit of processor time, in "
                f"{last.get('throttled', 0)} periods."
            )
            yield finding("resources", NOTE, text, ThrottledSeconds=throttled_s)
    if history.row is not None and history.row.running:
        memory, cpu_s = last.get("memory"), last.get("cpu_ns", 0) / 1e9
        age_s = max(0.0, time.time() - last["at"] / 1e9)
        parts = [f"{cpu_s:.1f} s of processor time", f"{last.get('pids', 0)} processes"]
        if memory is not None:
            parts.insert(0, f"{words.size(memory)} of memory")
        text = f"It used {', '.join(parts)} when that was last noted, {words.lasted(age_s)} ago."
        yield finding("resources", OK, text, Sample=last)


def _begun_s(history: History) -> float | None:
    if not history.runs or history.runs[-1].start is None:
        return None
    return history.runs[-1].start.at_ns / 1e9
