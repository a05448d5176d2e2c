"""A process that was executed in a container, as the caller sees it: its streams and its end."""

from __future__ import annotations

import errno
import os
import select

from jubako.containers.streams.frames import write_all
from jubako.containers.streams.terminal import Console, console, read_input
from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.containers.exec.execute import Streams
    from jubako.containers.exec.holder import Started
    from jubako.containers.streams.collect import Output

_READ_BYTES = 1 << 16
_DRAIN_S = 0.2  # a grandchild may keep the pipe open for ever; Docker gives up on it too


class Execution:
    """A process that runs in a container, and the caller's ends of its streams.

    It goes on when the caller ends or closes this.  id: of the exec.
    stdin, stdout, stderr: descriptors, -1 for a stream that is not there or was closed; with a
    terminal stdin and stdout are both that.
    """

    def __init__(
        self,
        exec_id: str,
        started: Started,
        streams: Streams,
        record_end: Callable[[int], None],
    ):
        """record_end: called with the exit status, when the end is seen here."""
        self.id = exec_id
        self._started = started
        self._record_end = record_end
        self._status: int | None = None
        self._console = started.console
        self._stdin = streams.stdin if self._console < 0 else self._console
        pairs = ((streams.stdout, 1), (streams.stderr, 2), (self._console, 1))
        self._outputs = {fd: number for fd, number in pairs if fd >= 0}

    @property
    def stdin(self) -> int:
        return self._stdin

    @property
    def stdout(self) -> int:
        return next((fd for fd, number in self._outputs.items() if number == 1), -1)

    @property
    def stderr(self) -> int:
        return next((fd for fd, number in self._outputs.items() if number == 2), -1)

    def ends_within(self, timeout_s: float) -> bool:
        """Whether the process has ended, or does so soon; its output may still be to be read."""
        poll = select.poll()
        poll.register(self._started.pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def fileno(self) -> int:
        """Readable once the process has ended: `wait` does not block then."""
        return self._started.channel.fileno()

    def wait(self) -> int:
        """Wait for the end and see it recorded; the exit status.

        Raises Unavailable: its holder was killed.
        """
        if self._status is None:
            self._status = self._started.exit_code()
            try:
                self._record_end(self._status)
            except KernelError as exc:  # the disk is full: the holder tries until it is not
                if exc.errno != errno.ENOSPC:
                    raise
        return self._status

    def signal(self, number: int) -> None:
        """Send a signal to the process; nothing happens if it has ended."""
        from jubako.linux import pidfd

        try:
            pidfd.send_signal(self._started.pidfd, number, why="the signal was sent to the command")
        except KernelError as exc:
            if exc.errno != errno.ESRCH:
                raise

    def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal, if it has one, how large it is."""
        if self._console >= 0:
            from jubako.linux import pty

            pty.set_size(self._console, columns, rows)

    def close_stdin(self) -> None:
        """No more input: the process reads to the end.  A terminal is left alone."""
        if self._console < 0 and self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def communicate(self, stdin: bytes | None = None) -> Output:
        """Feed `stdin`, wait for the end, and return status and output."""
        from jubako.containers.streams.collect import collect

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

        Raises Detached when the user leaves, and the process goes on; Unavailable when the holder
        was killed.
        """
        try:
            with console(
                stdin,
                stdout,
                tty=tty,
                detach_keys=detach_keys,
                sig_proxy=sig_proxy,
                forward=self.signal,
                resize=self.resize,
            ) as opened:
                _Pump(self, {1: stdout, 2: stderr}, opened).run(stdin)
            return self.wait()
        finally:
            self.close()

    @property
    def outputs(self) -> dict[int, int]:
        """The descriptors to read from, with 1 or 2 for the stream that they are."""
        return self._outputs

    def close_output(self, fd: int) -> None:
        """One of `outputs` is at its end."""
        del self._outputs[fd]
        if fd != self._console:
            os.close(fd)

    def close(self) -> None:
        """Close the streams; the process goes on, and what it writes is read by its holder."""
        for fd in {self._stdin, *self._outputs} - {-1, self._console}:
            os.close(fd)
        self._started.close()
        self._stdin = self._console = -1
        self._outputs = {}


class _Pump:
    """The loop of `Execution.pump`.

    Input waits here, one piece at a time, while the process does not take it: the process may be
    waiting for us to take its output.
    """

    def __init__(self, execution: Execution, targets: dict[int, int | None], console: Console):
        self._execution = execution
        self._targets = targets
        self._console = console
        self._source: int | None = None
        self._waiting = b""

    def run(self, source: int | None) -> None:
        """Until the process has ended and its outputs are read.  source: the caller's stdin."""
        execution = self._execution
        if source is not None and execution.stdin >= 0:
            os.set_blocking(execution.stdin, False)
            self._source = source
        ended = False
        while execution.outputs or not ended:
            ready = dict(self._wait(ended))
            if ended and not ready:
                return
            if self._console.fileno() in ready:
                self._console.take_signals()
            if self._waiting and ready.get(execution.stdin, 0) & ~select.POLLIN:
                self._write_input()
            elif not self._waiting and self._source is not None and self._source in ready:
                self._read_input(self._source)
            for fd in [fd for fd in execution.outputs if ready.get(fd, 0) & ~select.POLLOUT]:
                if not self._copy(fd):
                    execution.close_output(fd)
            ended = ended or execution.fileno() in ready

    def _wait(self, ended: bool) -> list[tuple[int, int]]:
        execution = self._execution
        wanted = dict.fromkeys((self._console.fileno(), *execution.outputs), select.POLLIN)
        if not ended:
            wanted[execution.fileno()] = select.POLLIN
        if self._waiting:
            wanted[execution.stdin] = wanted.get(execution.stdin, 0) | select.POLLOUT
        elif self._source is not None:
            wanted[self._source] = select.POLLIN
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        return poll.poll(_DRAIN_S * 1000 if ended else None)

    def _read_input(self, source: int) -> None:
        data = read_input(source)
        if data:
            self._waiting = self._console.feed(data)
            self._write_input()
        else:
            self._end_input()

    def _write_input(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._execution.stdin, self._waiting) :]
        except BlockingIOError:
            pass
        except OSError:  # the process has closed its stdin
            self._end_input()

    def _end_input(self) -> None:
        self._waiting = b""
        self._source = None
        self._execution.close_stdin()

    def _copy(self, fd: int) -> bool:
        """Pass one piece of output on; False at its end."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: a pty whose last slave was closed
            return False
        target = self._targets[self._execution.outputs[fd]]
        if data and target is not None:
            write_all(target, data)
        return bool(data)
