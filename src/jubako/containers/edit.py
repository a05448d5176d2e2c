"""`edit`: another configuration for a container that exists, which stays the same container.

ID, name, image, writable layer and logs stay; the checks are those of `create`.

    does not run      the record changes
    runs              what the kernel or a later look at the record can give it at once, it gets;
                      the rest needs a new start:

    plan ──▶ stop ──▶ record ──▶ start ──▶ let go of what only the old one used
                         │          │ fails
                         │          ▼
                         └──── old record ──▶ start        (and the error says so)

Volumes of the old configuration stay in use until the new one has started.  New ones belong to a
name beside the container's until the record has them, so that whoever finds them after a crash
(`repair.sweep`) takes them away and nothing else.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress

from jubako.containers import changes, secrets
from jubako.containers.definition import defaults
from jubako.containers.events import emit
from jubako.containers.table import image_ids
from jubako.errors import Conflict, InvalidArgument, JubakoError
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.containers.changes import Difference, Request
    from jubako.containers.lifecycle import Lifecycle
    from jubako.containers.model import ContainerRecord, HostConfig, Json, Mount, MountPoint
    from jubako.containers.services import Services
    from jubako.containers.table import Container


class Plan:
    """What an edit comes to for one record; nothing has happened yet."""

    __slots__ = ("record", "differences", "warnings", "contents")

    def __init__(
        self,
        record: ContainerRecord,
        differences: Sequence[Difference],
        warnings: Sequence[str],
        contents: dict[str, bytes],
    ):
        self.record = record
        self.differences = differences
        self.warnings = warnings
        self.contents = contents

    @property
    def waiting(self) -> list[str]:
        """The keys that a running container gets only by a new start."""
        return list(dict.fromkeys(one.key for one in self.differences if not one.live))


class Outcome:
    """What an edit did, or would do.

    restarted: the container was stopped and started.  left: volumes made for this container alone
    that no mount of it shows any more.
    """

    __slots__ = ("differences", "warnings", "restarted", "left")

    def __init__(
        self,
        plan: Plan,
        *,
        restarted: bool = False,
        left: Sequence[str] = (),
    ):
        self.differences = list(plan.differences)
        self.warnings = list(plan.warnings)
        self.restarted = restarted
        self.left = list(left)


def edit(
    services: Services,
    lifecycle: Lifecycle,
    reference: str,
    request: Request,
    *,
    restart_now: bool = False,
    remove_volumes: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Change the configuration of a container.

    restart_now: a running container may be stopped and started for it.  remove_volumes: delete the
    volumes that it leaves behind.  dry_run: check everything and change nothing.
    Raises NotFound, InvalidArgument, Unsupported, Conflict (it runs), KernelError; then everything
    is as it was.
    """
    container = services.table.get(reference)
    plan = _plan(services, container, request)
    if dry_run or not plan.differences:
        return Outcome(plan)
    restart = container.active and bool(plan.waiting)
    if restart and not restart_now:
        raise _busy(container, plan)
    if restart:
        return _restart(services, lifecycle, container, request, remove_volumes)
    with lifecycle.locked(reference) as current, ExitStack() as undo:
        plan = _plan(services, current, request)
        if current.active:
            if plan.waiting:  # it was started meanwhile
                raise _busy(current, plan)
            _change_limits(services, current, plan, undo)
        released = _commit(services, current, plan)
        undo.pop_all()
    left = _let_go(services, current.record, plan.record, released, remove_volumes)
    return Outcome(plan, left=left)


def _busy(container: Container, plan: Plan) -> Conflict:
    return Conflict(
        f'cannot change {", ".join(plan.waiting)} of container "/{container.name}" while it runs',
        hint="stop it first, or let `--restart-now` stop it, change it and start it again",
        subject=container.id,
    )


# planning


