"""What a monitor writes down when its container has ended, and what follows from it.

The row is read anew in the transaction that records the end: the policy may have been changed while
the container ran, and a user who stops it says so there before he sends the signal.
"""

from __future__ import annotations

from jubako.containers import events
from jubako.containers.monitor import health, restart, samples
from jubako.containers.takedown import NOTHING_LEFT, run_all
from jubako.containers.times import now
from jubako.errors import JubakoError
from jubako.linux.cgroups import Cgroup
from jubako.store.events import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.containers.services import Services
    from jubako.containers.table import Container


class End:
    """How a container ended.

    code: its exit code.  oom: the kernel killed a process of it for want of memory.  errors: what
    could not be taken down.  ran_s: for how long it ran.  delay_s: the wait before its restart
    policy started it, 0 if a user did.  sample: what it used at last.  oom_due: `oom` was not told
    while it ran.
    """

    __slots__ = __match_args__ = (
        *("code", "oom", "errors", "ran_s", "delay_s", "sample", "oom_due"),
    )

    def __init__(
        self,
        code: int,
        oom: bool,
        errors: Sequence[JubakoError],
        ran_s: float,
        delay_s: float,
        sample: str,
        oom_due: bool,
    ):
        self.code = code
        self.oom = oom
        self.errors = errors
        self.ran_s = ran_s
        self.delay_s = delay_s
        self.sample = sample
        self.oom_due = oom_due

    @property
    def error(self) -> str:
        return "; ".join(str(error) for error in self.errors)


class Outcome:
    """What follows: it is removed (`--rm`), or started again after `restart_s`; else nothing."""

    __slots__ = __match_args__ = ("remove", "restart_s")

    def __init__(self, remove: bool, restart_s: float | None):
        self.remove = remove
        self.restart_s = restart_s


def record(services: Services, container_id: str, end: End) -> Outcome:
    """Write the end down and say what follows, in one transaction.

    Who finds `exited` need not ask what is left: `boot_id` is cleared with it.  It stays, and lets
    `recover` go on here if we die, when something could not be taken down, while `--rm` is still
    to be done, and while the container is `restarting`.
    """
    services.store.use_reserve()
    with services.store.transaction():
        container = services.table.find(container_id)
        assert container is not None  # only its monitor removes the row of a running container
        outcome = _decide(container, end)
        columns: dict[str, object] = {
            "pid": 0,
            "status": "exited",
            "finished": now(),
            "exit_code": end.code,
            "oom_killed": int(end.oom),
            "error": end.error,
            **health.ended(container.health),
        }
        if outcome.restart_s is not None:
            columns["status"] = "restarting"
            columns["restart_count"] = container.restart_count + 1
            columns["endpoint"] = {}
        elif not end.errors and not outcome.remove:
            columns.update(NOTHING_LEFT)
        services.table.update(container.id, **columns)
        samples.keep(services, container.id, end.sample)
        _tell(services, container, end, outcome)
    return outcome


def _decide(container: Container, end: End) -> Outcome:
    host = container.record["HostConfig"]
    if host.get("AutoRemove"):
        return Outcome(container.stop_requested != restart.RESTARTED, None)
    again = not end.errors and restart.wanted(
        host["RestartPolicy"],
        exit_code=end.code,
        restart_count=container.restart_count,
        stop_requested=container.stop_requested,
    )
    return Outcome(False, restart.next_delay_s(end.delay_s, end.ran_s) if again else None)


def _tell(services: Services, container: Container, end: End, outcome: Outcome) -> None:
    notes: dict[str, object] = {}
    if end.errors:
        notes["error"] = end.error
    if outcome.restart_s is not None:
        notes["restart_s"] = outcome.restart_s
    events.network(services, container, "disconnect")
    events.volumes(services, container, "unmount")
    if end.oom_due:
        events.emit(services.store, container.record, "oom")
    events.emit(
        services.store,
        container.record,
        "die",
        exitCode=end.code,
        execDuration=int(end.ran_s),
        notes=notes,
    )


def oom_killed(services: Services, container: Container) -> bool:
    """Whether the kernel has killed a process of it for want of memory; asked while its cgroup is
    there."""
    parent = container.record["HostConfig"].get("CgroupParent", "")
    try:
        return Cgroup(services.cgroup_path(container.id, parent)).oom_kills() > 0
    except JubakoError:
        return False


def note_lost_records(services: Services, container: Container, count: int) -> None:
    """Let `why` know how much of what it wrote did not get into its log, or to its log server."""
    if not count:
        return
    driver = container.record["HostConfig"]["LogConfig"]["Type"]
    lost = {"name": container.name, "records": str(count), "driver": driver}
    run_all([lambda: note(services.store, "log-lost", container.id, lost)])
