"""Numbers in words: exit codes, signals, sizes, times, who did it."""

from __future__ import annotations

import signal
import time

from jubako.containers.listing import human_duration
from jubako.containers.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# What programs say with their exit codes by convention; sysexits.h is little used.
_CODES = {
    0: "success",
    1: "a general error",
    2: "wrong use, as shells and many programs say it",
    125: "an error of the engine or of a tool that was to start the program",
    126: "the program could not be executed",
    127: "the program was not found",
    130: "interrupted, as shells say it",
    255: "an error, or a number below zero",
}
_SIGNALS = {
    signal.SIGHUP: "its terminal was closed, or somebody asked it to reload",
    signal.SIGINT: "interrupted, as with Ctrl-C",
    signal.SIGQUIT: "asked to quit with a core dump",
    signal.SIGILL: "an instruction that this processor does not have",
    signal.SIGABRT: "it gave up by itself (abort): an assertion or a fatal error of a library",
    signal.SIGBUS: "a bus error: a mapped file became shorter, or a disk failed",
    signal.SIGFPE: "an impossible calculation, such as a division by zero",
    signal.SIGKILL: "killed at once, which a program can neither catch nor delay",
    signal.SIGSEGV: "a segmentation fault: a bug in the program or a library",
    signal.SIGPIPE: "it wrote where nobody reads any more",
    signal.SIGTERM: "asked to end",
    signal.SIGSYS: "a system call that the seccomp profile forbids",
    signal.SIGXCPU: "it used up its limit of processor time",
    signal.SIGXFSZ: "a file became larger than its limit",
}


def signal_name(number: int) -> str:
    """`SIGTERM`; a real-time signal by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exit_code(code: int) -> str:
    """What an exit code means, as part of a sentence: `success`; "" when it says nothing."""
    return _CODES.get(code, "")


def signal_meaning(number: int) -> str:
    """Why a process dies of a signal, as part of a sentence; "" when that is not known."""
    return _SIGNALS.get(signal.Signals(number), "") if number in set(signal.Signals) else ""


def size(size_bytes: int) -> str:
    """`32.0 MiB`."""
    value, units = float(size_bytes), ["B", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}" if units[0] != "B" else f"{size_bytes} B"


def moment(at_ns: int) -> str:
    """`2024-05-06 07:08:09 (3 minutes ago)`, in the local time zone."""
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ns // 10**9))
    return f"{text} ({human_duration(max(0.0, time.time() - at_ns / 1e9)).lower()} ago)"


def lasted(duration_s: float) -> str:
    """`3 minutes`."""
    return human_duration(max(0.0, duration_s)).lower()


def who(by: Mapping[str, Any] | None) -> str:
    """`jubako stop`, run by root: from the note of an event; `somebody` without one."""
    if not by:
        return "somebody"
    person = _user(int(by.get("uid", -1)))
    if by.get("sudo_user"):
        person = f"{by['sudo_user']} (as {person})"
    return f"`{by.get('command') or 'a program'}`, run by {person}"


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


def rfc3339(at_ns: int) -> str:
    """A time for programs."""
    return timestamp(at_ns)
