"""`exec`: another process in a running container.

The process is a child of the command that asked for it, without a monitor between: streams are
pipes or a pty of the command itself.
"""

from __future__ import annotations

import os
import select

from jubako.containers.frames import write_all
from jubako.containers.terminal import (
    DetachFilter,
    SignalPipe,
    Terminal,
    parse_detach_keys,
)
from jubako.errors import Detached, WrongState
from jubako.linux import pidfd, pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.containers.collect import Output
    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.runtime import Process, Stdio

_READ_BYTES = 1 << 16
_DRAIN_S = 0.2  # a grandchild may keep the pipe open for ever; Docker gives up on it too


def exec_process(
    services: Services,
    container: Container,
    argv: Sequence[str],
    *,
    user: str,
    env: Sequence[str],
    workdir: str,
    tty: bool,
    privileged: bool,
) -> dict[str, Any]:
    """The OCI process object for a command in a running container; see ContainerService.exec."""
    from jubako.containers import spec

    _check_running(container)
    try:
        root = os.open(f"/proc/{container.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise WrongState(f"container {container.id} is not running") from exc
    try:
        return spec.exec_process(
            container.record,
            argv,
            rootfs_fd=root,
            user=user,
            env=env,
            workdir=workdir,
            tty=tty,
            privileged=privileged,
        )
    finally:
        os.close(root)


def _check_running(container: Container) -> None:
    if not container.running:
        raise WrongState(f"container {container.id} is not running", subject=container.id)
    if container.status == "paused":
        raise WrongState(f"Container {container.id} is paused, unpause the container before exec")


def execute(
    services: Services, container: Container, process: dict[str, Any], *, stdin: bool, detach: bool
) -> Execution | None:
    """Start a process in a running container.

    process: an OCI process object.  stdin: it gets a pipe for its input, else /dev/null.
    detach: it gets no streams, and nobody waits for it; returns None.
    Raises WrongState, StartError (with 126 or 127).
    """
    from jubako.runtime import Stdio

    _check_running(container)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    if detach:
        try:
            _execute_detached(services, container, process, Stdio(null, null, null))
        finally:
            os.close(null)
        return None
    if process.get("terminal"):
        os.close(null)
        with services.expecting_running(container) as runtime:
            return Execution(runtime.exec(container.id, process, Stdio(-1, -1, -1)))
    source = os.pipe2(os.O_CLOEXEC) if stdin else (null, -1)
    stdout, stderr = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    ours, theirs = {source[1], stdout[0], stderr[0]} - {-1}, {null, source[0], stdout[1], stderr[1]}
    try:
        with services.expecting_running(container) as runtime:
            child = runtime.exec(container.id, process, Stdio(source[0], stdout[1], stderr[1]))
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    return Execution(child, stdin=source[1], stdout=stdout[0], stderr=stderr[0])


def _execute_detached(
    services: Services, container: Container, process: dict[str, Any], stdio: Stdio
) -> None:
    """Through a child, whose end makes the process an orphan that the host's init reaps.

    With a terminal that nobody reads, the process would stop when its buffer is full: it gets none.
    """
    from jubako.containers.child import call_in_child

    process = {**process, "terminal": False}
    with services.expecting_running(container) as runtime:
        call_in_child(services.store, lambda: runtime.exec(container.id, process, stdio))


class Execution:
    """A process that runs in a container, and the caller's ends of its streams."""

    def __init__(self, process: Process, *, stdin: int = -1, stdout: int = -1, stderr: int = -1):
        self._process = process
        self._console = process.console if process.console is not None else -1
        self._stdin = stdin if self._console < 0 else self._console
        self._outputs = {fd: name for fd, name in ((stdout, 1), (stderr, 2)) if fd >= 0}
        if self._console >= 0:
            self._outputs = {self._console: 1}

    def communicate(self, stdin: bytes | None = None) -> Output:
        """Feed `stdin`, wait for the end, and return status and output."""
        from jubako.containers.collect import collect

        return collect(self, stdin)

    def pump(
        self,
        *,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        tty: bool = False,
        detach_keys: str | None = None,
        sig_proxy: bool = False,
    ) -> int:
        """Move bytes until the process has ended; returns its exit status.

        Raises Detached when the user leaves; the process goes on.
        """
        keys = DetachFilter(parse_detach_keys(detach_keys) if tty else b"")
        forward = self._forward if sig_proxy else None
        targets = {1: stdout, 2: stderr}
        with Terminal(stdin if tty else None, stdout if tty else None) as terminal:
            with SignalPipe(forward, winch=tty) as signals:
                self._resize(terminal)
                try:
                    self._pump(stdin, targets, keys, terminal, signals)
                except Detached:
                    self._close()
                    raise
        status = pidfd.wait(self._process.pidfd)
        self._close()
        assert status is not None
        return status

    def _pump(
        self,
        stdin: int | None,
        targets: dict[int, int | None],
        keys: DetachFilter,
        terminal: Terminal,
        signals: SignalPipe,
    ) -> None:
        poll = select.poll()
        for fd in (self._process.pidfd, signals.fileno(), *self._outputs):
            poll.register(fd, select.POLLIN)
        if stdin is not None and self._stdin >= 0:
            poll.register(stdin, select.POLLIN)
        ended = False
        while self._outputs or not ended:
            ready = {fd for fd, _ in poll.poll(_DRAIN_S * 1000 if ended else None)}
            if ended and not ready:
                return
            if signals.fileno() in ready:
                for number in signals.read():
                    self._signalled(number, terminal)
            if stdin in ready and stdin is not None and not self._feed(stdin, keys):
                poll.unregister(stdin)
            for fd in [fd for fd in self._outputs if fd in ready]:
                if not self._copy(fd, targets[self._outputs[fd]]):
                    poll.unregister(fd)
                    del self._outputs[fd]
                    if fd != self._console:
                        os.close(fd)
            if self._process.pidfd in ready:
                poll.unregister(self._process.pidfd)
                ended = True

    def _feed(self, stdin: int, keys: DetachFilter) -> bool:
        """One read of the caller's stdin; False when there will be no more."""
        try:
            data = os.read(stdin, _READ_BYTES)
        except OSError:
            data = b""
        try:
            if data:
                write_all(self._stdin, keys.feed(data))
                return True
        except OSError:
            pass  # the process has closed its stdin
        if self._console < 0:
            os.close(self._stdin)
            self._stdin = -1
        return False

    def _copy(self, fd: int, target: int | None) -> bool:
        try:
            data = os.read(fd, _READ_BYTES)
        except OSError:  # EIO: a pty whose last slave was closed
            return False
        if data and target is not None:
            write_all(target, data)
        return bool(data)

    def _signalled(self, number: int, terminal: Terminal) -> None:
        import signal

        if number == signal.SIGWINCH:
            self._resize(terminal)
        else:
            self._forward(number)

    def _resize(self, terminal: Terminal) -> None:
        if self._console >= 0 and (size := terminal.size()):
            rows, columns = size
            pty.set_size(self._console, columns, rows)

    def _forward(self, number: int) -> None:
        try:
            pidfd.send_signal(self._process.pidfd, number)
        except OSError:
            pass  # it has ended meanwhile

    def _close(self) -> None:
        fds = {self._process.pidfd, self._stdin, self._console, *self._outputs}
        for fd in fds:
            if fd >= 0:
                os.close(fd)
        self._outputs = {}
