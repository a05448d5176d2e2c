"""Secrets: files that a container sees in memory only, and that nothing else ever shows.

    create    `check` takes the request apart; content that has no file goes to `keep`
    start     `stage` reads the content and writes it into a tmpfs of the monitor's mount namespace,
              `mounts` binds that, read-only, into the container
    remove    `tidy` deletes what was kept

A secret of a file is read anew at each start, so that a rotated one arrives.  One whose content was
given (an environment variable) lies in the run directory, which is in memory as well: a container
can be restarted with it, but not after a reboot.

The record has names and places, no content.  A file belongs to root and anybody in the container
may read it (0444, as with Docker's and Podman's secrets: many images read theirs after they have
changed to another user), unless the request says otherwise.
"""

from __future__ import annotations

import os

from jubako.errors import (
    InvalidArgument,
    KernelError,
    PermissionDenied,
    Unavailable,
    Unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from jubako.containers.model import ContainerRecord, Json, Secret
    from jubako.store import Store

DIRECTORY = "/run/secrets"
MAX_BYTES = 500 * 1024  # as Docker's and Podman's
MAX_SECRETS = 128
DEFAULT_MODE = 0o444

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}"
_KEYS = frozenset("Name File Env Content Target Uid Gid Mode".split())
_OVERHEAD_BYTES = 64 << 10  # tmpfs counts whole pages, and one for the directory
_PAGE = 4096


def check(requests: Iterable[Mapping[str, Any]]) -> tuple[list[Secret], dict[str, bytes]]:
    """Take a request for secrets apart: (what the record gets, content by its name for `keep`).

    Each has a Name, and of File (an absolute path of the host), Env (a variable of this process)
    and Content (bytes) exactly one; Target is a path, below /run/secrets unless it is absolute;
    Uid, Gid and Mode are numbers.
    Raises InvalidArgument, which never has content in it.
    """
    found: list[Secret] = []
    contents: dict[str, bytes] = {}
    for request in requests:
        secret, content = _check_one(request)
        if any(secret["Name"] == other["Name"] for other in found):
            name = secret["Name"]
            raise InvalidArgument(f"secret {name} is given twice", subject=name)
        if any(secret["Target"] == other["Target"] for other in found):
            raise InvalidArgument(f"two secrets at {secret['Target']}", subject=secret["Target"])
        found.append(secret)
        if content is not None:
            # a new name each time: an edit keeps the old content until the new one proved good
            secret["Kept"] = f"{secret['Name'][:200]}.{os.urandom(8).hex()}"
            contents[secret["Kept"]] = content
    if len(found) > MAX_SECRETS:
        raise InvalidArgument(f"a container can have {MAX_SECRETS} secrets, not {len(found)}")
    return found, contents


def _check_one(request: Mapping[str, Any]) -> tuple[Secret, bytes | None]:
    import re

    name = request.get("Name") or ""
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise InvalidArgument(f"invalid secret name: {name!r}")
    unknown = sorted(set(request) - _KEYS)
    if unknown:
        raise InvalidArgument(f"secret {name}: unknown key {unknown[0]}", subject=name)
    sources = [key for key in ("File", "Env", "Content") if request.get(key) is not None]
    if len(sources) != 1:
        raise InvalidArgument(
            f"secret {name}: needs one source, a file or an environment variable", subject=name
        )
    secret: Secret = {
        "Name": name,
        "Target": _target(name, request.get("Target") or name),
        "Uid": _number(name, request, "Uid", 0, (1 << 32) - 2),
        "Gid": _number(name, request, "Gid", 0, (1 << 32) - 2),
        "Mode": _number(name, request, "Mode", DEFAULT_MODE, 0o7777),
    }
    content: bytes | None = None
    if sources == ["File"]:
        secret["File"] = _path(name, request["File"])
        _read(secret)  # whether it can be, before the container is there
    elif sources == ["Env"]:
        secret["Env"] = str(request["Env"])
        content = os.environb.get(os.fsencode(secret["Env"]))
        if content is None:
            raise InvalidArgument(
                f"secret {name}: the environment variable {secret['Env']} is not set", subject=name
            )
    else:
        content = request["Content"]
        if not isinstance(content, bytes):
            raise InvalidArgument(f"secret {name}: its content must be bytes", subject=name)
    if content is not None:
        _check_size(name, len(content))
    return secret, content


