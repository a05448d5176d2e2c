"""What a runtime is, for its callers: descriptors in, a process out."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol
else:
    Protocol = object  # `typing` costs 4 ms, and nobody asks at run time


class Stdio:
    """The descriptors that become 0 to 2 of a process; -1 is /dev/null.

    The caller keeps them.  They are ignored when the process has a terminal.
    """

    __slots__ = __match_args__ = ("stdin", "stdout", "stderr")

    def __init__(self, stdin: int = -1, stdout: int = -1, stderr: int = -1):
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


class OpenStdio:
    """The same with /dev/null of the host opened where it is wanted, for a `with` block.

    Opened inside a container, the name could be anything.
    """

    __slots__ = ("_null", "_stdio")

    def __init__(self, stdio: Stdio):
        self._stdio = stdio
        self._null = -1

    def __enter__(self) -> Stdio:
        given = (self._stdio.stdin, self._stdio.stdout, self._stdio.stderr)
        if min(given) < 0:
            self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        return Stdio(*(self._null if fd < 0 else fd for fd in given))

    def __exit__(self, *exc: object) -> None:
        if self._null >= 0:
            os.close(self._null)


class Process:
    """A process that a runtime has made.

    pid: as the caller sees it.  pidfd: the caller's to close.  console: the terminal's master, the
    caller's to close; None without a terminal.
    """

    __slots__ = __match_args__ = ("pid", "pidfd", "console")

    def __init__(self, pid: int, pidfd: int, console: int | None = None):
        self.pid = pid
        self.pidfd = pidfd
        self.console = console

    def close(self) -> None:
        """Close the descriptors; the process goes on."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self.console is not None:
            os.close(self.console)
            self.console = None


class Runtime(Protocol):
    """An OCI runtime (runtime-spec runtime.md).  Built in, or a program such as crun or runc.

    A container is `created` after `create`: everything is set up and init waits.  `start` makes it
    `running`.  It is `stopped` once init has ended, and gone after `delete`:

        runtime = open_runtime(None, "/run/jubako/runtime")
        init = runtime.create("c1", "/var/lib/x/bundle", Stdio(0, 1, 2))
        runtime.start("c1")
        status = pidfd.wait(init.pidfd)
        runtime.delete("c1")

    Every operation on a container that does not exist raises NotFound, on one in another state
    WrongState.  A failed operation leaves things as they were.
    """

    def create(
        self,
        container_id: str,
        bundle: str,
        stdio: Stdio,
        *,
        spec: dict[str, Any] | None = None,
        die_with_parent: bool = False,
    ) -> Process:
        """Make the container; its init is a child of the caller.

        spec: the configuration; None reads `bundle`/config.json.  The root file system is there.
        die_with_parent: SIGKILL for init when the calling thread ends.
        Raises NameInUse, InvalidArgument, Unsupported, StartError (126, 127: the program cannot be
        executed), KernelError.
        """

    def start(self, container_id: str) -> None:
        """Execute the container's program.  Raises StartError with its exit code, WrongState."""

    def state(self, container_id: str) -> dict[str, Any]:
        """The OCI state (runtime-spec runtime.md#state)."""

    def kill(self, container_id: str, signal: int, *, everything: bool = False) -> None:
        """Send a signal to init, or to every process of the container."""

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """Remove what is left of a stopped container.

        force: kill it before, and be content when it does not exist.
        """

    def exec(
        self,
        container_id: str,
        process: dict[str, Any],
        stdio: Stdio,
        *,
        die_with_parent: bool = False,
    ) -> Process:
        """Run one more process in the container: an OCI process object.

        It is a child of the caller, and its program is being executed when this returns.
        Raises StartError like `create`.
        """

    def pause(self, container_id: str) -> None:
        """Stop all processes of the container until `resume`."""

    def resume(self, container_id: str) -> None:
        """Undo `pause`."""

    def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change limits: an OCI linux.resources object with only what changes."""

    def pids(self, container_id: str) -> list[int]:
        """The processes of the container, as the caller's PID namespace numbers them."""
