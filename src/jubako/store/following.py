"""Waiting for the next commit of anybody without looking all the time.

Every commit writes to `state.db-wal`, which inotify(7) tells.  It tells so a moment before the
commit can be seen: SQLite writes the log first and publishes its new end in shared memory after.
So who was told and finds nothing looks again after 5 ms, 10 ms, 20 ms ... before it waits anew.
"""

from __future__ import annotations

import os
import time

from jubako.errors import KernelError
from jubako.linux import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.store.store import Store

_FIRST_LOOK_S = 0.005
_LAST_LOOK_S = 2.0  # how long a writer may be stopped between its write and the publication
_POLL_S = 0.25  # where there are no inotify instances left


class Changes:
    """Tells when the database of a root may have changed.

    with Changes(store) as changes:
        while True:
            found = look()
            changes.wait(None, found=bool(found))
    """

    def __init__(self, store: Store):
        self._delay_s = _FIRST_LOOK_S
        self._fd = -1
        try:
            self._fd = inotify.init()
            # the directory, because the log vanishes with the last connection and comes back
            mask = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO
            inotify.add_watch(self._fd, store.path, mask)
        except KernelError:
            self.close()

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def wait(self, timeout_s: float | None, *, found: bool) -> None:
        """Until a look is worth it, at most `timeout_s`.

        found: whether the last look found something new.
        """
        if self._fd < 0:
            time.sleep(_POLL_S if timeout_s is None else min(_POLL_S, max(0.0, timeout_s)))
            return
        if found:
            self._delay_s = _FIRST_LOOK_S
        # a change may be on its way to being visible until the pause has grown long enough
        pause_s = self._delay_s if self._delay_s < _LAST_LOOK_S else None
        limits = [limit for limit in (pause_s, timeout_s) if limit is not None]
        if inotify.wait(self._fd, min(limits) if limits else None):
            self._delay_s = _FIRST_LOOK_S
        else:
            self._delay_s *= 2
