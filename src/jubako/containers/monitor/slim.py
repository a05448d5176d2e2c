"""Making a monitor small once its container has run for a while.

A monitor is forked from a command and has in memory what creating and starting took: measured,
12 MB, where serving needs less than half.  A fresh interpreter at the start would cost every start
20 ms; so the monitor replaces itself later, by execve(2), when it has a quiet moment:

    monitor ── memfd: state as JSON, descriptors inheritable ── execve ──> python -I -S ── main()

The process stays the same: its PID, its children (init), its locks, its mount namespace and its
being a subreaper survive an exec.  A container that ends before is not touched by any of this.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from jubako.containers import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.monitor.supervisor import Supervisor
    from jubako.containers.services import Services

AFTER_S = 1.0  # most containers that end soon have ended by then
RETRY_S = 5.0  # a client was attached, or a connection proxied


def schedule(supervisor: Supervisor) -> None:
    """Let the monitor replace itself when it has nothing to do."""

    def attempt() -> None:
        network = supervisor.network
        if supervisor.streams.idle and (network is None or network.idle):
            _replace(supervisor, clients=[])
        supervisor.loop.call_later(RETRY_S, attempt)

    supervisor.loop.call_later(AFTER_S, attempt)


def renew(supervisor: Supervisor) -> None:
    """Let the program that is installed now take down a container that has ended.

    What the end imports would be of another version than what is in memory here.  The new program
    finds that init has ended, which is not reaped yet.  Returns only if that is impossible.
    """
    streams = supervisor.streams
    if supervisor.checks is not None:
        supervisor.checks.close()
        supervisor.checks = None
    if supervisor.network is not None:
        supervisor.network.close()
        supervisor.network = None
    ended = os.waitid(os.P_PID, supervisor.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status
    streams.drain()
    clients = streams.hand_over_clients(code)
    if streams.idle:
        _replace(supervisor, clients)


def _replace(supervisor: Supervisor, clients: list[list[int]]) -> None:
    """Become the small program; returns only if that is impossible.

    The program may be of another version: keys of the state are added, and never change.
    """
    fds = {
        "pidfd": supervisor.pidfd,
        "listener": supervisor.listener.fileno(),
        "host_mounts": supervisor.host_mounts,
        "lock": supervisor.lock_fd,
    }
    if supervisor.layer_mounts >= 0:
        fds["layer_mounts"] = supervisor.layer_mounts
    state = {
        "root": supervisor.root,
        "container_id": supervisor.container_id,
        "pid": supervisor.pid,
        "started_s": supervisor.started_s,
        "delay_s": supervisor.delay_s,
        "fds": fds,
        "clients": clients,
        "streams": supervisor.streams.hand_over(),
        "recorder": None if supervisor.recorder is None else supervisor.recorder.hand_over(),
        "checks": None if supervisor.checks is None else supervisor.checks.hand_over(),
        "network": None if supervisor.network is None else supervisor.network.hand_over(),
    }
    memory = os.memfd_create("jubako-monitor", 0)
    os.write(memory, json.dumps(state).encode())
    for fd in (memory, *fds.values()):
        os.set_inheritable(fd, True)
    try:
        interpreter.replace("monitor.slim", memory)
    except OSError:
        os.close(memory)  # the interpreter was upgraded away, or memory is short: stay as we are


def main() -> None:
    """The new program: go on where the old one was.  Never returns."""
    from jubako.containers.monitor import supervisor
    from jubako.containers.streams import stdio
    from jubako.linux.loop import EventLoop

    try:
        state = _read(int(sys.argv[1]))
        _name_process()
        fds = state["fds"]
        for fd in fds.values():
            os.set_inheritable(fd, False)
        loop = EventLoop()
        services = _Opener(state["root"])
        resumed = supervisor.Supervisor(
            loop,
            stdio.Stdio.take_over(loop, state["streams"]),
            services,
            root=state["root"],
            container_id=state["container_id"],
            pid=state["pid"],
            pidfd=fds["pidfd"],
            listener=socket.socket(fileno=fds["listener"]),
            host_mounts=fds["host_mounts"],
            layer_mounts=fds.get("layer_mounts", -1),
            lock_fd=fds["lock"],
            started_s=state["started_s"],
            delay_s=state["delay_s"],
        )
        for fd, wants_output in state["clients"]:
            os.set_inheritable(fd, False)
            client = resumed.streams.add(socket.socket(fileno=fd))
            client.greet(wants_stdin=False, wants_output=bool(wants_output))
        if state["network"] is not None:
            from jubako.networks.serving import Serving

            resumed.network = Serving.take_over(loop, state["network"], services.repair_network)
        if state["checks"] is not None:
            from jubako.containers.monitor.checks import Checks

            resumed.checks = Checks.take_over(loop, state["checks"])
        if state["recorder"] is not None:
            from jubako.containers.monitor.recorder import Recorder

            resumed.recorder = Recorder.take_over(loop, state["recorder"])
        resumed.serve()
    finally:
        os._exit(0)


def _read(memory: int) -> dict[str, Any]:
    os.lseek(memory, 0, os.SEEK_SET)
    with open(memory, "rb") as file:
        state: dict[str, Any] = json.load(file)
    return state


def _name_process() -> None:
    with open("/proc/self/comm", "w") as file:
        file.write("jubako-monitor")


class _Opener:
    """The services of a root, opened at the first call."""

    def __init__(self, root: str):
        self._root = root
        self._services: Services | None = None

    def __call__(self) -> Services:
        if self._services is None:
            from jubako.containers.services import Services
            from jubako.store import Store

            self._services = Services(Store(self._root))
        return self._services

    def repair_network(self) -> None:
        self().networks.repair()
