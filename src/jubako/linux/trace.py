"""A trace of everything that changes the kernel's state.

A function that does so is decorated with `traced`, whose argument renders the call the way a shell
tool would have written it.  With no sink installed the cost is one test of a global:

    @traced(lambda target, flags=0, *, why="": f"umount {target}")
    def umount2(target: str, flags: int = 0, *, why: str = "") -> None: ...

    with to(print_event):
        umount2("/mnt", why="the container has ended")

`why` is the reason of the caller, in plain words: a clause that a reader understands who knows
containers from using them.  Where no tool does what a system call does, the rendering is a comment
of the shell, `# open_tree(2) ...`.

A forked child inherits the sink, so a sink that writes to a descriptor collects the events of the
monitor and of the container's init as well; a monitor of another command can be invited to join
(`invite`, `accept`).  `jubako.linux.explain` makes a text of the events.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Event:
    """One operation on the kernel.

    op: the function's name.  facility: its module, "mount", "cgroups.files".  shell: the equivalent
    command line.  why: the caller's reason or "".  facts: the arguments, as JSON knows them.
    pid: who did it, as seen from outside as long as it could tell.  role, stage: see `set_role`.
    started_s: time.monotonic().  duration_s: how long.  error: None on success.
    """

    __slots__ = __match_args__ = (
        "op", "facility", "shell", "why", "facts", "pid", "role", "stage", "started_s",
        "duration_s", "error",
    )  # fmt: skip

    def __init__(
        self,
        op: str,
        facility: str,
        shell: str,
        why: str,
        facts: dict[str, Any],
        started_s: float,
        duration_s: float,
        error: str | None = None,
    ):
        self.op = op
        self.facility = facility
        self.shell = shell
        self.why = why
        self.facts = facts
        self.pid = _outer_pid()
        self.role = _role
        self.stage = _stage
        self.started_s = started_s - _skew_s
        self.duration_s = duration_s
        self.error = error

    def line(self) -> str:
        """One line for a person: duration, command, reason."""
        text = f"{self.duration_s * 1000:8.3f} ms  {self.shell}"
        if self.why:
            text += f"  # {self.why}"
        if self.error:
            text += f"  -> {self.error}"
        return text


class Lines:
    """A sink that writes one line for each event to a descriptor, which it does not own."""

    __slots__ = ("descriptor", "_encode")

    def __init__(self, descriptor: int, encode: Callable[[Event], bytes]):
        self.descriptor = descriptor
        self._encode = encode

    def __call__(self, event: Event) -> None:
        try:
            os.write(self.descriptor, self._encode(event))
        except OSError:
            pass  # a trace that nobody reads any more must not stop what it describes


_VARIABLE = "JUBAKO_TRACE"

_sink: Callable[[Event], None] | None = None
_role = ""
_stage = ""
_skew_s = 0.0
_pids = (0, 0)  # what getpid(2) says, and the number that it stands for outside


def set_sink(sink: Callable[[Event], None] | None) -> Callable[[Event], None] | None:
    """Send the events of this process and its future children to `sink`; returns the last one."""
    global _sink
    previous, _sink = _sink, sink
    return previous


def set_role(role: str) -> None:
    """What this process is from here on: "" for the command, "monitor", "init", "exec"."""
    global _role
    _role = role


def set_stage(stage: str) -> str:
    """What this process is doing from here on: "" for making things, "end" for taking them down,
    "layers" for mounting those of an image.

    Returns the last one.
    """
    global _stage
    previous, _stage = _stage, stage
    return previous


def clock_moved(by_s: float) -> None:
    """The monotonic clock of this process now says `by_s` more than before (time_namespaces(7))."""
    global _skew_s
    _skew_s += by_s


def descriptor() -> int:
    """The descriptor that the sink writes to, -1 without: who closes all others keeps it."""
    return _sink.descriptor if isinstance(_sink, Lines) else -1


class to:
    """Context manager: events go to `sink` inside the block."""

    def __init__(self, sink: Callable[[Event], None]):
        self._new = sink
        self._old: Callable[[Event], None] | None = None

    def __enter__(self) -> None:
        self._old = set_sink(self._new)

    def __exit__(self, *exc: object) -> None:
        set_sink(self._old)


def to_descriptor(fd: int) -> Lines:
    """A sink of lines for a person."""

    def encode(event: Event) -> bytes:
        return f"[{event.pid}] {event.line()}\n".encode(errors="surrogateescape")

    return Lines(fd, encode)


def to_pipe(fd: int) -> Lines:
    """A sink of lines of JSON, each an array in the order of `Event.__slots__`.

    fd: the pipe's descriptor, which does not block and is open for reading too, so that a writer
    gets no SIGPIPE when the reader has ended.
    """
    from json import JSONEncoder  # now: inside a container nothing may be imported

    encoder = JSONEncoder(separators=(",", ":"))
    fields = Event.__slots__

    def encode(event: Event) -> bytes:
        values = [getattr(event, field) for field in fields]
        return encoder.encode(values).encode() + b"\n"

    return Lines(fd, encode)


def from_values(values: list[Any]) -> Event:
    """The event of one line that `to_pipe` has written.  Raises TypeError, ValueError."""
    event = Event.__new__(Event)
    for field, value in zip(Event.__slots__, values, strict=True):
        setattr(event, field, value)
    return event


def listening() -> bool:
    """Whether anybody would see an event: for callers whose rendering alone is expensive."""
    return _sink is not None


def invitation() -> str:
    """What another process needs to `join`; "" when the sink is no pipe."""
    fd = descriptor()
    if fd < 0:
        return ""
    return f"/proc/{os.getpid()}/fd/{fd}:{os.fstat(fd).st_ino}"


def join(invitation: str) -> bool:
    """Send events to the process that the `invitation` is from; False if that has ended, also when
    another process has its number by now."""
    target, _, inode = invitation.rpartition(":")
    if not target or _sink is not None:
        return False
    try:
        fd = os.open(target, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    if str(os.fstat(fd).st_ino) != inode:
        os.close(fd)
        return False
    set_sink(to_pipe(fd))
    return True


def invite(path: str) -> None:
    """Let the process that takes something down find our sink at `path` (see `accept`).

    path: in a directory that only root can write to; what is there is replaced.
    """
    text = invitation()
    if not text:
        return
    try:
        try:
            os.symlink(text, path)
        except FileExistsError:
            os.unlink(path)
            os.symlink(text, path)
    except OSError:
        pass  # then the other's part stays untold


def accept(path: str) -> None:
    """Join whom `path` invites to, if anybody does."""
    try:
        invitation = os.readlink(path)
    except OSError:
        return
    if join(invitation):
        set_role("monitor")


def environment() -> dict[str, str]:
    """For a new interpreter that goes on with our work: see `join_from_environment`."""
    text = invitation()
    return {_VARIABLE: text} if text else {}


def join_from_environment() -> None:
    """Join who started this interpreter, if that one is traced."""
    join(os.environ.pop(_VARIABLE, ""))


def traced(
    shell: Callable[..., str],
    *,
    op: str = "",
    why: Callable[..., str] | None = None,
    facts: Callable[..., dict[str, Any]] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record calls of the decorated function.

    shell, why, facts: take the same arguments, and are called before it.  op: its name in the
    trace, if not the function's.  why: by default the argument of that name.  facts: by default
    the arguments themselves.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _sink is None:
                return function(*args, **kwargs)
            line = _rendered(shell, args, kwargs, op or function.__name__)
            nothing: dict[str, Any] = {}
            found = _rendered(facts or _arguments(function), args, kwargs, nothing)
            reason = str(kwargs.get("why", ""))
            if why is not None:
                reason = _rendered(why, args, kwargs, reason)
            started = time.monotonic()
            error: str | None = None
            try:
                return function(*args, **kwargs)
            except Exception as exc:
                error = str(exc)
                raise
            finally:
                sink = _sink
                if sink is not None:
                    duration = time.monotonic() - started
                    facility = function.__module__.removeprefix("jubako.").removeprefix("linux.")
                    name = op or function.__name__
                    sink(Event(name, facility, line, reason, found, started, duration, error))

        call.__name__ = function.__name__
        call.__qualname__ = function.__qualname__
        call.__doc__ = function.__doc__
        call.__module__ = function.__module__
        call.__wrapped__ = function  # type: ignore[attr-defined]  # as functools.wraps does
        return call

    return decorate


def note(op: str, facility: str, shell: str, why: str, started_s: float, **facts: Any) -> None:
    """Record what no decorator can: a fork returns twice, an exec not at all.

    started_s: time.monotonic() before it.
    """
    sink = _sink
    if sink is not None:
        duration = time.monotonic() - started_s
        sink(Event(op, facility, shell, why, facts, started_s, duration))


def _rendered(render: Callable[..., R], args: Any, kwargs: Any, otherwise: R) -> R:
    try:
        return render(*args, **kwargs)
    except Exception:  # a trace must not stop what it describes
        return otherwise


def _arguments(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    def bind(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = dict(zip(names, args, strict=False)) | kwargs
        return {key: plain(value) for key, value in given.items() if key not in ("self", "why")}

    return bind


def plain(value: Any) -> Any:
    """The same as JSON knows it; bytes by their number, objects by their text."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def _outer_pid() -> int:
    """Our PID as /proc shows it: until a container's own is mounted that is the host's number."""
    global _pids
    own = os.getpid()
    if _pids[0] != own:
        try:
            _pids = (own, int(os.readlink("/proc/self")))
        except (OSError, ValueError):
            _pids = (own, own)
    return _pids[1]


def place(fd: int) -> str:
    """Where an open file is, for a command line."""
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"/proc/{_outer_pid()}/fd/{fd}"
    return inside(path) if path.startswith("/") else namespace(fd)


def here() -> str:
    """Where the working directory is, for a command line."""
    try:
        return inside(os.readlink("/proc/self/cwd"))
    except OSError:
        return "."


def inside(path: str) -> str:
    """The host's name of a path in the tree of `set_root`."""
    return _root + path.rstrip("/") or "/"


def namespace(fd: int) -> str:
    """A path by which another process finds what has none: a namespace, a pipe."""
    return f"/proc/{_outer_pid()}/fd/{fd}"


_root = ""


def set_root(path: str) -> None:
    """Where the host has the tree whose paths `place` finds; "" when they are the host's own."""
    global _root
    _root = path
