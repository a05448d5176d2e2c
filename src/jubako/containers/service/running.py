"""What happens to containers while they live."""

from __future__ import annotations

import os
from functools import cached_property

from jubako.containers.service.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.containers.exec.execution import Execution
    from jubako.containers.exec.service import ExecService
    from jubako.containers.streams.attach import Attachment


class Running(Part):
    """Start, attach, stop, exec, wait."""

    def prepare_start(self) -> None:
        """Say that a container will be started soon: a process gets ready beside this one.

        Worth it before anything else is done with the engine, by a process without threads; else
        it does nothing.
        """
        services = self._services
        if services.launcher is not None or services.store.is_open:
            return
        if len(os.listdir("/proc/self/task")) == 1:
            from jubako.containers.monitor.launcher import Launcher

            services.launcher = Launcher(services.store)

    def start(self, reference: str, *, attach: bool = False) -> Attachment | None:
        """Start it; with `attach`, returns an attachment that misses none of its output."""
        self._recover()
        return self._lifecycle.start(reference, attach=attach)

    def attach(self, reference: str, *, stdin: bool = True) -> Attachment:
        """Connect to the streams of a running container.  Raises WrongState."""
        return self._lifecycle.attach(self._get(reference), stdin=stdin)

    def stop(
        self, reference: str, *, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Ask it to end, kill it after `timeout_s` seconds (-1: never)."""
        self._recover()
        self._lifecycle.stop(reference, timeout_s=timeout_s, signal_name=signal)

    def to_start_at_boot(self) -> list[str]:
        """Names of those that their restart policies start after a boot, in order."""
        from jubako.containers.boot import to_start

        self._recover()
        return to_start(self._services)

    def to_stop_at_shutdown(self) -> list[str]:
        """Names of those that `stop_for_shutdown` is for."""
        from jubako.containers.boot import to_stop

        self._recover()
        return to_stop(self._services)

    def stop_for_shutdown(self, reference: str, *, timeout_s: int | None = None) -> None:
        """Stop it, and let its restart policy start it after the next boot."""
        from jubako.containers.monitor.restart import SHUTDOWN

        self._recover()
        self._lifecycle.stop(reference, timeout_s=timeout_s, request=SHUTDOWN)

    def restart(
        self, reference: str, *, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Stop and start it."""
        self._recover()
        self._lifecycle.restart(reference, timeout_s=timeout_s, signal_name=signal)

    def kill(self, reference: str, signal: str | int = "KILL") -> None:
        """Send a signal to its first process.  Raises WrongState, InvalidArgument."""
        self._recover()
        self._lifecycle.kill(reference, signal)

    def pause(self, reference: str) -> None:
        """Freeze all of its processes.  Raises WrongState."""
        self._recover()
        self._lifecycle.pause(reference)

    def unpause(self, reference: str) -> None:
        """Let them go on.  Raises WrongState."""
        self._recover()
        self._lifecycle.unpause(reference)

    def wait(self, reference: str, *, condition: str = "not-running") -> int:
        """Block until `not-running`, `next-exit` or `removed`; returns the exit code."""
        from jubako.containers.waiting import Waiting

        self._recover()
        return Waiting(self._services).wait(reference, condition=condition)

    def exec(
        self,
        reference: str,
        argv: Sequence[str],
        *,
        user: str = "",
        env: Sequence[str] = (),
        workdir: str = "",
        tty: bool = False,
        interactive: bool = False,
        privileged: bool = False,
        detach: bool = False,
        detach_keys: str = "",
        console_size: tuple[int, int] | None = None,
    ) -> Execution | None:
        """Start another process in a running container; its streams, or None with `detach`.

        env: `NAME=value` over the container's own.  workdir: "" is the container's.
        console_size: rows and columns of its terminal.  detach_keys: as `--detach-keys`, for who
        attaches; `Execution.pump` takes them too.
        Raises WrongState, InvalidArgument (detach keys), StartError (126, 127).
        """
        from jubako.containers.exec.execute import new_record, start_new

        container = self._get(reference)
        record = new_record(
            {
                "Cmd": argv,
                "User": user,
                "Env": env,
                "WorkingDir": workdir,
                "Tty": tty,
                "Privileged": privileged,
                "AttachStdin": interactive and not detach,
                "AttachStdout": not detach,
                "AttachStderr": not detach,
                "DetachKeys": detach_keys,
                "ConsoleSize": console_size,
            }
        )
        return start_new(self._services, container, record, detach=detach)

    @cached_property
    def execs(self) -> ExecService:
        """The execs: list, inspect, signal, stop, resize; create and start in two steps."""
        from jubako.containers.exec.service import ExecService

        return ExecService(self._services, self._get)
