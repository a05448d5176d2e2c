"""Start, stop, kill, restart, pause, wait, remove: the transitions of a container.

    created ──start──> running <──pause/unpause──> paused
       ▲                  │ exits, kill, stop
       └──── exited <─────┘          rm: created, exited ──> (gone)

Each takes the container's lock, repairs what a crash left, and re-reads the row; the monitor alone
makes `running` into `exited`.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager, suppress

from jubako.containers import events
from jubako.containers.attach import Attachment
from jubako.containers.remove import remove_container
from jubako.containers.repair import EXIT_KILLED, repair, thaw
from jubako.containers.validate import parse_signal
from jubako.errors import (
    Conflict,
    InvalidArgument,
    JubakoError,
    KernelError,
    NotFound,
    Unavailable,
    WrongState,
)
from jubako.linux import pidfd
from jubako.store import point
from jubako.store.lock import Lock, is_held, wait_released

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jubako.containers.services import Services
    from jubako.containers.table import Container

DEFAULT_STOP_TIMEOUT_S = 10
_KILL_PATIENCE_S = 10.0  # a killed process that does not die hangs in the kernel
_SETTLE_S = 30.0  # a start or a removal: some milliseconds, unless much has to be deleted


class Lifecycle:
    """The transitions of the containers of one root."""

    def __init__(self, services: Services):
        self._services = services

    @contextmanager
    def _locked(self, reference: str) -> Iterator[Container]:
        """The container under its lock, repaired and read anew.  Raises NotFound."""
        container_id = self._services.table.get(reference).id
        with self._services.store.lock(container_id):
            container = self._settled(container_id)
            if container is None:
                raise NotFound(f"No such container: {reference}", subject=reference)
            yield container

    def _settled(self, container_id: str) -> Container | None:
        """The container, once its monitor is not in the middle of something.

        That is so when the command that started it was killed, and went on without the lock; and
        while a monitor removes the container (`--rm`).  Raises Unavailable after a while.
        """
        deadline = time.monotonic() + _SETTLE_S
        while True:
            container = repair(self._services, container_id)
            if container is None or container.running or not container.boot_id:
                return container
            if time.monotonic() > deadline:
                raise Unavailable(f"container {container_id}: its monitor does not answer")
            time.sleep(0.005)

    # start

    def start(self, reference: str, *, attach: bool = False) -> Attachment | None:
        """Start a container; with `attach`, returns the attachment that sees all of its output.

        Nothing happens to a running one (without `attach`).  Raises NotFound, WrongState,
        StartError and whatever its set-up raises; then it is not running and left nothing.
        """
        with self._locked(reference) as container:
            if container.status == "paused":
                raise WrongState("cannot start a paused container, try unpause instead")
            if container.running:
                return self.attach(container) if attach else None
            return self._launch(container, attach=attach)

    def _launch(self, container: Container, *, attach: bool) -> Attachment | None:
        from jubako.containers.monitor import launch

        if not attach:
            launch(self._services, container, None)
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                launch(self._services, container, theirs)
        except BaseException:
            ours.close()
            raise
        return Attachment(ours, forward=self._forwarder(container.id))

    def _forwarder(self, container_id: str) -> Callable[[int], None]:
        def forward(number: int) -> None:
            try:
                self.signal(container_id, number)
            except (NotFound, Conflict):
                pass  # it has ended meanwhile

        return forward

    # attach and wait

    def attach(self, container: Container, *, stdin: bool = True) -> Attachment:
        """Connect to the streams of a running container.  Raises WrongState if it does not run."""
        if not container.running:
            raise WrongState("You cannot attach to a stopped container, start it first")
        if container.status == "paused":
            raise WrongState("You cannot attach to a paused container, unpause it first")
        attachment = Attachment.connect(
            self._services.attach_socket(container.id),
            stdin=stdin,
            output=True,
            forward=self._forwarder(container.id),
        )
        self._tell(container, "attach")
        return attachment

    def wait(self, reference: str, *, condition: str = "not-running") -> int:
        """Block until `not-running`, `next-exit` or `removed`; returns the exit code."""
        container = self._services.table.get(reference)
        if condition == "not-running" and not container.running:
            return container.exit_code
        code = self._wait_exit(container)
        if condition == "next-exit" and code is None:
            while (code := self._wait_exit(container)) is None:
                time.sleep(0.05)
        if condition == "removed":
            while self._services.table.find(container.id) is not None:
                time.sleep(0.05)
        return container.exit_code if code is None else code

    def _wait_exit(self, container: Container) -> int | None:
        """Until its monitor is done; None if it has not run.  Raises NotFound: it was removed."""
        try:
            attachment = Attachment.connect(
                self._services.attach_socket(container.id), stdin=False, output=False
            )
        except (Unavailable, OSError):  # no monitor, or one that takes the container down already
            row = self._repaired(container.id)
            if row is None:
                raise NotFound(f"No such container: {container.id}", subject=container.id) from None
            return row.exit_code if row.status == "exited" else None
        try:
            return attachment.wait()
        except Unavailable:  # the monitor was killed
            row = self._repaired(container.id)
            return row.exit_code if row is not None else EXIT_KILLED
        finally:
            attachment.close()

    def _repaired(self, container_id: str) -> Container | None:
        """The row once no monitor lives; None if it is gone."""
        self._wait_monitor(container_id)  # a process that dies closes its socket before its lock
        with self._services.store.lock(container_id):
            return repair(self._services, container_id)

    def _wait_monitor(self, container_id: str, timeout_s: float | None = None) -> None:
        """Until no monitor of this container lives.  Raises Unavailable after `timeout_s`."""
        wait_released(self._services.monitor_lock(container_id), timeout_s)

    def _tell(self, container: Container, action: str) -> None:
        """The event of something that a command has done."""
        note = {"by": events.caller()}
        events.emit(self._services.store, container.record, action, notes=note)

    # signals

    def signal(self, reference: str, number: int) -> None:
        """Send a signal to a running container's init.  Raises NotFound, WrongState."""
        self._kill_event(self._services.table.get(reference), number)

    def _signal(self, container: Container, number: int) -> None:
        if not container.running:
            raise WrongState(f"container {container.id} is not running", subject=container.id)
        try:
            fd = pidfd.open(container.pid)
            try:
                # the descriptor names init for certain only if the row still does
                current = self._services.table.find(container.id)
                if current is None or current.pid != container.pid:
                    raise KernelError("pidfd_open", errno.ESRCH)
                pidfd.send_signal(fd, number)
            finally:
                os.close(fd)
        except KernelError as exc:
            if exc.errno != errno.ESRCH:
                raise
            raise WrongState(f"container {container.id} is not running") from exc

    def _kill_event(self, container: Container, number: int) -> None:
        """Send a signal and say so; nothing is said when that fails."""
        with self._services.store.transaction():
            note = {"by": events.caller()}
            events.emit(self._services.store, container.record, "kill", signal=number, notes=note)
            self._signal(container, number)

    def kill(self, reference: str, name: str | int = "KILL") -> None:
        """Send a signal by name or number; SIGKILL returns when the container has ended."""
        try:
            number = parse_signal(str(name))
        except InvalidArgument as exc:
            raise InvalidArgument(f"cannot kill container: {reference}: {exc}") from exc
        with self._locked(reference) as container:
            if not container.running:
                raise WrongState(
                    f"cannot kill container: {reference}: container {container.id} is not running",
                    subject=reference,
                )
            if number == signal.SIGKILL and container.status == "paused":
                self._thaw(container)
            self._kill_event(container, number)
            if number == signal.SIGKILL:
                self._wait_monitor(container.id, _KILL_PATIENCE_S)

    def stop(
        self, reference: str, *, timeout_s: int | None = None, signal_name: str | None = None
    ) -> None:
        """Ask a container to end, and kill it after `timeout_s` (-1: wait for ever).

        The signal and the time default to the container's, then to SIGTERM and 10 s.  Nothing
        happens to one that does not run.
        """
        with self._locked(reference) as container:
            if not container.running:
                return
            self._stop(container, timeout_s, signal_name)
            self._tell(container, "stop")

    def _stop(self, container: Container, timeout_s: int | None, signal_name: str | None) -> None:
        if not container.running:
            return
        config = container.record["Config"]
        if timeout_s is None:
            timeout_s = config.get("StopTimeout", DEFAULT_STOP_TIMEOUT_S)
        try:
            number = parse_signal(signal_name or config.get("StopSignal") or "TERM")
            self._kill_event(container, number)
            point("containers.stop.signalled")
            if container.status == "paused":
                self._thaw(container)
            self._wait_monitor(container.id, None if timeout_s < 0 else timeout_s)
            return
        except WrongState:
            self._wait_monitor(container.id, _KILL_PATIENCE_S)
            return
        except Unavailable:
            pass
        self._kill_now(container)

    def _kill_now(self, container: Container) -> None:
        try:
            self._kill_event(container, signal.SIGKILL)
        except WrongState:
            pass
        point("containers.stop.killed")
        self._wait_monitor(container.id, _KILL_PATIENCE_S)

    def restart(
        self, reference: str, *, timeout_s: int | None = None, signal_name: str | None = None
    ) -> None:
        """Stop it if it runs, then start it."""
        with self._locked(reference) as container:
            if container.running:
                self._stop(container, timeout_s, signal_name)
                self._tell(container, "stop")
            current = self._services.table.find(container.id)
            if current is None:  # it was made with --rm
                raise NotFound(f"No such container: {reference}", subject=reference)
            self._launch(current, attach=False)
            self._tell(current, "restart")

    # pause

    def pause(self, reference: str) -> None:
        """Freeze every process of a running container.  Raises WrongState."""
        with self._locked(reference) as container:
            if container.status == "paused":
                raise WrongState(f"Container {container.id} is already paused")
            if not container.running:
                raise WrongState(f"Container {container.id} is not running")
            self._freeze(container)

    def _freeze(self, container: Container) -> None:
        # the mark of a command that was killed before it froze the container
        if not is_held(self._services.freezer_lock(container.id)):
            _unlink(self._services.freezer_lock(container.id))
        # the row first: what is `paused` and is not frozen, `unpause` puts right
        if not self._services.table.switch(container.id, "running", "paused"):
            raise WrongState(f"container {container.id} is not running", subject=container.id)
        point("containers.pause.marked")
        try:
            with self._services.expecting_running(container) as runtime:
                runtime.pause(container.id)
        except JubakoError:
            self._services.table.switch(container.id, "paused", "running")
            raise
        self._tell(container, "pause")

    @contextmanager
    def frozen(self, reference: str) -> Iterator[None]:
        """Inside the block a running container is paused; one that does not run is left alone.

        Whatever happens to this process, the container goes on afterwards: a lock that only we
        hold tells `repair` who paused it.
        """
        with ExitStack() as undo:
            with self._locked(reference) as container:
                if container.status == "running":
                    undo.enter_context(Lock(self._services.freezer_lock(container.id)))
                    self._freeze(container)
                    undo.callback(self._let_go_on, container.id)
            yield

    def _let_go_on(self, container_id: str) -> None:
        with suppress(NotFound, WrongState):  # it was stopped or removed meanwhile
            self.unpause(container_id)
        _unlink(self._services.freezer_lock(container_id))

    def unpause(self, reference: str) -> None:
        """Let a paused container go on.  Raises WrongState."""
        with self._locked(reference) as container:
            if container.status != "paused":
                raise WrongState(f"Container {container.id} is not paused")
            self._thaw(container)
            self._tell(container, "unpause")

    def _thaw(self, container: Container) -> None:
        if not thaw(self._services, container):
            raise WrongState(f"container {container.id} is not running", subject=container.id)
        container.status = "running"

    # the rest

    def rename(self, reference: str, name: str) -> None:
        """Raises NotFound, NameInUse, InvalidArgument."""
        from jubako.containers.validate import check_name

        check_name(name)
        name = name.removeprefix("/")
        with self._locked(reference) as container:
            if container.name == name:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            self._services.table.rename(container, name)
            self._services.store.flush()

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete a container that does not run, or any with `force`.

        volumes: also its anonymous volumes.  Raises NotFound, Conflict (it runs).
        """
        self._services.store.use_reserve()
        with self._locked(reference) as container:
            if container.running:
                if not force:
                    word = "paused" if container.status == "paused" else "running"
                    raise Conflict(
                        f'cannot remove container "/{container.name}": container is {word}: '
                        "stop the container before removing or force remove",
                        subject=reference,
                    )
                if container.status == "paused":
                    with suppress(WrongState):  # it has ended
                        self._thaw(container)
                self._kill_now(container)
                # what its monitor could not take down must not lose its row
                current = self._settled(container.id)
                if current is None:
                    return  # its monitor has removed it (--rm)
                container = current
            by = events.caller()
            remove_container(self._services, container, volumes=volumes, by=by)
        self._services.store.flush()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
