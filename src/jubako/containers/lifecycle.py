"""Start, stop, kill, restart, pause, wait, remove: the transitions of a container.

    created ──start──> running <──pause/unpause──> paused
       ▲                │   ▲ exits, kill, stop      rm: created, exited ──> (gone)
       │                ▼   │ back-off
       └── exited <── restarting         its policy wants it; not after stop and kill

Each takes the container's lock, repairs what a crash left, and re-reads the row; the monitor alone
makes `running` into `exited` or `restarting`, and `restarting` into `running`.  A stop is written
into the row in the transaction in which the signal is sent, and the monitor reads it in the one
that records the end: a policy never wins against a user.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager, suppress

from jubako.containers import events
from jubako.containers.monitor import explaining, health
from jubako.containers.monitor.restart import RESTARTED, RESTS
from jubako.containers.remove import remove_container
from jubako.containers.repair import repair, thaw
from jubako.containers.signals import parse_signal
from jubako.containers.streams.attach import Attachment
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
    from contextlib import AbstractContextManager

    from jubako.containers.services import Services
    from jubako.containers.table import Container

DEFAULT_STOP_TIMEOUT_S = 10
_KILL_PATIENCE_S = 10.0  # a killed process that does not die hangs in the kernel
_POLL_S = 0.005
_STOP_FIRST = ": stop the container before removing or force remove"
_BEFORE_REMOVAL = {
    "running": _STOP_FIRST,
    "restarting": _STOP_FIRST,
    "paused": " and must be unpaused first",
}
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

    def locked(self, reference: str) -> AbstractContextManager[Container]:
        """The container, which nobody starts or removes inside the block.  Raises NotFound."""
        return self._locked(reference)

    def _settled(self, container_id: str) -> Container | None:
        """The container, once its monitor is not in the middle of something.

        That is so when the command that started it was killed, and went on without the lock; and
        while a monitor removes the container (`--rm`).  Raises Unavailable after a while.
        """
        deadline = time.monotonic() + _SETTLE_S
        while True:
            container = repair(self._services, container_id)
            if container is None or container.active or not container.boot_id:
                return container
            if time.monotonic() > deadline:
                raise Unavailable(f"container {container_id}: its monitor does not answer")
            time.sleep(_POLL_S)

    # start

    def start(self, reference: str, *, attach: bool = False) -> Attachment | None:
        """Start a container; with `attach`, returns the attachment that sees all of its output.

        Nothing happens to a running one (without `attach`), nor to one that waits for its restart.
        Raises NotFound, WrongState, StartError and whatever its set-up raises; then it is not
        running and left nothing.
        """
        with self._locked(reference) as container:
            if container.status == "paused":
                raise WrongState("cannot start a paused container, try unpause instead")
            if container.active:
                return self.attach(container) if attach else None
            return self._launch(container, attach=attach)

    def _launch(self, container: Container, *, attach: bool) -> Attachment | None:
        from jubako.containers.monitor.launching import launch

        if not attach:
            launch(self._services, container, None)
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                launch(self._services, container, theirs)
                explaining.invite(self._services, container.id)
        except BaseException:
            ours.close()
            raise
        return Attachment(ours, forward=self._forwarder(container.id), tell=self._teller(container))

    def _teller(self, container: Container) -> Callable[[str, tuple[int, int] | None], None]:
        def tell(action: str, size: tuple[int, int] | None) -> None:
            attributes = {} if size is None else {"height": size[0], "width": size[1]}
            store = self._services.store
            events.report(store, container.record, action, notes=None, **attributes)

        return tell

    def _forwarder(self, container_id: str) -> Callable[[int], None]:
        def forward(number: int) -> None:
            try:
                self.signal(container_id, number)
            except (NotFound, Conflict):
                pass  # it has ended meanwhile

        return forward

    # attach

    def attach(self, container: Container, *, stdin: bool = True) -> Attachment:
        """Connect to the streams of a running container.  Raises WrongState if it does not run."""
        if container.restarting:
            raise WrongState(
                "You cannot attach to a restarting container, wait until it is running"
            )
        if not container.running:
            raise WrongState("You cannot attach to a stopped container, start it first")
        if container.status == "paused":
            raise WrongState("You cannot attach to a paused container, unpause it first")
        attachment = Attachment.connect(
            self._services.attach_socket(container.id),
            stdin=stdin,
            output=True,
            forward=self._forwarder(container.id),
            tell=self._teller(container),
        )
        with suppress(JubakoError):  # a full disk keeps nobody from looking
            self._tell(container, "attach")
        return attachment

    def _wait_monitor(self, container_id: str, timeout_s: float | None = None) -> None:
        """Until no monitor of this container lives.  Raises Unavailable after `timeout_s`."""
        wait_released(self._services.monitor_lock(container_id), timeout_s)

    def _tell(self, container: Container, action: str) -> None:
        """The event of something that a command has done."""
        note = {"by": events.caller()}
        events.report(self._services.store, container.record, action, notes=note)

    # signals

    def signal(self, reference: str, number: int) -> None:
        """Send a signal to a running container's init.  Raises NotFound, WrongState."""
        container = self._services.table.get(reference)
        self._kill_event(container, number, request=_request(container, number))

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
                explaining.invite(self._services, container.id)
                pidfd.send_signal(fd, number, why="for the container's first process")
            finally:
                os.close(fd)
        except KernelError as exc:
            if exc.errno != errno.ESRCH:
                raise
            raise WrongState(f"container {container.id} is not running") from exc

    def _kill_event(self, container: Container, number: int, *, request: int = 0) -> None:
        """Send a signal and say so, and that a user wants the end; nothing when that fails.

        request: the new `stop_requested`.  On a disk that takes no word the signal is sent, too.
        """
        store = self._services.store
        store.use_reserve()
        sent = False
        try:
            with store.transaction():
                note = {"by": events.caller()}
                events.emit(store, container.record, "kill", signal=number, notes=note)
                if request:
                    self._services.table.update(container.id, stop_requested=request)
                self._signal(container, number)
                sent = True
        except KernelError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EROFS):
                raise
            if not sent:
                self._signal(container, number)

    def kill(self, reference: str, name: str | int = "KILL") -> None:
        """Send a signal by name or number; SIGKILL returns when the container has ended.

        As with Docker the restart policy rests after SIGKILL and after the container's stop signal,
        and, when it has none of its own, after any signal.
        """
        with _saying(f"cannot kill container: {reference}: "):
            self._kill(reference, parse_signal(str(name)))

    def _kill(self, reference: str, number: int) -> None:
        with self._locked(reference) as container:
            if container.restarting:
                self._cancel_restart(container)
                return
            if not container.running:
                raise WrongState(f"container {container.id} is not running", subject=reference)
            if number == signal.SIGKILL and container.status == "paused":
                self._thaw(container)
            request = _request(container, number)
            try:
                self._kill_event(container, number, request=request)
            except WrongState:  # it has just ended by itself: its policy must not start it again
                if not request:
                    raise
                self._cancel_restart(container, request)
                return
            if number == signal.SIGKILL:
                self._wait_monitor(container.id, _KILL_PATIENCE_S)

    def kill_unasked(self, reference: str) -> None:
        """SIGKILL because it is unhealthy: its restart policy decides what follows."""
        with self._locked(reference) as container:
            self._kill_event(container, signal.SIGKILL)

    def stop(
        self,
        reference: str,
        *,
        timeout_s: int | None = None,
        signal_name: str | None = None,
        request: int = RESTS,
    ) -> None:
        """Ask a container to end, and kill it after `timeout_s` (-1: wait for ever).

        The signal and the time default to the container's, then to SIGTERM and 10 s.  Nothing
        happens to one that does not run.  Its restart policy rests until it is started.
        request: the new `stop_requested`.
        """
        with self._locked(reference) as container:
            if not container.active:
                return
            with _saying(f"cannot stop container: {reference}: "):
                self._stop(container, timeout_s, signal_name, request)
            self._tell(container, "stop")

    def _stop(
        self, container: Container, timeout_s: int | None, signal_name: str | None, request: int
    ) -> None:
        if container.restarting:
            self._cancel_restart(container, request)
            return
        config = container.record["Config"]
        if timeout_s is None:
            timeout_s = config.get("StopTimeout", DEFAULT_STOP_TIMEOUT_S)
        try:
            number = parse_signal(signal_name or config.get("StopSignal") or "TERM")
            self._kill_event(container, number, request=request)
            point("containers.stop.signalled")
            if container.status == "paused":
                self._thaw(container)
            self._wait_monitor(container.id, None if timeout_s < 0 else timeout_s)
            return
        except WrongState:
            self._cancel_restart(container, request)
            return
        except Unavailable:
            pass
        self._kill_now(container, request)

    def _kill_now(self, container: Container, request: int) -> None:
        try:
            self._kill_event(container, signal.SIGKILL, request=request)
        except WrongState:
            pass
        point("containers.stop.killed")
        self._cancel_restart(container, request)

    def _cancel_restart(self, container: Container, request: int = RESTS) -> None:
        """Wait for the end of a monitor whose container has none, or is about to have none."""
        self._services.table.update(container.id, stop_requested=request)
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while is_held(self._services.monitor_lock(container.id)):
            current = self._services.table.find(container.id)
            if current is not None and current.restarting:
                self._wake(current)
            if time.monotonic() > deadline:
                self._wait_monitor(container.id, 0)
            time.sleep(_POLL_S)
        repair(self._services, container.id)

    def _wake(self, container: Container) -> None:
        """Let a monitor that waits before a restart look at its row."""
        with suppress(Unavailable, OSError):  # it is not there yet, or just goes
            path = self._services.attach_socket(container.id)
            Attachment.connect(path, stdin=False, output=False).close()

    def restart(
        self, reference: str, *, timeout_s: int | None = None, signal_name: str | None = None
    ) -> None:
        """Stop it if it runs, then start it; one that was made with `--rm` stays."""
        with self._locked(reference) as container:
            if container.active:
                with _saying(f"Cannot restart container {reference}: "):
                    self._stop(container, timeout_s, signal_name, RESTARTED)
                self._tell(container, "stop")
            current = self._settled(container.id)
            if current is None:  # it had ended by itself and was made with --rm
                raise NotFound(f"No such container: {reference}", subject=reference)
            self._launch(current, attach=False)
            self._tell(current, "restart")

    # pause

    def pause(self, reference: str) -> None:
        """Freeze every process of a running container.  Raises WrongState."""
        with self._locked(reference) as container:
            if container.status == "paused":
                raise WrongState(f"Container {container.id} is already paused")
            if container.restarting:
                raise restarting(container)
            if not container.running:
                raise WrongState(f"container {container.id} is not running")
            self._freeze(container)
            if unknown := health.ended(container.health):
                self._services.table.update(container.id, **unknown)

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
        from jubako.containers.definition.validate import check_name

        name = name.removeprefix("/")
        with self._locked(reference) as container:
            if container.name == name:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            with _saying("Error when allocating new name: "):
                check_name(f"/{name}")
                self._services.table.rename(container, name)
            self._services.store.flush()

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete a container that does not run, or any with `force`.

        volumes: also its anonymous volumes.  Raises NotFound, Conflict (it runs).
        """
        self._services.store.use_reserve()
        with self._locked(reference) as container:
            if container.active:
                if not force:
                    raise Conflict(
                        f'cannot remove container "/{container.name}": container is '
                        f"{container.status}{_BEFORE_REMOVAL[container.status]}",
                        subject=reference,
                    )
                if container.status == "paused":
                    with suppress(WrongState):  # it has ended
                        self._thaw(container)
                if container.restarting:
                    self._cancel_restart(container)
                else:
                    self._kill_now(container, RESTS)
                # what its monitor could not take down must not lose its row
                current = self._settled(container.id)
                if current is None:
                    return  # its monitor has removed it (--rm)
                container = current
            by = events.caller()
            remove_container(self._services, container, volumes=volumes, by=by)
        self._services.store.flush()


def restarting(container: Container) -> WrongState:
    """The error of what needs a process, for a container that waits for its restart."""
    return WrongState(
        f"Container {container.id} is restarting, wait until the container is running",
        subject=container.id,
    )


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Put `what` before the errors of the block that tell a user what is wrong."""
    try:
        yield
    except (NotFound, InvalidArgument, Conflict) as exc:
        raise type(exc)(f"{what}{exc}", hint=exc.hint, subject=exc.subject) from exc


def _request(container: Container, number: int) -> int:
    """What a signal of a user makes of `stop_requested`; 0: it stays."""
    own = container.record["Config"].get("StopSignal")
    rests = number == signal.SIGKILL or not own or parse_signal(own) == number
    return RESTS if rests else 0


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
