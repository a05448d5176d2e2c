"""Who a process is: user, group, supplementary groups (credentials(7)).

All three IDs of each kind are set at once, so that nothing of the former user can come back.
"""

from __future__ import annotations

import os

from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@traced(
    lambda groups, *, why="": (
        f"setpriv --groups {','.join(map(str, groups))}" if groups else "setpriv --clear-groups"
    )
)
def setgroups(groups: Sequence[int], *, why: str = "") -> None:
    """setgroups(2).  Raises OSError."""
    os.setgroups(groups)


@traced(lambda gid, *, why="": f"setpriv --regid {gid} --keep-groups")
def setgid(gid: int, *, why: str = "") -> None:
    """setresgid(2) of all three to `gid`.  Raises OSError."""
    os.setresgid(gid, gid, gid)


@traced(lambda uid, *, why="": f"setpriv --reuid {uid}")
def setuid(uid: int, *, why: str = "") -> None:
    """setresuid(2) of all three to `uid`.  Raises OSError."""
    os.setresuid(uid, uid, uid)
