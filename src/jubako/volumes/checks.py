"""What volumes may be called, who may own them, and which of them a filter means."""

from __future__ import annotations

import re

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]+"  # compiled when it is first needed
_MAX_NAME = 255  # it becomes the name of a directory
_MAX_ID = (1 << 32) - 2  # the next one means "leave it" to chown(2)


def check_name(name: str) -> None:
    """Raises InvalidArgument in Docker's words."""
    if len(name) == 1:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two "
            "alphanumeric characters",
            subject=name,
        )
    if not re.fullmatch(_NAME, name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path",
            subject=name,
        )
    if len(name) > _MAX_NAME:
        raise InvalidArgument(f"create {name[:20]}...: volume name is over {_MAX_NAME} characters")


def owner_options(name: str, uid: int | None, gid: int | None, mode: int | None) -> dict[str, str]:
    """The options that say who owns the volume, as they are stored.  Raises InvalidArgument."""
    found = {}
    for key, value in (("uid", uid), ("gid", gid)):
        if value is not None:
            if not 0 <= value <= _MAX_ID:
                raise InvalidArgument(f"create {name}: {key} must be in range 0-{_MAX_ID}")
            found[key] = str(value)
    if mode is not None:
        if not 0 <= mode <= 0o7777:
            raise InvalidArgument(f"create {name}: mode must be in range 0-7777 (octal)")
        found["mode"] = f"{mode:04o}"
    return found


def matches(patterns: Sequence[str], name: str) -> bool:
    """Docker's match of names: equal, or a regular expression found in it."""
    for pattern in patterns:
        try:
            if pattern == name or re.search(pattern, name):
                return True
        except re.error:
            continue
    return False
