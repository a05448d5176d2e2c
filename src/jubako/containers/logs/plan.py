"""From the record of a container to the plan of its log driver; see `logs.driver`."""

from __future__ import annotations

from jubako.containers.logs.options import (
    REMOTE_DRIVERS,
    cache_disabled,
    cache_options,
    check_options,
    file_options,
    ring_bytes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord


def make_plan(record: ContainerRecord, directory: str) -> dict[str, Any]:
    """What `open_driver` needs, as JSON.

    directory: of the container's files.  Raises InvalidArgument.
    """
    chosen = record["HostConfig"]["LogConfig"]
    driver, options = chosen["Type"], chosen["Config"]
    check_options(driver, options)
    if driver == "none":
        return {"driver": "none"}
    if driver in REMOTE_DRIVERS:
        return _remote_plan(driver, options, record, directory)
    return {"driver": "file", "file": _file_plan(driver, options, record, directory)}


def _file_plan(
    driver: str, options: Mapping[str, str], record: ContainerRecord, directory: str
) -> dict[str, Any]:
    from jubako.containers.logs.fields import attributes, tag

    extra = attributes(options, record)
    if label := tag(options, record, ""):
        extra["tag"] = label
    path = log_path(directory, record["Id"], driver)
    return {**file_options(driver, options), "path": path, "attributes": extra}


def _remote_plan(
    driver: str, options: Mapping[str, str], record: ContainerRecord, directory: str
) -> dict[str, Any]:
    if driver == "syslog":
        from jubako.containers.logs.syslog_options import plan
    elif driver == "fluentd":
        from jubako.containers.logs.fluentd_options import plan
    elif driver == "gelf":
        from jubako.containers.logs.gelf_options import plan
    else:
        from jubako.containers.logs.journald_options import plan
    made: dict[str, Any] = {"driver": driver, "cache": None, **plan(options, record)}
    ring = ring_bytes(options)
    made["target"]["mode"] = "blocking" if ring is None else "non-blocking"
    if ring is not None:
        made["target"]["limit"] = ring
    if not cache_disabled(options):
        made["cache"] = {
            **file_options("local", cache_options(options)),
            "path": log_path(directory, record["Id"], driver),
            "attributes": {},
        }
    return made


def log_path(directory: str, container_id: str, driver: str) -> str:
    """The current log file of a container; of a remote driver it is the local copy."""
    if driver in REMOTE_DRIVERS:
        return f"{directory}/container-cached.log"
    return f"{directory}/{container_id}-json.log"


def readable(driver: str, options: Mapping[str, str]) -> bool:
    """Whether `logs` can show what a container with this driver has written."""
    return driver != "none" and not (driver in REMOTE_DRIVERS and cache_disabled(options))
