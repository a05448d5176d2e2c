"""The monitor: one small process beside each running container.

    command ──fork──> ─setsid─ ──fork──> monitor ──(runtime)──> container's init (PID 1)
       │                                    │
       │ <──────────── report ───────────── │   pid, or the error of the start
       │ <═════ first attach client ═══════ │   foreground only

It sets the container up, owns its streams, writes its log, serves the attach socket, proxies the
ports that need it, and when init ends it takes everything down, records the exit and ends itself.
It holds its lock for life: whoever finds the lock free and the row's `boot_id` set knows that
the monitor died, and repairs (`jubako.containers.recover`).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time

from jubako.containers import events, logs, report
from jubako.containers.logs.plan import make_plan
from jubako.containers.monitor import health, listener, samples, slim
from jubako.containers.monitor.supervisor import Supervisor, import_end_path
from jubako.containers.services import Services
from jubako.containers.setup import Setup, start_error_code
from jubako.containers.streams.stdio import Stdio as Streams
from jubako.containers.takedown import NOTHING_LEFT, free, run_all
from jubako.errors import JubakoError
from jubako.linux import fds, prctl, trace
from jubako.linux.loop import EventLoop
from jubako.store import Store, point
from jubako.store.events import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from jubako.containers.monitor.restarting import Restart
    from jubako.containers.table import Container
    from jubako.runtime import Process


def main() -> None:
    """The entry point of the interpreter that `launching` starts.  Never returns."""
    trace.join_from_environment()
    root, container_id, *numbers = sys.argv[1:]
    detach(root, container_id, [int(number) for number in numbers])


def detach(root: str, container_id: str, descriptors: list[int]) -> NoReturn:
    """In a child of the launching process: fork the monitor, away from the session, and end.

    root: of the store, which is not open here.  descriptors: the monitor's lock, which stays
    locked until the last copy is closed; the channel for the report; the first client, if any.
    """
    status = 1
    try:
        os.setsid()
        if os.fork() == 0:
            leave_caller(descriptors)
            lock_fd, channel_fd, *client_fd = descriptors
            channel = socket.socket(fileno=channel_fd)
            client = socket.socket(fileno=client_fd[0]) if client_fd else None
            services = Services(Store(root))
            container = services.table.get(container_id)
            Monitor(services, container, lock_fd, channel=channel, client=client).main()
        status = 0
    finally:
        os._exit(status)


class Monitor:
    """The process itself.

    lock_fd: its own lock.  channel: to the command that launched it, and client: its end of the
    first attached client; or restart: the container's policy starts it.
    """

    def __init__(
        self,
        services: Services,
        container: Container,
        lock_fd: int,
        *,
        channel: socket.socket | None = None,
        client: socket.socket | None = None,
        restart: Restart | None = None,
    ):
        self._services = services
        self._container = container
        self._lock_fd = lock_fd
        self._channel = channel
        self._client = client
        self._restart = restart
        self._loop = EventLoop()
        self._setup = Setup(services, container, lasting=True)
        self._process: Process | None = None

    def main(self) -> None:
        """Start, serve, clean up.  Never returns."""
        try:
            try:
                self._streams = self._open_streams()
                process = self._process = self._create_process()
                attach_socket = self._start(process)
            except BaseException as exc:
                self._fail(exc)
            else:
                self._serve(self._setup, process, attach_socket)
        except BaseException as exc:  # nobody is left to tell but the row
            self._note(f"monitor: {report.pack_error(exc)['message']}")
        finally:
            os._exit(0)

    # start

    def _open_streams(self) -> Streams:
        config = self._container.record["Config"]
        directory = self._services.directory(self._container.id)
        plan = make_plan(self._container.record, directory)
        return Streams(
            self._loop,
            logs.open_driver(plan, self._loop),
            directory=directory,
            stdin_once=bool(config.get("StdinOnce")) and not config.get("Tty"),
        )

    def _create_process(self) -> Process:
        """Give the container its streams; ours stay with `Streams`, its own are closed here."""
        from jubako.runtime import Stdio

        config = self._container.record["Config"]
        if config.get("Tty"):
            process = self._setup.create(Stdio(-1, -1, -1))
            assert process.console is not None
            self._streams.connect(console=process.console)
            return process
        stdin = os.pipe2(os.O_CLOEXEC) if config.get("OpenStdin") else None
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        stdout, stderr = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        theirs = Stdio(stdin[0] if stdin else null, stdout[1], stderr[1])
        try:
            process = self._setup.create(theirs)
        finally:
            for fd in {null, theirs.stdin, theirs.stdout, theirs.stderr}:
                os.close(fd)
        self._streams.connect(stdin=stdin[1] if stdin else -1, stdout=stdout[0], stderr=stderr[0])
        return process

    def _start(self, process: Process) -> socket.socket:
        """Let init execute the program, and record that; returns the attach socket."""
        config = self._container.record["Config"]
        attach_socket = listener.listen(self._services.run_directory(self._container.id))
        if self._client is not None:
            stdin = bool(config.get("AttachStdin"))
            starter = self._streams.add(self._client, starter=True)
            starter.greet(wants_stdin=stdin, wants_output=True)
        self._services.runtime(self._container).start(self._container.id)
        point("containers.start.started")
        self._record_start(process)
        return attach_socket

    def _record_start(self, process: Process) -> None:
        from jubako.containers.times import now

        with self._services.store.transaction():
            self._services.table.update(
                self._container.id,
                status="running",
                pid=process.pid,
                started=now(),
                exit_code=0,
                endpoint=self._setup.endpoint or {},
                **health.begun(self._container.record["Config"], self._container.health),
            )
            events.volumes(self._services, self._container, "mount")
            events.network(self._services, self._container, "connect")
            events.emit(self._services.store, self._container.record, "start")
        if not self._container.record["HostConfig"].get("AutoRemove"):
            self._services.store.flush()
        self._report({"pid": process.pid})

    def _report(self, content: dict[str, object]) -> None:
        """Tell whoever waits for the start."""
        if self._channel is not None:
            report.send(self._channel, content)
            self._channel.close()
        if self._restart is not None:
            self._restart.done()

    def _fail(self, exc: BaseException) -> None:
        """Undo what the start did, record why it failed, and tell the launcher."""
        trace.set_stage("end")
        packed = report.pack_error(exc)
        code = start_error_code(exc) if isinstance(exc, JubakoError) else 128
        if self._process is not None:
            _kill_and_reap(self._process.pid)
        services, container = self._services, self._container
        remove = container.record["HostConfig"].get("AutoRemove")
        errors = run_all([self._setup.leave_mounts, lambda: free(services, container)])
        columns = {
            **({} if errors else NOTHING_LEFT),
            "error": packed["message"],
            "exit_code": code,
        }
        if self._restart is not None:  # it stays as the last run has left it
            columns.update(status="exited", exit_code=container.exit_code)
        failed = {"name": container.name, "error": packed["message"], "exitCode": str(code)}
        run_all([lambda: note(services.store, "start-failed", container.id, failed)])
        if not remove:
            run_all([lambda: services.table.update(container.id, **columns)])
        elif not errors:
            from jubako.containers.remove import remove_container

            run_all([lambda: remove_container(services, container, volumes=True)])
        self._report({"error": packed})

    # serve

    def _serve(self, setup: Setup, process: Process, attach_socket: socket.socket) -> None:
        if self._client is None:
            trace.set_sink(None)  # who started it has gone
        supervisor = Supervisor(
            self._loop,
            self._streams,
            lambda: self._services,
            root=self._services.store.path,
            container_id=self._container.id,
            pid=process.pid,
            pidfd=process.pidfd,
            listener=attach_socket,
            host_mounts=setup.host_mounts,
            layer_mounts=-1 if setup.layer_mounts is None else setup.layer_mounts.descriptor,
            lock_fd=self._lock_fd,
            started_s=time.monotonic(),
            delay_s=0.0 if self._restart is None else self._restart.delay_s,
        )
        if setup.endpoint:
            supervisor.network = self._services.networks.serve(
                self._loop,
                self._container.id,
                setup.endpoint,
            )
        config = self._container.record["Config"]
        if health.is_checked(config):
            from jubako.containers.monitor.checks import Checks

            supervisor.checks = Checks(
                self._loop,
                config["Healthcheck"],
                root=self._services.store.path,
                container_id=self._container.id,
                pid=process.pid,
                started_s=supervisor.started_s,
                host_mounts=setup.host_mounts,
            )
        supervisor.recorder = samples.start(self._services, self._container, self._loop)
        slim.schedule(supervisor)
        import_end_path()  # while the program starts: many end as soon as they can
        supervisor.serve()

    def _note(self, text: str) -> None:
        try:
            self._services.table.update(self._container.id, error=text)
        except Exception:  # the database itself may be what failed
            pass


def leave_caller(kept: list[int]) -> None:
    """Leave the caller's terminal, directory, signals, standard streams and other descriptors.

    Objects of the caller that own descriptors must not be collected here: what they would close
    are other files by now.
    """
    gc.freeze()
    os.chdir("/")
    os.umask(0o022)
    prctl.set_name("jubako-monitor")
    trace.set_role("monitor")
    trace.set_stage("")
    prctl.set_child_subreaper(True, why="orphans of the container become its children")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    fds.close_except((*kept, trace.descriptor()))
    fds.set_cloexec_from(3)  # descriptors that came through a socket are not


def _kill_and_reap(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