def _target(name: str, text: str) -> str:
    from jubako.containers.definition import binds

    path = text if text.startswith("/") else f"{DIRECTORY}/{text}"
    if ".." in path.split("/") or "\0" in path or binds.clean(path) in ("/", DIRECTORY):
        raise InvalidArgument(f"secret {name}: invalid target {text!r}", subject=name)
    return binds.clean(path)


def _path(name: str, path: object) -> str:
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"secret {name}: the source must be an absolute path", subject=name)
    return path


def _number(name: str, request: Mapping[str, Any], key: str, default: int, highest: int) -> int:
    value = request.get(key)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value <= highest:
        raise InvalidArgument(f"secret {name}: invalid {key.lower()}: {value!r}", subject=name)
    return value


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes > MAX_BYTES:
        raise InvalidArgument(
            f"secret {name}: {size_bytes} bytes are too many, {MAX_BYTES} are allowed", subject=name
        )


# keeping content between starts


def _places(store: Store) -> tuple[str, ...]:
    """Where content may be kept, the best place first: a container's directory is one of these
    with its ID at the end.  Both are usually in memory."""
    return f"{store.run_dir}/secrets.", f"/dev/shm/{store.name}.secrets."


def keep(store: Store, container_id: str, contents: Mapping[str, bytes]) -> None:
    """Put content where it is in memory, readable by root alone.

    Raises Unsupported when there is none, KernelError.
    """
    from jubako.linux import atomic

    if not contents:
        return
    place = next((path for path in _places(store) if _is_memory(path)), None)
    if place is None:
        raise Unsupported(
            "keep a secret for the container's next start: neither /run nor /dev/shm is in memory",
            hint="mount a tmpfs at /run, or give the secret as a file (src=)",
        )
    directory = place + container_id
    _make_private(directory)
    for name, content in contents.items():
        atomic.write_file(f"{directory}/{name}", content, 0o600, durable=False)


def _is_memory(path: str) -> bool:
    from jubako.linux.statfs import RAMFS_MAGIC, TMPFS_MAGIC, filesystem_type

    try:
        fd = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return filesystem_type(fd) in (TMPFS_MAGIC, RAMFS_MAGIC)
    finally:
        os.close(fd)


def _make_private(path: str) -> None:
    """Make a directory of mode 0700, or take the one that is there: /dev/shm is everybody's."""
    import stat

    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        if not private or not stat.S_ISDIR(found.st_mode):
            raise PermissionDenied(
                f"keep a secret: {path} belongs to somebody else", subject=path
            ) from None
    except OSError as exc:
        raise KernelError.from_oserror("mkdir", exc, path=path) from exc


def tidy(store: Store, container_id: str, secrets: Iterable[Secret] = ()) -> None:
    """Delete what is kept of a container but of none of these secrets.  Idempotent."""
    wanted = {secret["Kept"] for secret in secrets if "Kept" in secret}
    for place in _places(store):
        directory = place + container_id
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        for name in names:
            if name not in wanted:
                os.unlink(f"{directory}/{name}")
        try:
            os.rmdir(directory)
        except OSError:
            continue  # not empty


def containers(store: Store) -> set[str]:
    """The IDs of the containers of which anything is kept."""
    found: set[str] = set()
    for place in _places(store):
        parent, prefix = os.path.split(place)
        found.update(
            name.removeprefix(prefix) for name in os.listdir(parent) if name.startswith(prefix)
        )
    return found


# start


def stage(record: ContainerRecord, store: Store, place: str) -> list[Json]:
    """Read the secrets and write them into a new tmpfs at `place`; the OCI mounts that show them.

    place: a directory of the container, made when needed.  The caller is in a mount namespace of
    its own, which takes the tmpfs with it when it ends.
    Raises InvalidArgument, KernelError (a file), Unavailable (content that a reboot took).
    """
    from jubako.linux import mountapi

    secrets = record.get("Secrets") or []
    contents = [_content(secret, store, record) for secret in secrets]
    os.makedirs(place, mode=0o700, exist_ok=True)
    tree = _new_tmpfs(sum(len(content) + _PAGE for content in contents))
    try:
        for secret, content in zip(secrets, contents, strict=True):
            _write(tree, _inner(secret["Target"]), secret, content)
        mountapi.attach(tree, place, why="the container's secrets, in memory")
    finally:
        os.close(tree)
    return _mounts(record, place)


