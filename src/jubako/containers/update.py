"""Changing limits and the restart policy of an existing container (`update`).

Of a running container the kernel's limits change first, then the record: what is written down
holds.  When something fails, the limits go back to what they were and the record is as before.
"""

from __future__ import annotations

from jubako.containers.definition import cpulist, resources, support
from jubako.containers.events import emit
from jubako.errors import Conflict, InvalidArgument, JubakoError, KernelError, NotFound
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord, HostConfig, Json
    from jubako.containers.services import Services
    from jubako.containers.table import Container

_NUMBERS = (
    "BlkioWeight",
    "CpuShares",
    "NanoCpus",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "Memory",
    "MemorySwap",
    "MemoryReservation",
)
_TEXTS = ("CpusetCpus", "CpusetMems")
_DEVICE_LIMITS = (
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
)
# what the kernel has where a HostConfig says nothing
_DEFAULTS: dict[tuple[str, str], int | str] = {
    ("memory", "limit"): -1,
    ("memory", "swap"): -1,
    ("memory", "reservation"): -1,
    ("cpu", "shares"): 1024,
    ("cpu", "period"): resources.CPU_PERIOD_US,
    ("cpu", "quota"): -1,
    ("cpu", "realtimePeriod"): 1_000_000,
    ("pids", "limit"): -1,
    ("blockIO", "weight"): 500,
}
FIELDS = frozenset((*_NUMBERS, *_TEXTS, "PidsLimit", "RestartPolicy", "KernelMemory"))


def update(services: Services, reference: str, changes: Mapping[str, Any]) -> list[str]:
    """Apply `changes`, keys of HostConfig (see FIELDS), to a container; returns warnings.

    0, "" and a missing key leave a value as it is; a limit of -1 lifts it, where Docker has that.
    Raises NotFound, InvalidArgument (a value), Conflict (it does not go with what is set),
    KernelError (the kernel refuses, for example less memory than is in use).
    """
    from jubako.containers.repair import repair

    request, warnings = _checked(changes)
    identity = services.table.get(reference).id
    with services.store.lock(identity):
        container = repair(services, identity)
        if container is None:
            raise NotFound(f"No such container: {reference}", subject=reference)
        try:
            _update(services, container, request)
        except Conflict as exc:
            text = f"Cannot update container {identity}: {exc}"
            raise Conflict(text, hint=exc.hint, subject=identity) from exc
        except KernelError as exc:
            operation = f"Cannot update container {identity}: {exc.op}"
            failed = KernelError(operation, exc.errno or 0, path=exc.path, detail=exc.detail)
            failed.hint = exc.hint
            raise failed from exc
    return warnings


