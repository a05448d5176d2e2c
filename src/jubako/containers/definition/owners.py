"""`:U` and `--mount ...,U`: what is mounted belongs to the container's user, as with Podman.

At each start the owner of everything below the source is changed; what has it already is left as
it is.  Nothing is followed out of the source, and other file systems mounted in it are left alone.
"""

from __future__ import annotations

import os
import stat

from jubako.containers.definition import users
from jubako.errors import InvalidArgument, KernelError
from jubako.linux.trace import traced
from jubako.volumes import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jubako.containers.model import ContainerRecord

# Podman's list: the host would not survive another owner of these.
_REFUSED = frozenset(
    """/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /mnt /opt
    /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin /usr/lib /usr/lib64 /usr/local /usr/sbin
    /usr/share /var /var/cache /var/lib /var/log /var/spool /var/tmp""".split()
)


def give_to_user(record: ContainerRecord, sources: Mapping[str, str], rootfs_fd: int) -> None:
    """Change the owners in all mounts that ask for it.

    sources: destination -> what is bound there instead of the record's Source.  rootfs_fd: the
    container's root, where its user is looked up.
    Raises InvalidArgument (no such user, a directory of the system), KernelError.
    """
    user = users.resolve_user(rootfs_fd, record["Config"]["User"])
    for point in record["Mounts"]:
        if not point.get("Chown"):
            continue
        path = sources.get(point["Destination"], point["Source"])
        if point["Type"] == "bind" and os.path.realpath(path) in _REFUSED:
            raise InvalidArgument(
                f"mount {point['Destination']}: chowning host path {path} is not allowed",
                hint=f"chown -R {user.uid}:{user.gid} {path}",
                subject=path,
            )
        why = f"{point['Destination']} is to belong to the container's user"
        _give(path, user.uid, user.gid, why=why)


@traced(lambda path, uid, gid, *, why="": f"chown -R {uid}:{gid} {path}")
def _give(path: str, uid: int, gid: int, *, why: str = "") -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                for _, fd, entries in tree.walk(handle, stay=True):
                    for name, status in entries:
                        if (status.st_uid, status.st_gid) != (uid, gid):
                            _chown(name, fd, uid, gid)
            os.chown(f"/proc/self/fd/{handle}", uid, gid)
        finally:
            os.close(handle)
    except OSError as exc:
        if isinstance(exc, KernelError):
            raise
        raise KernelError.from_oserror("chown", exc, path=path) from exc


def _chown(name: str, fd: int, uid: int, gid: int) -> None:
    try:
        os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        pass  # somebody who shares the volume has removed it
