"""What a running container's runtime was asked to do, and the container has ended meanwhile."""

from __future__ import annotations

from contextlib import contextmanager

from jubako.errors import KernelError, NotFound, StartError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.runtime import Runtime

_PF_EXITING = 0x4  # linux/sched.h


@contextmanager
def expecting_running(runtime: Runtime, container_id: str, pid: int) -> Iterator[Runtime]:
    """The runtime, for something that only a running container can do.

    pid: of its init as its row names it.  What the row said a moment ago may be over: a failure
    inside the block is WrongState when the container has ended meanwhile.
    """
    try:
        yield runtime
    except (StartError, KernelError, NotFound) as exc:
        if exc.exit_code in (126, 127) or not _has_ended(runtime, container_id, pid):
            raise
        text = f"container {container_id} is not running"
        raise WrongState(text, subject=container_id) from exc


def _has_ended(runtime: Runtime, container_id: str, pid: int) -> bool:
    """Whether the init that its row named is gone; the container may have been started anew.

    A process that is about to end has no namespaces any more but still a state, for as long as it
    takes others to reap what was killed with it.
    """
    try:
        state = runtime.state(container_id)
    except NotFound:
        return True
    return state["status"] == "stopped" or state.get("pid") != pid or _is_exiting(pid)


def _is_exiting(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except OSError:
        return True
    flags = data[data.rindex(b")") + 2 :].split()[6]  # field 9 of proc_pid_stat(5)
    return bool(int(flags) & _PF_EXITING)
