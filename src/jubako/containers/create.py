"""Creating a container: everything that can be decided and checked before it starts."""

from __future__ import annotations

import os
import time

from jubako.containers import secrets as secrets_of
from jubako.containers.definition import support
from jubako.containers.events import emit
from jubako.containers.table import image_ids
from jubako.containers.takedown import forget_locks, run_all
from jubako.containers.times import timestamp
from jubako.errors import InvalidArgument, NameInUse, Unavailable
from jubako.linux.removal import remove_tree
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.containers.model import Config, ContainerRecord, HostConfig, Json
    from jubako.containers.services import Services

_NAME_ATTEMPTS = 20
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def create(
    services: Services,
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    name: str | None,
    secrets: Sequence[Mapping[str, Any]] = (),
    networking: Mapping[str, Any] | None = None,
    platform: str | None = None,
) -> tuple[str, list[str]]:
    """Make a container of an image; returns its ID and warnings.

    config, host_config: as the Engine API takes them, any key may be missing.
    secrets: see `jubako.containers.secrets`.  networking: the API's NetworkingConfig.
    platform: what the image has to be made for.
    On failure nothing is left.  Raises NotFound (image), InvalidArgument, NameInUse, Conflict.
    """
    image_ref = config.get("Image", "")
    image_id = services.images.resolve(image_ref)
    container_id = _new_id()
    image_config = services.images.config(image_id)
    if platform:
        _check_platform(services, image_ref, image_id, platform)
    merged, merged_host, warnings = complete(
        services, config, host_config, image_config, container_id
    )
    if not platform:
        warnings += _platform_warnings(image_config)
    endpoint: Json = {}
    if networking:
        from jubako.containers.networking import apply

        endpoint = apply(networking, merged, merged_host)
    record = new_record(services, container_id, image_id, image_ref, merged, merged_host)
    if endpoint:
        record["EndpointConfig"] = endpoint
    contents: dict[str, bytes] = {}
    if secrets:
        record["Secrets"], contents = secrets_of.check(secrets)
    with services.store.lock(container_id):
        try:
            _make_directories(services, container_id)
            secrets_of.keep(services.store, container_id, contents)
            point("containers.create.directories")
            _insert(services, record, name)
            point("containers.create.inserted")
        except BaseException:
            run_all(
                [
                    lambda: services.volumes.discard(container_id),
                    lambda: services.volumes.sweep(),
                    lambda: remove_tree(services.directory(container_id)),
                    lambda: secrets_of.tidy(services.store, container_id),
                    lambda: forget_locks(services, container_id),
                ]
            )
            raise
    if not merged_host.get("AutoRemove"):
        services.store.flush()
    return container_id, warnings


def complete(
    services: Services,
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    image_config: Mapping[str, Any] | None,
    container_id: str,
) -> tuple[Config, HostConfig, list[str]]:
    """A request filled up with the defaults and checked: (Config, HostConfig, warnings).

    image_config: None takes nothing from an image.  Nothing is changed anywhere.
    Raises NotFound (another container), InvalidArgument, Unsupported, Conflict.
    """
    from jubako.containers.definition.config import merge, pin_namespaces
    from jubako.containers.definition.validate import check
    from jubako.containers.logs.defaults import with_defaults

    host_config = with_defaults(host_config, services.store.path)
    merged, merged_host, warnings = merge(
        config, host_config, image_config, container_id=container_id
    )
    warnings += support.discard(merged_host, kernel_memory=host_config.get("KernelMemory") or 0)
    check(merged, merged_host)
    pin_namespaces(merged_host, lambda reference: services.table.get(reference).id)
    if merged_host["Links"]:
        from jubako.containers import links

        links.pin(services.table, merged_host)
    if merged_host["DeviceRequests"]:
        services.cdi_devices(merged_host)
    _check_runtime(services, merged_host.get("Runtime", ""))
    return merged, merged_host, warnings


def _check_platform(services: Services, reference: str, image_id: str, text: str) -> None:
    """Refuse an image that is made for something else.

    Raises NotFound and InvalidArgument in Docker's words.
    """
    from jubako.images.platform_check import require_image_platform
    from jubako.oci import platform as platforms

    try:
        platforms.parse(text)
    except InvalidArgument as exc:
        message = f"error parsing specified platform: {exc}"
        raise InvalidArgument(message, hint=exc.hint, subject=text) from exc
    require_image_platform(services.images, image_id, text, reference)


