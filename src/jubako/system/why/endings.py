"""Why a container is not running: how its last run ended, or why no run began."""

from __future__ import annotations

from jubako.system.why import words
from jubako.system.why.findings import NOTE, OK, PROBLEM, finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.store.events import Event
    from jubako.system.why.findings import Finding
    from jubako.system.why.history import History, Run

_KILLED = 137  # 128 + SIGKILL
_BY_SIGNAL = 128


def start_failure(history: History) -> Iterator[Finding]:
    """The error of a start that failed."""
    event = history.failed_start
    if event is None:
        return
    error = event.attributes.get("error", "")
    code = event.attributes.get("exitCode", "")
    yield finding(
        "start",
        PROBLEM,
        f"It could not be started at {words.moment(event.at_ns)}: {error}.",
        at_ns=event.at_ns,
        Error=error,
        ExitCode=int(code) if code.isdigit() else None,
    )


def last_end(history: History) -> Iterator[Finding]:
    """How the last run that has ended did."""
    ended = [run for run in history.runs if run.end is not None]
    if not ended:
        yield from _from_row(history)
        return
    run = ended[-1]
    assert run.end is not None
    code = int(run.end.attributes.get("exitCode", "0"))
    level, cause, text = _cause(history, run, code)
    ran = "" if run.lasted_s is None else f" after {words.lasted(run.lasted_s)}"
    yield finding(
        "end",
        level,
        f"It ended at {words.moment(run.end.at_ns)}{ran} with exit code {code}: {text}",
        at_ns=run.end.at_ns,
        ExitCode=code,
        Cause=cause,
        Signal=words.signal_name(code - _BY_SIGNAL) if _is_signal(code) else None,
        RanSeconds=run.lasted_s,
        By=_sender(run),
    )
    if run.all("oom"):
        yield _out_of_memory(history, run, fatal=cause == "oom")
    error = run.end.notes.get("error")
    if error:
        yield finding("end", PROBLEM, f"Not everything could be taken down: {error}.", Error=error)


def _from_row(history: History) -> Iterator[Finding]:
    """The end of a container whose events are older than what is kept."""
    row = history.row
    if row is None or row.active or row.status not in ("exited", "dead"):
        return
    text = f"It ended with exit code {row.exit_code}; its events are too old to tell more."
    yield finding("end", NOTE, text, ExitCode=row.exit_code, Cause="unknown")


def _is_signal(code: int) -> bool:
    return _BY_SIGNAL < code <= _BY_SIGNAL + 64


def _sender(run: Run) -> object:
    kills = run.all("kill")
    return kills[-1].notes.get("by") if kills else None


def _cause(history: History, run: Run, code: int) -> tuple[str, str, str]:
    """Level, a word for programs, and the sentence's end."""
    assert run.end is not None
    if run.end.notes.get("monitor_died"):
        return _monitor_died(run.end)
    kills = run.all("kill")
    sent = [event for event in kills if _is_signal(code) and _number(event) == code - _BY_SIGNAL]
    if run.all("oom") and code == _KILLED and not sent:
        return PROBLEM, "oom", "the kernel killed it, for it wanted more memory than it may have."
    if sent:
        return _killed(history, kills, sent[-1])
    if kills and _is_request(kills[-1]):
        return _asked(kills[-1], code)
    if _is_signal(code):
        return _own_signal(code)
    if code == 0:
        return OK, "exited", "it ended by itself and reports success."
    meaning = words.exit_code(code)
    return (
        PROBLEM,
        "exited",
        f"it ended by itself{f' ({meaning})' if meaning else ''}; "
        f"`jubako logs {history.name}` may say why.",
    )


def _number(event: Event) -> int:
    text = event.attributes.get("signal", "0")
    return int(text) if text.isdigit() else 0


def _is_request(event: Event) -> bool:
    """Whether a signal usually asks a program to end."""
    return words.signal_name(_number(event)) in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP")


def _monitor_died(end: Event) -> tuple[str, str, str]:
    if end.notes.get("reboot"):
        text = "the machine went down while it ran; nobody could record its exit code."
        return PROBLEM, "reboot", text
    text = (
        "the process that watches over it died (killed, or a bug), and the kernel killed the "
        "container with it. `dmesg` tells whether the host ran out of memory."
    )
    return PROBLEM, "monitor-died", text


def _killed(history: History, kills: list[Event], last: Event) -> tuple[str, str, str]:
    """By a signal that a command of ours has sent."""
    name = words.signal_name(_number(last))
    by = words.who(last.notes.get("by"))
    asked = [event for event in kills if event.id < last.id and _is_request(event)]
    if name == "SIGKILL" and asked:
        first = words.signal_name(_number(asked[-1]))
        waited_s = (last.at_ns - asked[-1].at_ns) / 1e9
        text = (
            f"{by}, sent {first}, which the program did not follow, and killed it "
            f"{waited_s:.1f} seconds later (SIGKILL). {_ignored(first)}"
        )
        return NOTE, "stopped", text
    return NOTE, "killed", f"{by}, sent {name}."


def _ignored(first: str) -> str:
    return (
        f"A first process that installs no handler for {first} does not get it: try `--init`, or "
        "`exec` in a shell script."
    )


def _asked(event: Event, code: int) -> tuple[str, str, str]:
    name = words.signal_name(_number(event))
    by = words.who(event.notes.get("by"))
    return NOTE, "stopped", f"{by}, sent {name}, and the program ended in its own way."


def _own_signal(code: int) -> tuple[str, str, str]:
    number = code - _BY_SIGNAL
    meaning = words.signal_meaning(number)
    text = (
        f"{words.signal_name(number)}{f' ({meaning})' if meaning else ''}. No command of Jubako "
        "sent it: the kernel did, or a process inside or on the host, or the program chose this "
        "number, as shells do for a command that died of a signal."
    )
    return PROBLEM, "signal", text


def _out_of_memory(history: History, run: Run, *, fatal: bool) -> Finding:
    """The numbers of the OOM killer, from the last sample of the run."""
    assert run.end is not None
    oom = run.all("oom")[-1]
    used = [sample for sample in history.samples if sample["at"] <= run.end.at_ns]
    last = used[-1] if used else {}
    limit, peak, kills = last.get("limit"), last.get("peak"), last.get("oom_kills")
    numbers = []
    if limit is not None:
        numbers.append(f"its limit is {words.size(limit)}")
    if peak is not None:
        numbers.append(f"it used {words.size(peak)} at most")
    if kills:
        numbers.append(f"{kills} process{'es were' if kills > 1 else ' was'} killed")
    who = "Its first process was among those killed." if fatal else "Its first process survived it."
    text = f"Out of memory: {', '.join(numbers) or 'no numbers were kept'}. {who}"
    if limit is not None:
        text += " Give it more with `--memory`, or find out what it needs it for."
    return finding(
        "oom",
        PROBLEM,
        text,
        at_ns=oom.at_ns,
        LimitBytes=limit,
        PeakBytes=peak,
        Kills=kills,
    )
