"""Who the container's process runs as: `-u`, `USER` and `--group-add` against the image's files.

The rules are those of Docker (moby/sys/user): a numeric user is always a UID, even if an account
has that name; the first matching line wins; supplementary groups are added only when no group was
named.  Where Docker reads a malformed number as 0, and so as root, we skip the line.
"""

from __future__ import annotations

import errno

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ID = (1 << 31) - 1  # what Docker accepts; the kernel's 2**32 - 1 means "no change"
MAX_FILE_BYTES = 16 << 20  # an image chooses these files; real ones stay below a megabyte


class User:
    """uid, gid, groups (supplementary, without gid unless listed) and home of a process."""

    __slots__ = __match_args__ = ("uid", "gid", "groups", "home")

    def __init__(self, uid: int, gid: int, groups: Sequence[int], home: str):
        self.uid = uid
        self.gid = gid
        self.groups = tuple(groups)
        self.home = home


def resolve_user(rootfs_fd: int, user: str, group_add: Sequence[str] = ()) -> User:
    """Resolve `user[:group]` against /etc/passwd and /etc/group of a root file system.

    rootfs_fd: its directory.  user: names or numbers, "" is root.  group_add: more groups.
    The result's groups start with its gid, as Docker's do; its home is "/" when none is known.
    Missing files are empty; nothing outside the root is read.
    Raises InvalidArgument in Docker's words.
    """
    name, colon, group = user.partition(":")
    if ":" in group:
        group = group.partition(":")[0]
    wanted_uid = _number(name)
    uid, gid, home, account = 0, 0, "", ""
    found = _find_account(rootfs_fd, name, wanted_uid)
    if found is not None:
        account, uid, gid, home = found
    elif name:
        if wanted_uid is None:
            raise InvalidArgument(
                f"unable to find user {name}: no matching entries in passwd file", subject=name
            )
        uid = _checked(wanted_uid)
    groups: list[int] = []
    if group:
        gid = _find_group(rootfs_fd, group)
    elif account:
        groups = [number for _, number, members in _groups(rootfs_fd) if account in members]
    for extra in group_add:
        groups.append(_find_group(rootfs_fd, extra, error="Unable to find group"))
    return User(uid, gid, (gid, *groups), home or "/")


def home_of(rootfs_fd: int, uid: int) -> str:
    """The home directory of a UID, "/" when /etc/passwd has none."""
    found = _find_account(rootfs_fd, str(uid), uid)
    return found[3] or "/" if found else "/"


def _find_account(rootfs_fd: int, name: str, uid: int | None) -> tuple[str, int, int, str] | None:
    """(name, uid, gid, home) of the first line for this UID, or this name when it is no number."""
    wanted = 0 if not name else uid
    for fields in _lines(rootfs_fd, "/etc/passwd"):
        if len(fields) < 4:
            continue
        number, gid = _number(fields[2]), _number(fields[3])
        if number is None or gid is None or not 0 <= number <= MAX_ID or not 0 <= gid <= MAX_ID:
            continue
        if number == wanted if wanted is not None else fields[0] == name:
            return fields[0], number, gid, fields[5] if len(fields) > 5 else ""
    return None


def _find_group(rootfs_fd: int, group: str, *, error: str = "unable to find group") -> int:
    wanted = _number(group)
    for name, number, _ in _groups(rootfs_fd):
        if number == wanted if wanted is not None else name == group:
            return number
    if wanted is None:
        raise InvalidArgument(f"{error} {group}: no matching entries in group file", subject=group)
    return _checked(wanted)


def _groups(rootfs_fd: int) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(rootfs_fd, "/etc/group"):
        if len(fields) < 3:
            continue
        number = _number(fields[2])
        if number is not None and 0 <= number <= MAX_ID:
            yield fields[0], number, fields[3].split(",") if len(fields) > 3 else []


def _number(text: str) -> int | None:
    """A decimal number as Go's Atoi reads it (sign allowed), None for anything else."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(text)


def _checked(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{MAX_ID}")
    return number


def _lines(rootfs_fd: int, path: str) -> Iterator[list[str]]:
    """The colon-separated fields of every line that is not empty."""
    for line in _read(rootfs_fd, path).splitlines():
        text = line.strip()
        if text:
            yield text.decode(errors="surrogateescape").split(":")


def _read(rootfs_fd: int, path: str) -> bytes:
    """The file's content, b"" when there is none.  Never blocks, never leaves the root."""
    try:
        return openat2.read_in_root(rootfs_fd, path, MAX_FILE_BYTES)
    except KernelError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return b""
        if exc.errno in (errno.EINVAL, errno.EFBIG, errno.ELOOP, errno.EXDEV):
            raise InvalidArgument(
                f"{path} of the image: {exc.detail or exc}", subject=path
            ) from exc
        raise
