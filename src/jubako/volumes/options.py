"""Driver options of a local volume: `-o type=nfs -o device=:/export -o o=addr=...`.

Such a volume is mounted over its directory while a container uses it, each time in the mount
namespace of the container's monitor: the host's mount table stays as it was.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument, JubakoError, KernelError
from jubako.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# An option and those that it needs; the order of Docker's complaint.
_KNOWN: dict[str, tuple[str, ...]] = {
    "type": ("device",),
    "o": ("device", "type"),
    "device": ("type",),
    "size": (),
}

# The words of mount(8): (flag, whether the word clears it).
_WORDS: dict[str, tuple[int, bool]] = {
    "async": (mount.MS_SYNCHRONOUS, True),
    "atime": (mount.MS_NOATIME, True),
    "bind": (mount.MS_BIND, False),
    "defaults": (0, False),
    "dev": (mount.MS_NODEV, True),
    "diratime": (mount.MS_NODIRATIME, True),
    "dirsync": (mount.MS_DIRSYNC, False),
    "exec": (mount.MS_NOEXEC, True),
    "lazytime": (mount.MS_LAZYTIME, False),
    "mand": (mount.MS_MANDLOCK, False),
    "noatime": (mount.MS_NOATIME, False),
    "nodev": (mount.MS_NODEV, False),
    "nodiratime": (mount.MS_NODIRATIME, False),
    "noexec": (mount.MS_NOEXEC, False),
    "nomand": (mount.MS_MANDLOCK, True),
    "norelatime": (mount.MS_RELATIME, True),
    "nosuid": (mount.MS_NOSUID, False),
    "nostrictatime": (mount.MS_STRICTATIME, True),
    "rbind": (mount.MS_BIND | mount.MS_REC, False),
    "relatime": (mount.MS_RELATIME, False),
    "ro": (mount.MS_RDONLY, False),
    "rw": (mount.MS_RDONLY, True),
    "strictatime": (mount.MS_STRICTATIME, False),
    "suid": (mount.MS_NOSUID, True),
    "sync": (mount.MS_SYNCHRONOUS, False),
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "rprivate": mount.MS_PRIVATE | mount.MS_REC,
    "rshared": mount.MS_SHARED | mount.MS_REC,
    "rslave": mount.MS_SLAVE | mount.MS_REC,
    "runbindable": mount.MS_UNBINDABLE | mount.MS_REC,
    "shared": mount.MS_SHARED,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
_NETWORK_TYPES = frozenset(("nfs", "cifs"))
# A bind keeps the flags of its source: they are set by a second call.
_BIND_FLAGS = mount.MS_BIND | mount.MS_REC
_ATTRIBUTES = (
    mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC | mount.MS_NOATIME
    | mount.MS_NODIRATIME | mount.MS_RELATIME | mount.MS_STRICTATIME
)  # fmt: skip


def check(options: Mapping[str, str]) -> None:
    """Refuse unknown and incomplete options.  Raises InvalidArgument in Docker's words."""
    for name in options:
        if name not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{name}"', subject=name)
    if "size" in options:
        # needs project quotas, which no supported file system here has switched on
        raise InvalidArgument("quota size requested but no quota support", subject="size")
    for name in options:
        for needed in _KNOWN[name]:
            if needed not in options:
                raise InvalidArgument(f'missing required option: "{needed}"', subject=needed)


def parse(text: str) -> tuple[int, list[int], str]:
    """Mount options as mount(8) takes them: (flags, propagation changes, data for the kernel)."""
    flags = 0
    propagation: list[int] = []
    data: list[str] = []
    for word in text.split(",") if text else ():
        if word in _WORDS:
            flag, clears = _WORDS[word]
            flags = flags & ~flag if clears else flags | flag
        elif word in _PROPAGATION:
            propagation.append(_PROPAGATION[word])
        elif word:
            data.append(word)
    return flags, propagation, ",".join(data)


def attach(options: Mapping[str, str], target: str, *, why: str = "") -> None:
    """Mount a volume with driver options at `target`, in the caller's mount namespace.

    Nothing happens for options that mount nothing.  Raises KernelError without any password.
    """
    if not options.get("device"):
        return
    device, fstype, text = options["device"], options.get("type", ""), options.get("o", "")
    if fstype in _NETWORK_TYPES:
        text = _with_address(text)
    flags, propagation, data = parse(text)
    try:
        mount.mount(device, target, fstype, flags, data, why=why)
        if flags & mount.MS_BIND and flags & _ATTRIBUTES:
            mount.remount(target, flags & _ATTRIBUTES, why=why)
        for change in propagation:
            mount.set_propagation(target, change, why=why)
    except KernelError as exc:
        raise KernelError(
            "failed to mount local volume",
            exc.errno or 0,
            path=target,
            detail=f"{device}, {fstype}, {_without_password(text)}",
        ) from None  # the original names the data in full


def _with_address(text: str) -> str:
    """Replace `addr=<host name>`, which the kernel cannot resolve, by the address."""
    words = text.split(",")
    for index, word in enumerate(words):
        if word.startswith("addr="):
            words[index] = f"addr={_resolve(word[5:])}"
    return ",".join(words)


def _resolve(host: str) -> str:
    import socket

    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as exc:
        raise JubakoError(
            f"error resolving passed in network volume address: {host}: {exc.strerror}",
            subject=host,
        ) from exc


def _without_password(text: str) -> str:
    return ",".join(
        "password=********" if word.startswith(("password=", "pass=")) else word
        for word in text.split(",")
    )


def needs_mount(options: Mapping[str, str]) -> bool:
    """Whether using the volume means mounting something."""
    return bool(options.get("device"))
