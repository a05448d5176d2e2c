"""`wait`: until a container ends.

A monitor tells those who are attached; who finds none looks at the row, which a monitor that is
taking the container down, or waits before a restart, will change.
"""

from __future__ import annotations

import time

from jubako.containers.repair import EXIT_KILLED, repair
from jubako.containers.streams.attach import Attachment
from jubako.errors import NotFound, Unavailable
from jubako.store.lock import is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container

_POLL_S = 0.005


class Waiting:
    """Waits for the ends of containers of one root."""

    def __init__(self, services: Services):
        self._services = services

    def wait(self, reference: str, *, condition: str = "not-running") -> int:
        """Block until `not-running`, `next-exit` or `removed`; returns the exit code."""
        container = self._services.table.get(reference)
        if condition == "not-running" and not container.active:
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
        if container.restarting:
            current = self._wait_restart(container)
            if not current.running or current.restart_count != container.restart_count:
                return current.exit_code
            container = current
        try:
            attachment = Attachment.connect(
                self._services.attach_socket(container.id), stdin=False, output=False
            )
        except (Unavailable, OSError):  # no monitor, or one that takes the container down already
            row = self._ended(container)
            if row is None:
                raise self._gone(container.id) from None
            return row.exit_code if row.status in ("exited", "restarting") else None
        try:
            return attachment.wait()
        except Unavailable:  # the monitor was killed
            row = self._ended(container)
            return row.exit_code if row is not None else EXIT_KILLED
        finally:
            attachment.close()

    def _wait_restart(self, container: Container) -> Container:
        """The row once a container runs again, or will not.  Raises NotFound: it was removed."""
        while True:
            current = self._ended(container)
            if current is None:
                raise self._gone(container.id)
            if not current.restarting or current.restart_count != container.restart_count:
                return current
            time.sleep(_POLL_S)

    def _ended(self, container: Container) -> Container | None:
        """The row once the run is over in which `container` was read; None if it is gone."""
        while True:
            current = self._services.table.find(container.id)
            if current is None or not current.boot_id:
                return current
            if not is_held(self._services.monitor_lock(container.id)):
                with self._services.store.lock(container.id):
                    repair(self._services, container.id)
            elif current.restarting or current.started != container.started:
                return current
            else:
                time.sleep(_POLL_S)

    def _gone(self, container_id: str) -> NotFound:
        return NotFound(f"No such container: {container_id}", subject=container_id)
