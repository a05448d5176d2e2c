"""One health check: a process of its own, because a monitor must stay small.

    monitor ──spawn──> probe ──(runtime)──> the test, in the container
       │                 │ result, health, event: one transaction
       │ <── exit code ── ╵ the new status; then it acts on `unhealthy`, if it is to

The test is an exec like any other: `inspect` and `events` show it.  It dies with the probe, and the
probe with the monitor.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

from jubako.containers import events
from jubako.containers.exec.table import EXIT_KILLED, ExecTable, new_id
from jubako.containers.monitor import health
from jubako.errors import JubakoError, NotFound, WrongState
from jubako.linux import ns, pidfd, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.runtime import Process

NOT_CHECKED = 64  # exit code: the container is paused, or has ended

_READ_BYTES = 1 << 16
_NO_RESULT = -1  # the exit code of a test that did not end, or could not be started


def main() -> None:
    """The entry point of the interpreter that `monitor.checks` starts.  Never returns."""
    root, container_id, pid, started_s, monitor, host_mounts = sys.argv[1:]
    code = NOT_CHECKED
    try:
        prctl.set_name("jubako-health")
        prctl.set_pdeathsig(signal.SIGKILL, why="a check must not outlive the monitor")
        prctl.set_child_subreaper(why="a runtime that is a program leaves its process to us")
        if os.getppid() == int(monitor):
            from jubako.containers.services import Services
            from jubako.store import Store

            services = Services(Store(root))
            code = Probe(services, container_id, int(pid), float(started_s), host_mounts).run()
    finally:
        os._exit(code)


class Probe:
    """A check of the container whose init is `pid` and was started at `started_s` (monotonic).

    host_mounts: the path of the host's mount namespace; the monitor's is another one.
    """

    def __init__(
        self, services: Services, container_id: str, pid: int, started_s: float, host_mounts: str
    ):
        self._services = services
        self._id = container_id
        self._pid = pid
        self._started_s = started_s
        self._host_mounts = host_mounts

    def run(self) -> int:
        """Check, record, act; the exit code that tells the monitor."""
        container = self._current()
        if container is None:
            return NOT_CHECKED
        since_start_s = time.monotonic() - self._started_s
        try:
            result = self._test(container)
            current = self._record(result, since_start_s)
        except (WrongState, NotFound):  # it has ended meanwhile, or was paused
            return NOT_CHECKED
        if current is None:
            return NOT_CHECKED
        if current == health.UNHEALTHY:
            self._act(container)
        return next(code for code, status in health.EXIT_CODES.items() if status == current)

    def _current(self) -> Container | None:
        """The row, if the same run of the container still goes on, and not in the freezer."""
        container = self._services.table.find(self._id)
        if container is None or container.status != "running" or container.pid != self._pid:
            return None
        return container

    # the test

    def _test(self, container: Container) -> dict[str, Any]:
        """Execute it; its result as `inspect` shows it.  Raises WrongState: there is none."""
        from jubako.containers.exec.execute import new_record
        from jubako.containers.times import now

        record = new_record({"Cmd": health.command(container.record["Config"])})
        execs = ExecTable(self._services.store)
        start = now()
        exec_id = new_id()
        execs.create_running(container, exec_id, record, os.getpid())
        reader, writer = os.pipe2(os.O_CLOEXEC)
        with open(reader, "rb", buffering=0) as pipe:
            try:
                process = self._start(container, record, writer)
            except (WrongState, NotFound):
                raise
            except JubakoError as exc:
                execs.failed(exec_id, exc.exit_code)
                code, output = _NO_RESULT, str(exc)
            else:
                execs.started(exec_id, process.pid, record)
                code, output = self._await(container, process, pipe.fileno())
                execs.ended(container.record, exec_id, EXIT_KILLED if code == _NO_RESULT else code)
        return {"Start": start, "End": now(), "ExitCode": code, "Output": output}

    def _start(self, container: Container, record: Any, writer: int) -> Process:
        from jubako.containers.exec.process import exec_process
        from jubako.runtime import Stdio

        try:
            with self._services.expecting_running(container) as runtime:
                spec = exec_process(container.record, container.pid, record)
                streams = Stdio(-1, writer, writer)
                return runtime.exec(container.id, spec, streams, die_with_parent=True)
        finally:
            os.close(writer)

    def _await(self, container: Container, process: Process, pipe: int) -> tuple[int, str]:
        """Until it has ended; kill it when it takes too long.  Exit code and output."""
        check = container.record["Config"]["Healthcheck"]
        timeout_s = health.seconds(check, "Timeout")
        output = _Output(pipe)
        ended = output.read_until(process.pidfd, time.monotonic() + timeout_s)
        counts = ended or self._current() is not None  # what is frozen is not late
        if not ended:
            _kill(process)
        status = pidfd.wait(process.pidfd)
        output.read_rest()
        text = health.text_of(bytes(output.data))
        if ended and status is not None:
            return status, text
        if not counts:
            raise WrongState(f"container {container.id} is not running")
        late = f"Health check exceeded timeout ({health.duration_text(timeout_s)})"
        return _NO_RESULT, f"{late}: {text}" if text else late

    # the result

    def _record(self, result: dict[str, Any], since_start_s: float) -> str | None:
        """Write down what a result makes of the health; the status, None if it does not count."""
        with self._services.store.transaction():
            container = self._current()
            if container is None or container.health is None:
                return None
            check = container.record["Config"]["Healthcheck"]
            after = health.step(container.health, result, check, since_start_s=since_start_s)
            self._services.table.update(container.id, health=after)
            status: str = after["Status"]
            if status != container.health["Status"]:
                action = f"health_status: {status}"
                said = {"output": result["Output"], "exit_code": result["ExitCode"]}
                events.emit(self._services.store, container.record, action, notes=said)
            return status

    def _act(self, container: Container) -> None:
        """`--health-on-failure`, in a process that outlives the monitor, which is to end."""
        action = container.record["HostConfig"].get("HealthOnFailure")
        if not action:
            return
        with open(self._host_mounts) as namespace:
            ns.setns(
                namespace.fileno(), ns.CLONE_NEWNS, why="what starts next is not the monitor's"
            )
        self._services.close()  # a connection does not survive a fork
        if os.fork() > 0:
            return
        try:
            from jubako.containers.lifecycle import Lifecycle

            os.setsid()
            sys.argv = ["jubako-health", action]  # who did it, for the events
            lifecycle = Lifecycle(self._services)
            with contextlib.suppress(JubakoError):  # it has ended, or another command is faster
                if action == "kill":
                    lifecycle.kill_unasked(container.id)
                elif action == "stop":
                    lifecycle.stop(container.id)
                else:
                    lifecycle.restart(container.id)
        finally:
            os._exit(0)


def _kill(process: Process) -> None:
    """Kill a process, and what it has started and is in its group, if it leads one."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:  # ours to reap: the number is not used again
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        pidfd.send_signal(process.pidfd, signal.SIGKILL, why="the check took too long")


class _Output:
    """The beginning of what comes out of a pipe; the rest is read and forgotten."""

    def __init__(self, pipe: int):
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self.data = bytearray()

    def read_until(self, handle: int, deadline: float) -> bool:
        """Read until a process has ended; False when the time is over before."""
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(self._pipe, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = [fd for fd, _ in poll.poll(left * 1000 + 1)]
            if handle in ready:
                return True
            if ready and self._read() == 0:
                poll.unregister(self._pipe)
        return False

    def read_rest(self) -> None:
        """What is in the pipe now; a process that the test left behind may keep it open."""
        while len(self.data) <= health.MAX_OUTPUT_BYTES and self._read():
            pass

    def _read(self) -> int | None:
        """The number of bytes; 0 at the end, None when there are none now."""
        try:
            data = os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return None
        self.data += data[: max(0, health.MAX_OUTPUT_BYTES + 1 - len(self.data))]
        return len(data)