def _plan(services: Services, container: Container, request: Request) -> Plan:
    """The new record but for its mounts, all checks done."""
    from jubako.containers.create import complete, new_record

    record = container.record
    if container.status in ("removing", "dead"):
        raise Conflict(f"container {container.id} is being removed", subject=container.id)
    image = services.images.config(record["ImageId"])
    config: Json = json.loads(json.dumps(record["Config"]))
    host: Json = json.loads(json.dumps(record["HostConfig"]))
    defaults.undo(config, host, record["Id"])
    changes.apply(config, host, request, _untouched(services, record, image))
    merged, merged_host, warnings = complete(services, config, host, None, record["Id"])
    derived = new_record(
        services, record["Id"], record["ImageId"], record["ImageRef"], merged, merged_host
    )
    changed: ContainerRecord = {
        **record,
        "Config": merged,
        "HostConfig": merged_host,
        "Path": derived["Path"],
        "Args": derived["Args"],
        "LogPath": derived["LogPath"],
    }
    if merged_host["NetworkMode"] != record["HostConfig"]["NetworkMode"]:
        changed.pop("EndpointConfig", None)  # addresses of the network that it leaves
    chosen, contents = _secrets(record, request)
    if chosen or "Secrets" in record:
        changed["Secrets"] = chosen
    found = changes.differences((record["Config"], record["HostConfig"]), (merged, merged_host))
    found += _secret_differences(record, changed)
    return Plan(changed, found, warnings, contents)


def _untouched(
    services: Services, record: ContainerRecord, image: Mapping[str, Any]
) -> tuple[Json, Json]:
    """What a container of this image is that nobody asked anything of."""
    from jubako.containers.definition.config import merge

    plain = image.get("config") or {}
    request: Json = {"Image": record["Config"]["Image"]}
    if not plain.get("Cmd") and not plain.get("Entrypoint"):
        request["Cmd"] = record["Config"]["Cmd"] or record["Config"]["Entrypoint"]
    config, host, _ = merge(request, {}, image, container_id=record["Id"])
    return dict(config), dict(host)


def _secrets(record: ContainerRecord, request: Request) -> tuple[list[Any], dict[str, bytes]]:
    fresh, contents = secrets.check(request.secrets)
    kept = list(record.get("Secrets") or ())
    for name in request.remove_secrets:
        if all(secret["Name"] != name for secret in kept):
            raise InvalidArgument(f"the container has no secret {name}", subject=name)
        kept = [secret for secret in kept if secret["Name"] != name]
    names = {secret["Name"] for secret in fresh}
    targets = {secret["Target"] for secret in fresh}
    kept = [
        secret for secret in kept if secret["Name"] not in names and secret["Target"] not in targets
    ]
    return [*kept, *fresh], contents


