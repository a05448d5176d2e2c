"""The sampler in a container's monitor: what the container uses, every now and then.

    containers/<id>/samples     one JSON object a line, while it runs
    table samples               the same, from its end on (`jubako.containers.monitor.samples`)

    {"at": 1795728876472439371, "memory": 1048576, "peak": 2097152, "limit": 67108864,
     "cpu_ns": 12000000, "pids": 1, "throttled": 0, "throttled_ns": 0, "oom_kills": 0}

A value that this host cannot tell is left out; a limit that does not exist is, too.  This module is
part of the small monitor: it imports next to nothing and knows no database.
"""

from __future__ import annotations

import os
import time

from jubako.linux.loop import HANGUP, PRIORITY, READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.linux.loop import EventLoop

    # name of a value, file, key in the file ("" is all of it), what to multiply with
    Place = Sequence[Any]

FILE = "samples"
MAX_BYTES = 1 << 18  # some 1,400 samples: half a day without a gap, then older ones further apart
_READ_BYTES = 1 << 14
_COUNTED_S = 0.05  # from the kernel's word to its counter
_NO_LIMIT = 1 << 60  # v1 says "no limit" with a number near 2**63


class Recorder:
    """Samples one container until it is closed.

    root: of the store.  places: where the values are (`samples.places`).  due_s, told_kills (how
    often the kernel had killed for want of memory when that was last told), teller (the process
    that tells it): where an earlier object has left off.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        root: str,
        container_id: str,
        places: Sequence[Place],
        interval_s: float,
        due_s: float | None = None,
        told_kills: int = 0,
        teller: int = 0,
    ):
        self._loop = loop
        self._root = root
        self._container_id = container_id
        self._places = places
        self._interval_s = interval_s
        self._due_s = time.monotonic() + interval_s if due_s is None else due_s
        self._told_kills = told_kills
        self._teller = teller
        self._watched: list[int] = []
        self._closed = False
        self._timer = loop.call_later(max(0.0, self._due_s - time.monotonic()), self._tick)

    def watch_oom(self) -> None:
        """Let the kernel say when it kills for want of memory, as far as it can.

        Version 1 has an eventfd for that (cgroup-v1/memory.rst, 9), in version 2 the file itself
        can be polled.  Both may tell a moment before the counter grows.
        """
        path = next((path for name, path, _, _ in self._places if name == "oom_kills"), "")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self._watched.append(fd)
        directory, name = os.path.split(path)
        try:
            if name == "memory.oom_control":
                told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._watched.append(told)
                with open(f"{directory}/cgroup.event_control", "w") as control:
                    control.write(f"{told} {fd}")
                self._loop.add(told, READ, lambda events: self._oom_told(told))
            else:
                self._loop.add(fd, HANGUP | PRIORITY, lambda events: self._oom_told(fd))
        except OSError:
            return  # the next sample sees it

    def _oom_told(self, fd: int) -> None:
        try:
            if fd == self._watched[0]:
                os.pread(fd, _READ_BYTES, 0)  # who has read it is told of the next change
            else:
                os.eventfd_read(fd)
        except OSError:  # ENODEV: the cgroup is being removed
            self._loop.remove(fd)
            return
        self._loop.call_later(_COUNTED_S, self._check_oom)

    def _check_oom(self) -> None:
        if self._closed:
            return
        self._reap()
        kills = sample(self._places)[1]
        if kills > self._told_kills and not self._teller:
            self._told_kills = kills
            self._tell_oom()

    def _tick(self) -> None:
        path = f"{self._root}/containers/{self._container_id}/{FILE}"
        append(path, sample(self._places)[0])
        self._check_oom()
        self._due_s = time.monotonic() + self._interval_s
        self._timer = self._loop.call_later(self._interval_s, self._tick)

    def _tell_oom(self) -> None:
        """The event `oom` of a container that goes on: a process for it, which knows the database.

        It is reaped when the next sample is due.
        """
        from jubako.containers import interpreter
        from jubako.errors import KernelError

        try:
            self._teller = interpreter.spawn("monitor.oom_event", self._root, self._container_id)
        except KernelError:
            return  # `why` reads the samples

    def _reap(self, *, block: bool = False) -> None:
        if self._teller and os.waitpid(self._teller, 0 if block else os.WNOHANG)[0]:
            self._teller = 0

    def close(self) -> tuple[str, bool]:
        """The container has ended, and its cgroup is still there: the last sample, and whether an
        event `oom` is due."""
        self._timer.cancel()
        self._closed = True
        self._reap(block=True)
        for fd in self._watched:
            self._loop.remove(fd)
            os.close(fd)
        self._watched.clear()
        line, kills = sample(self._places)
        return line, kills > self._told_kills

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of after an exec."""
        return {
            "root": self._root,
            "container_id": self._container_id,
            "places": [list(place) for place in self._places],
            "interval_s": self._interval_s,
            "due_s": self._due_s,
            "told_kills": self._told_kills,
            "teller": self._teller,
        }

    @classmethod
    def take_over(cls, loop: EventLoop, state: dict[str, Any]) -> Recorder:
        """Go on with what `hand_over` described."""
        recorder = cls(loop, **state)
        recorder.watch_oom()
        loop.call_later(0, recorder._check_oom)  # what happened before that
        return recorder


def sample(places: Sequence[Place]) -> tuple[str, int]:
    """One line of JSON, and how often the kernel has killed for want of memory."""
    contents: dict[str, str] = {}
    values: list[str] = [f'"at": {time.time_ns()}']
    kills = 0
    for name, path, key, factor in places:
        if path not in contents:
            contents[path] = _read(path)
        value = _value(contents[path], key)
        if value is None or (name == "limit" and value >= _NO_LIMIT):
            continue
        values.append(f'"{name}": {value * factor}')
        if name == "oom_kills":
            kills = value
    return "{" + ", ".join(values) + "}", kills


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _READ_BYTES).decode()
    except OSError:  # ENODEV: the cgroup is being removed
        return ""
    finally:
        os.close(fd)


def _value(content: str, key: str) -> int | None:
    """The number in a file, or of `key` in a file of lines `key number`."""
    if key:
        at = f"\n{content}".find(f"\n{key} ")
        if at < 0:
            return None
        content = content[at + len(key) + 1 :].partition("\n")[0]
    content = content.strip()
    return int(content) if content.isdigit() else None


def append(path: str, line: str) -> None:
    """Add a sample to a file, and thin it out when it is too long.  A full disk loses samples."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, f"{line}\n".encode())
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        if size > MAX_BYTES:
            _thin(path)
    except OSError:
        return


def _thin(path: str) -> None:
    """Drop every second sample of all but the newest quarter."""
    with open(path, "rb") as file:
        lines = file.read(2 * MAX_BYTES).splitlines(keepends=True)
    kept = len(lines) * 3 // 4
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.writelines([*lines[:kept:2], *lines[kept:]])
    os.rename(temporary, path)