def _checked(changes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values that are to change, and warnings.  Raises InvalidArgument."""
    from jubako.containers.definition.limits import check_resources
    from jubako.containers.definition.validate import check_restart

    unknown = sorted(changes.keys() - FIELDS)
    if unknown:
        raise InvalidArgument(
            f"cannot update {', '.join(unknown)}: only limits and the restart policy can change",
            subject=unknown[0],
        )
    request: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    for key, value in request.items():
        if key == "RestartPolicy":
            good = isinstance(value, dict)
        else:
            good = type(value) is (str if key in _TEXTS else int)
        if not good:
            raise InvalidArgument(f"invalid value of HostConfig.{key}: wrong type", subject=key)
    warnings = support.discard(request, kernel_memory=request.pop("KernelMemory", 0))
    limits = _only()
    limits.update(request)
    check_resources(limits, update=True)
    if request.get("RestartPolicy"):
        policy = request["RestartPolicy"]
        name, count = policy.get("Name") or "", policy.get("MaximumRetryCount") or 0
        request["RestartPolicy"] = {"Name": name, "MaximumRetryCount": count}
        if name or count:
            check_restart(name, count)
    return request, warnings


def _update(services: Services, container: Container, request: Mapping[str, Any]) -> None:
    if container.status in ("removing", "dead"):
        raise Conflict('container is marked for removal and cannot be "update"')
    host = container.record["HostConfig"]
    changed = _merged(host, request)
    limits = _limits(host, request)
    record = container.record.copy()
    record["HostConfig"] = changed
    if limits and container.running:
        with services.expecting_running(container) as runtime:
            before = as_in(host, limits)
            try:
                runtime.update(container.id, limits)
                point("containers.update.applied")
                _write(services, record)
            except BaseException:
                _restore(lambda: runtime.update(container.id, before))
                raise
    else:
        _write(services, record)


def _write(services: Services, record: ContainerRecord) -> None:
    with services.store.transaction():
        services.table.update(record["Id"], record=record)
        emit(services.store, record, "update")


def _restore(undo: Callable[[], None]) -> None:
    """Put back what can be put back; the error that is on its way is the one to hear of."""
    try:
        undo()
    except JubakoError:
        return


def _merged(host: HostConfig, request: Mapping[str, Any]) -> HostConfig:
    """The HostConfig with the changes.  Raises Conflict in Docker's words."""
    for key, new, old, present in (
        ("NanoCpus", "Nano CPUs", "CPU Period", host["CpuPeriod"]),
        ("NanoCpus", "Nano CPUs", "CPU Quota", host["CpuQuota"]),
        ("CpuPeriod", "CPU Period", "NanoCPUs", host["NanoCpus"]),
        ("CpuQuota", "CPU Quota", "NanoCPUs", host["NanoCpus"]),
    ):
        if (request.get(key) or 0) > 0 and present > 0:
            raise Conflict(
                f"Conflicting options: {new} cannot be updated as {old} has already been set"
            )
    memory, swap = request.get("Memory") or 0, host["MemorySwap"]
    if memory > swap and memory and swap != -1 and not request.get("MemorySwap"):
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time"
        )
    changed: Any = {**host}
    for key in (*_NUMBERS, *_TEXTS):
        if request.get(key):
            changed[key] = request[key]
    if request.get("PidsLimit"):
        changed["PidsLimit"] = request["PidsLimit"]
    policy = request.get("RestartPolicy") or {}
    if policy.get("Name"):
        if host["AutoRemove"] and policy["Name"] != "no":
            raise Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        changed["RestartPolicy"] = dict(policy)
    result: HostConfig = changed  # the keys are those of `host`, and the types were checked
    return result


def _limits(host: HostConfig, request: Mapping[str, Any]) -> Json:
    """The OCI resources of what changes, and of nothing else."""
    only = _only()
    for key in (*_NUMBERS, *_TEXTS, "PidsLimit"):
        if request.get(key):
            only[key] = request[key]
    # the limit of swap is one of the sum: when one part changes, the kernel has to hear of both
    if only["Memory"] and not only["MemorySwap"]:
        only["MemorySwap"] = host["MemorySwap"]
    elif only["MemorySwap"] and not only["Memory"]:
        only["Memory"] = host["Memory"]
    limits = {key: value for key, value in resources.limits(only).items() if value}
    if only["Memory"]:
        limits["memory"]["checkBeforeUpdate"] = True  # cgroup v2 kills where v1 refuses
    return limits


def _only() -> Any:
    """A HostConfig, as far as limits go, that limits nothing."""
    return {
        **dict.fromkeys((*_NUMBERS, "ShmSize", "OomScoreAdj"), 0),
        **dict.fromkeys(_TEXTS, ""),
        **dict.fromkeys(("MemorySwappiness", "OomKillDisable", "PidsLimit")),
        **{key: [] for key in _DEVICE_LIMITS},
    }


def as_in(host: HostConfig, limits: Json) -> Json:
    """The same keys of OCI resources as `limits`, with what `host` says or a new group has."""
    present = resources.limits(host)
    undo: Json = {}
    for part, values in limits.items():
        for key in values:
            old = (present.get(part) or {}).get(key) or _DEFAULTS.get((part, key))
            if old is None and key in ("cpus", "mems"):
                old = cpulist.online(key)
            if old is not None:
                undo.setdefault(part, {})[key] = old
    return undo
