"""A process that stands by to start one container, while its parent still creates it.

    command ──fork──> launcher                      imports what a start needs
       │ creates the row     │
       │ ── ID, descriptors ─> ──fork──> monitor    see jubako.containers.monitor.process

Half of what a short `run` takes is importing modules; creating and starting need different ones, so
two processors can do both at the same time.  And because this process was forked before the
database was opened, the parent need not close it: closing would write the log back to the disk.
"""

from __future__ import annotations

import gc
import os
import signal
import socket

from jubako.linux import fds, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from jubako.store import Store

_MAX_ID_BYTES = 256
_MAX_FDS = 3
_START_PATH = (
    "jubako.containers.monitor.process",
    "jubako.containers.definition.spec",
    "jubako.images",
    "jubako.linux.cgroups",
    "jubako.linux.seccomp",
    "jubako.runtime.builtin",
    "jubako.runtime.init",
    "jubako.runtime.sources",
)


class Launcher:
    """The parent's end.  One container; `close` if there is none to start after all."""

    def __init__(self, store: Store):
        """Fork the process.  The caller has no threads and has not opened the database."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            _stand_by(theirs, store.path)
        theirs.close()

    def launch(self, container_id: str, descriptors: list[int]) -> bool:
        """Let it fork the monitor of a container, and end; False if it was killed meanwhile.

        descriptors: the monitor's lock, the channel for its report, the first client if any.  They
        stay the caller's; the caller also waits for `pid`.
        """
        try:
            with self._channel:
                socket.send_fds(self._channel, [container_id.encode()], descriptors)
        except OSError:
            os.waitpid(self.pid, 0)
            return False
        return True

    def close(self) -> None:
        """Let it end without a container."""
        self._channel.close()
        os.waitpid(self.pid, 0)


def _stand_by(channel: socket.socket, root: str) -> NoReturn:
    try:
        gc.freeze()
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # of the terminal, and meant for the command
        fds.close_except((channel.fileno(), trace.descriptor()))
        import_start_path()
        order, descriptors, _, _ = socket.recv_fds(channel, _MAX_ID_BYTES, _MAX_FDS)
        channel.close()
        if order:
            from jubako.containers.monitor.process import detach

            detach(root, order.decode(), descriptors)
    finally:
        os._exit(1)


def import_start_path() -> None:
    """Import what starting a container needs."""
    for name in _START_PATH:
        __import__(name)