def _platform_warnings(image_config: Mapping[str, Any]) -> list[str]:
    """What Docker says of an image that was made for another machine."""
    if image_config.get("architecture") == _ARCHITECTURES.get(os.uname().machine):
        return []  # so it is nearly always; the rest is not loaded for that
    from jubako.oci import platform as platforms

    offered, host = platforms.of_config(image_config), platforms.host()
    if not offered["architecture"] or platforms.matches(host, offered):
        return []
    return [
        f"The requested image's platform ({platforms.text(offered)}) does not match the detected "
        f"host platform ({platforms.text(host)}) and no specific platform was requested"
    ]


def _check_runtime(services: Services, name: str) -> None:
    from jubako.runtime import is_builtin, open_runtime

    if is_builtin(name):
        return
    try:
        open_runtime(name, services.store.run_directory("runtime"))
    except Unavailable as exc:
        text = f"unknown or invalid runtime name: {name}"
        raise InvalidArgument(text, subject=name) from exc


def _new_id() -> str:
    """64 random hex digits; the short form is no number, for programs that tell IDs by that."""
    while True:
        candidate = os.urandom(32).hex()
        if not candidate[:12].isdigit():
            return candidate


def new_record(
    services: Services,
    container_id: str,
    image_id: str,
    image_ref: str,
    config: Config,
    host_config: HostConfig,
) -> ContainerRecord:
    """The record of a container without name and mounts, which depends on its configuration."""
    from jubako.containers.logs.plan import log_path, make_plan

    directory = services.directory(container_id)
    command = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    if not command:
        raise InvalidArgument("no command specified")
    driver = host_config["LogConfig"]["Type"]
    record: ContainerRecord = {
        "Id": container_id,
        "Name": "",
        "Created": timestamp(time.time_ns()),
        "ImageId": image_id,
        "ImageRef": image_ref,
        "Path": command[0],
        "Args": command[1:],
        "Config": config,
        "HostConfig": host_config,
        "Mounts": [],
        "RestartCount": 0,
        "Driver": services.images.layers.stacked_by,
        "Platform": "linux",
        "LogPath": log_path(directory, container_id, driver) if driver == "json-file" else "",
        "HostsPath": f"{directory}/hosts",
        "HostnamePath": f"{directory}/hostname",
        "ResolvConfPath": f"{directory}/resolv.conf",
    }
    make_plan(record, directory)  # refuses what the log driver would not take at the start
    return record


def _make_directories(services: Services, container_id: str) -> None:
    services.store.directory("containers", container_id)
    directory = services.directory(container_id)
    # the upper directory's mode is the mode of the container's `/`
    os.mkdir(f"{directory}/upper", 0o755)
    os.mkdir(f"{directory}/work", 0o700)


def _insert(services: Services, record: ContainerRecord, name: str | None) -> None:
    from jubako.containers.definition.mounts import resolve_mounts
    from jubako.containers.definition.validate import check_name

    if name:
        check_name(name)
        record["Name"] = name.removeprefix("/")
        _refuse_used_name(services, record["Name"])
    record["Mounts"] = resolve_mounts(
        record["Id"],
        record["Config"],
        record["HostConfig"],
        services.volumes,
        lambda reference: services.table.get(reference).record,
        services.images.resolve,
    )
    created_ns = time.time_ns()
    if name:
        _claim(services, record, created_ns)
        return
    from jubako.containers import names

    for attempt in range(_NAME_ATTEMPTS):
        record["Name"] = names.generate(attempt)
        try:
            _claim(services, record, created_ns)
            return
        except NameInUse:
            continue
    raise InvalidArgument("no free name found", hint="choose one with --name")


def _claim(services: Services, record: ContainerRecord, created_ns: int) -> None:
    """The row, unless the image or the name has gone meanwhile.  Raises NotFound, NameInUse."""
    with services.store.transaction():
        for image_id in image_ids(record):
            services.images.use(image_id)
        services.table.insert(record, created_ns)
        emit(services.store, record, "create")


def _refuse_used_name(services: Services, name: str) -> None:
    """Before any volume is made; the insertion decides for good."""
    row = services.store.db.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
    if row is not None:
        raise services.table.name_in_use(name)
