"""Device nodes of the host for a container: `--device`, `--device-cgroup-rule`, `--privileged`."""

from __future__ import annotations

import os
import re
import stat

from jubako.errors import InvalidArgument, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.containers.model import DeviceMapping, Json

# What a container has of its own, or must not get from the host's /dev.
_SKIPPED = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_RULE = r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})"  # compiled when first needed
MAX_DEVICES = 10_000  # a directory of --device is walked; far beyond any real /dev


def parse_mapping(text: str) -> DeviceMapping:
    """Parse `--device HOST[:CONTAINER][:PERMISSIONS]`.

    Raises InvalidArgument in Docker's words.
    """
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidArgument(f"invalid device specification: {text}", subject=text)
    source, inside, access = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        inside, access = parts[1], parts[2]
        if not valid_access(access):
            raise InvalidArgument(f"bad mode specified: {access}", subject=text)
    elif len(parts) == 2:
        if valid_access(parts[1]):
            access = parts[1]
        else:
            inside = parts[1]
    return {"PathOnHost": source, "PathInContainer": inside or source, "CgroupPermissions": access}


def valid_access(text: str) -> bool:
    """Whether `text` is made of r, w and m, each at most once."""
    return 0 < len(text) <= 3 and len(set(text)) == len(text) and set(text) <= set("rwm")


def parse_rule(text: str) -> Json:
    """Parse `--device-cgroup-rule 'c 13:* rwm'` into an OCI device rule.

    Raises InvalidArgument in Docker's words.
    """
    match = re.fullmatch(_RULE, text)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'", subject=text)
    kind, major, minor, access = match.groups()
    rule: Json = {"allow": True, "type": kind}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    rule["access"] = access
    return rule


def rule(node: Json, access: str) -> Json:
    """The OCI device rule that lets a container use `node`."""
    return {
        "allow": True,
        "type": node["type"],
        "major": node["major"],
        "minor": node["minor"],
        "access": access,
    }


def from_path(path: str, inside: str) -> list[Json]:
    """The OCI devices for one --device: a node, or all nodes below a directory.

    path: on the host; a symbolic link is followed.  inside: where it appears in the container.
    Raises InvalidArgument when there is nothing, in Docker's words.
    """
    resolved = os.path.realpath(path)
    try:
        status = os.stat(resolved)
    except OSError as exc:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": '
            f"{os.strerror(exc.errno or 0).lower()}",
            subject=path,
        ) from exc
    node = _node(status, inside)
    if node is not None:
        return [node]
    nodes: list[Json] = []
    if stat.S_ISDIR(status.st_mode):
        nodes = [
            found
            for full, child in _walk(resolved)
            if (found := _node(child, inside + full[len(resolved) :])) is not None
        ]
    if not nodes:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": '
            "not a device node",
            subject=path,
        )
    return nodes


def host_devices() -> list[Json]:
    """Every device node of the host's /dev, as an OCI device, for privileged containers."""
    nodes = []
    for path, status in _walk("/dev"):
        node = _node(status, path)
        if node is not None and path != "/dev/console":
            nodes.append(node)
    return nodes


def _walk(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a directory, links not followed, what vanishes meanwhile left out."""
    count = 0
    pending = [directory]
    while pending:
        current = pending.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as exc:
            if current == directory:
                raise KernelError.from_oserror("opendir", exc, path=directory) from exc
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                if entry.name not in _SKIPPED:
                    pending.append(entry.path)
                continue
            count += 1
            if count > MAX_DEVICES:
                raise InvalidArgument(f"{directory}: over {MAX_DEVICES} files")
            yield entry.path, status


def _node(status: os.stat_result, inside: str) -> Json | None:
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": inside,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