def _content(secret: Secret, store: Store, record: ContainerRecord) -> bytes:
    if "File" in secret:
        return _read(secret)
    name = secret["Name"]
    for place in _places(store):
        try:
            with open(f"{place}{record['Id']}/{secret['Kept']}", "rb") as file:
                return file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            continue
    variable = secret.get("Env") or "VARIABLE"
    raise Unavailable(
        f"the content of secret {name} was given once and is never kept on a disk: it is gone "
        "since the host was restarted",
        hint="give it again: jubako container edit "
        f"--secret id={name},env={variable} {record['Name']}",
        subject=name,
    )


def _read(secret: Secret) -> bytes:
    path = secret["File"]
    try:
        # a FIFO or a device would wait for ever, or never end
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(fd, "rb") as file:
            import stat

            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InvalidArgument(
                    f"secret {secret['Name']}: {path} is not a regular file", subject=path
                )
            content = file.read(MAX_BYTES + 1)
    except IsADirectoryError as exc:
        raise InvalidArgument(
            f"secret {secret['Name']}: {path} is not a regular file", subject=path
        ) from exc
    except OSError as exc:
        raise KernelError.from_oserror(f"read secret {secret['Name']}", exc, path=path) from exc
    if len(content) > MAX_BYTES:
        raise InvalidArgument(
            f"secret {secret['Name']}: {path} has more than {MAX_BYTES} bytes", subject=path
        )
    return content


def _new_tmpfs(size_bytes: int) -> int:
    """A detached tmpfs whose pages never go to swap, where the kernel can promise that (6.4)."""
    from jubako.linux import mountapi

    options = f"size={size_bytes + _OVERHEAD_BYTES},mode=0755"
    attributes = mountapi.MOUNT_ATTR_NOSUID | mountapi.MOUNT_ATTR_NODEV | mountapi.MOUNT_ATTR_NOEXEC
    why = "secrets lie in memory only"
    try:
        return mountapi.new_mount(
            "tmpfs", "secrets", f"{options},noswap", attributes=attributes, why=why
        )
    except KernelError:
        return mountapi.new_mount("tmpfs", "secrets", options, attributes=attributes, why=why)


def _inner(target: str) -> str:
    """Where a secret lies in the tmpfs: its place below /run/secrets, or beside all those."""
    if target.startswith(f"{DIRECTORY}/"):
        return f"run/{target.removeprefix(DIRECTORY + '/')}"
    return f"elsewhere/{target.strip('/')}"


def _write(tree: int, path: str, secret: Secret, content: bytes) -> None:
    directory = os.dup(tree)
    try:
        *parents, name = path.split("/")
        for parent in parents:
            try:
                os.mkdir(parent, 0o755, dir_fd=directory)
                os.chmod(parent, 0o755, dir_fd=directory)  # whatever the umask
            except FileExistsError:
                pass
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = inner
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), secret["Uid"], secret["Gid"])
            os.fchmod(file.fileno(), secret["Mode"])  # after the owner: that clears setuid
    except OSError as exc:
        raise KernelError.from_oserror(
            f"write secret {secret['Name']}", exc, path=secret["Target"]
        ) from exc
    finally:
        os.close(directory)


def _mounts(record: ContainerRecord, place: str) -> list[Json]:
    """The binds: the directory /run/secrets, and a file for each that is to be elsewhere."""
    others = [point["Destination"] for point in record["Mounts"]]
    others += record["HostConfig"].get("Tmpfs") or ()
    # nothing can be mounted below a directory that nobody can make another one in
    shared = not any(f"{path}/".startswith(f"{DIRECTORY}/") for path in others)
    result: list[Json] = []
    for secret in record.get("Secrets") or ():
        target = secret["Target"]
        inside = shared and target.startswith(f"{DIRECTORY}/")
        source = f"{place}/run" if inside else f"{place}/{_inner(target)}"
        entry = {
            "destination": DIRECTORY if inside else target,
            "type": "bind",
            "source": source,
            "options": ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"],
        }
        if entry not in result:
            result.append(entry)
    return result


def insert(mounts: Sequence[Json], more: Sequence[Json]) -> list[Json]:
    """The mounts of a spec with `more` among them: after what is above, before what is below."""
    result = list(mounts)
    for entry in more:
        prefix = entry["destination"].rstrip("/") + "/"
        below = (
            index for index, other in enumerate(result) if other["destination"].startswith(prefix)
        )
        result.insert(next(below, len(result)), entry)
    return result
