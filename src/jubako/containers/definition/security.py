"""`--security-opt`: seccomp, no_new_privs, AppArmor, SELinux labels, writable cgroups."""

from __future__ import annotations

import os

from jubako.errors import InvalidArgument
from jubako.golang.number import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jubako.containers.model import Json


class Options:
    """What the options of one container ask for.

    seccomp: "" the default, "builtin", "unconfined" or the JSON text of a profile.
    apparmor: "" the default or a profile's name.  writable_cgroups: None when not given.
    process_label, mount_label: SELinux, "" where there is none.
    """

    __slots__ = (
        "apparmor",
        "labels",
        "mount_label",
        "no_new_privileges",
        "process_label",
        "seccomp",
        "writable_cgroups",
    )

    def __init__(self) -> None:
        self.seccomp = ""
        self.apparmor = ""
        self.no_new_privileges = False
        self.writable_cgroups: bool | None = None
        self.labels: list[str] = []
        self.process_label = ""
        self.mount_label = ""


def parse(options: Sequence[str]) -> Options:
    """Read `HostConfig.SecurityOpt`; the later of two equal keys wins.

    Raises InvalidArgument in Docker's words.
    """
    result = Options()
    for option in options:
        if option == "no-new-privileges":
            result.no_new_privileges = True
            continue
        if option == "writable-cgroups":
            result.writable_cgroups = True
            continue
        if option == "disable":
            result.labels.append("disable")
            continue
        key, separator, value = option.partition("=" if "=" in option else ":")
        if not separator:
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"', subject=option)
        if key == "label":
            result.labels.append(value)
        elif key == "apparmor":
            result.apparmor = value
        elif key == "seccomp":
            result.seccomp = value
        elif key == "no-new-privileges":
            result.no_new_privileges = _flag(option, value)
        elif key == "writable-cgroups":
            result.writable_cgroups = _flag(option, value)
        else:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"', subject=option)
    if result.labels:
        _apply_labels(result)
    return result


def seccomp(options: Options, capabilities: Collection[str], *, privileged: bool) -> Json | None:
    """The OCI `linux.seccomp` object, or None for no filter.

    Raises InvalidArgument for a profile that cannot be read.
    """
    choice = options.seccomp
    if choice == "unconfined" or (privileged and not choice):
        return None
    if choice in ("", "builtin"):
        from jubako.oci import seccomp_default

        return seccomp_default.profile(capabilities)
    from jubako.oci import seccomp_profile

    return seccomp_profile.load(choice, capabilities)


def _flag(option: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise InvalidArgument(f'invalid --security-opt 2: "{option}"', subject=option) from None


def _apply_labels(options: Options) -> None:
    """SELinux `label=`: user, role, type, level, disable; no effect on a host without SELinux."""
    parts = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
    for label in options.labels:
        if label == "disable":
            return
        key, colon, value = label.partition(":")
        if not colon or key not in (*parts, "filetype", "nested"):
            raise InvalidArgument(f'bad label option "{label}"', subject=label)
        if key in parts:
            parts[key] = value
    if not os.path.exists("/sys/fs/selinux/enforce"):
        return
    options.process_label = ":".join(parts.values())
    options.mount_label = f"system_u:object_r:container_file_t:{parts['level']}"