def _secret_differences(old: ContainerRecord, new: ContainerRecord) -> list[Difference]:
    """By name, and without content: that of a secret given anew counts as changed."""
    before = {secret["Name"]: secret for secret in old.get("Secrets") or ()}
    after = {secret["Name"]: secret for secret in new.get("Secrets") or ()}
    return [
        changes.Difference(
            f"Secrets.Secrets.{name}", _shown(before.get(name)), _shown(after.get(name))
        )
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def _shown(secret: Any) -> Json | None:
    if secret is None:
        return None
    return {key: value for key, value in secret.items() if key != "Kept"}


# doing it


def _change_limits(services: Services, container: Container, plan: Plan, undo: ExitStack) -> None:
    """The kernel's limits of a running container; `undo` puts them back."""
    from jubako.containers.definition import resources
    from jubako.containers.update import as_in

    keys = {one.key for one in plan.differences}
    if not container.running or not keys & changes.IN_THE_KERNEL:
        return
    old, new = container.record["HostConfig"], plan.record["HostConfig"]
    limited: Json = {}
    for host in (old, new):
        for part, values in resources.limits(host).items():
            limited.setdefault(part, {}).update(values)
    with services.expecting_running(container) as runtime:

        def put_back() -> None:
            with suppress(JubakoError):  # the error that is on its way is the one to hear of
                runtime.update(container.id, as_in(old, limited))

        undo.callback(put_back)
        runtime.update(container.id, as_in(new, limited))
        point("containers.edit.limits")


def _commit(services: Services, container: Container, plan: Plan) -> list[str]:
    """Make the new record the container's; returns the volumes that it does not use any more.

    The caller holds the container's lock.  On failure nothing has changed.
    """
    borrower = f"{container.id}.edit"
    with services.store.lock(borrower):
        try:
            secrets.keep(services.store, container.id, plan.contents)
            plan.record["Mounts"] = _mounts(services, container.record, plan.record, borrower)
            point("containers.edit.mounts")
            released = _write(services, container, plan, borrower)
            point("containers.edit.written")
        except BaseException:
            services.volumes.discard(borrower)
            kept = container.record.get("Secrets") or ()
            secrets.tidy(services.store, container.id, kept)
            raise
        finally:
            _forget_lock(services, borrower)
    services.store.flush()
    return released


def _forget_lock(services: Services, name: str) -> None:
    from jubako.containers.takedown import forget_locks

    forget_locks(services, name)


def _write(services: Services, container: Container, plan: Plan, borrower: str) -> list[str]:
    volumes = services.volumes
    wanted = {point["Name"] for point in plan.record["Mounts"] if point["Type"] == "volume"}
    keys = ",".join(dict.fromkeys(one.key for one in plan.differences))
    with services.store.transaction():
        for name in volumes.used_by(borrower):
            volumes.use(name, container.id)
        volumes.release(borrower)
        for image_id in image_ids(plan.record):  # none may have gone meanwhile
            services.images.use(image_id)
        services.table.update(container.id, record=plan.record)
        emit(services.store, plan.record, "edit", changed=keys)
        return [name for name in volumes.used_by(container.id) if name not in wanted]


def _mounts(
    services: Services, old: ContainerRecord, new: ContainerRecord, borrower: str
) -> list[MountPoint]:
    """The mount points: those whose request is the same stay, with their volumes."""
    from jubako.containers.definition.mounts import resolve_mounts

    anonymous: dict[str, dict[str, object]] = {}
    binds: list[str] = []
    mounts: list[Mount] = []
    before, after = _asked(old), _asked(new)
    same_sources = old["HostConfig"]["VolumesFrom"] == new["HostConfig"]["VolumesFrom"]
    kept: list[MountPoint] = []
    for point_ in old["Mounts"]:
        target = point_["Destination"]
        if target in before:
            stays = target in after and before[target] == after[target]
        else:
            stays = same_sources and target not in after
        if stays:
            kept.append(point_)
    there = {point_["Destination"] for point_ in kept}
    for target, (key, entry) in after.items():
        if target in there:
            continue
        if key == "Volumes":
            anonymous[target] = {}
        elif key == "Binds":
            binds.append(entry)
        elif key == "Mounts":
            mounts.append(entry)
    host: HostConfig = {
        **new["HostConfig"],
        "Binds": binds,
        "Mounts": mounts,
        "VolumesFrom": None if same_sources else new["HostConfig"]["VolumesFrom"],
    }
    fresh = resolve_mounts(
        borrower,
        {"Volumes": anonymous},
        host,
        services.volumes,
        lambda reference: services.table.get(reference).record,
        services.images.resolve,
    )
    hidden = {point_["Destination"] for point_ in fresh}
    return [*(point_ for point_ in kept if point_["Destination"] not in hidden), *fresh]


def _asked(record: ContainerRecord) -> dict[str, tuple[str, Any]]:
    """Target to (key, entry) of each mount that the configuration itself asks for."""
    from jubako.containers.definition import binds

    found: dict[str, tuple[str, Any]] = {}
    for target in record["Config"].get("Volumes") or ():
        found[binds.clean(target)] = ("Volumes", None)
    for text in record["HostConfig"]["Binds"] or ():
        found[binds.clean(text.split(":")[1] if ":" in text else text)] = ("Binds", text)
    for mount in record["HostConfig"].get("Mounts") or ():
        found[binds.clean(mount["Target"])] = ("Mounts", mount)
    return found


def _let_go(
    services: Services,
    old: ContainerRecord,
    new: ContainerRecord,
    names: Sequence[str],
    remove_volumes: bool,
) -> list[str]:
    """Give up volumes, images and kept secrets that only the old configuration used.

    names: the volumes.  Returns those made for this container alone, which nobody will find by a
    name.
    """
    secrets.tidy(services.store, old["Id"], new.get("Secrets") or ())
    for image_id in set(image_ids(old)) - set(image_ids(new)):
        services.images.release(image_id)
    if not names:
        return []
    left = services.volumes.release(old["Id"], names)
    if remove_volumes:
        left = [name for name in left if not services.volumes.remove_if_unused(name)]
    services.store.flush()
    return left


# with a new start


def _restart(
    services: Services,
    lifecycle: Lifecycle,
    container: Container,
    request: Request,
    remove_volumes: bool,
) -> Outcome:
    """Stop, change, start.

    A container of `--rm` is none meanwhile: neither its end nor a start that fails may delete it.
    """
    removes_itself = bool(container.record["HostConfig"].get("AutoRemove"))
    with ExitStack() as last:
        if removes_itself:
            _set_auto_remove(services, lifecycle, container.id, False)
            last.callback(_set_auto_remove, services, lifecycle, container.id, True)
        lifecycle.stop(container.id)
        point("containers.edit.stopped")
        old = services.table.get(container.id).record
        try:
            with lifecycle.locked(container.id) as current:
                if current.active:
                    raise Conflict(
                        f'container "/{container.name}" was started by somebody else meanwhile',
                        subject=container.id,
                    )
                plan = _plan(services, current, request)
                released = _commit(services, current, plan)
            lifecycle.start(container.id)
        except BaseException as exc:
            failure = _go_back(services, lifecycle, old, exc)
            if isinstance(exc, JubakoError):
                raise failure from exc
            raise
        left = _let_go(services, old, plan.record, released, remove_volumes)
    return Outcome(plan, restarted=True, left=left)


def _set_auto_remove(
    services: Services, lifecycle: Lifecycle, container_id: str, value: bool
) -> None:
    """Set `--rm` of a container; one that has ended meanwhile goes then."""
    with lifecycle.locked(container_id) as current:
        current.record["HostConfig"]["AutoRemove"] = value
        services.table.update(container_id, record=current.record)
        gone = value and not current.active
    if gone:
        lifecycle.remove(container_id, volumes=True)


def _go_back(
    services: Services, lifecycle: Lifecycle, old: ContainerRecord, error: BaseException
) -> JubakoError:
    """Put the old record back and start it; the error that tells both."""
    name = old["Name"]
    try:
        with lifecycle.locked(old["Id"]) as current:
            if not current.active:
                used = {point_["Name"] for point_ in old["Mounts"] if point_["Type"] == "volume"}
                services.table.update(old["Id"], record=old)
                fresh = [n for n in services.volumes.used_by(old["Id"]) if n not in used]
                for volume in services.volumes.release(old["Id"], fresh):
                    services.volumes.remove_if_unused(volume)
                secrets.tidy(services.store, old["Id"], old.get("Secrets") or ())
                services.store.flush()
        lifecycle.start(old["Id"])
    except JubakoError as exc:
        again = f"its old configuration was put back, but does not start any more either: {exc}"
    else:
        again = "its old configuration was put back, and it runs again"
    return Conflict(
        f"{name} does not start with the new configuration: {error}; {again}",
        hint=getattr(error, "hint", None),
        subject=old["Id"],
    )
