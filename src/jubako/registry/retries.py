"""How long to wait before something is tried again: `Retry-After`, or a back-off of our own."""

from __future__ import annotations

import random
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WAIT_S = 60.0  # nobody waits longer than this in front of a terminal
_FIRST_WAIT_S = 0.25
_MAX_BACKOFF_S = 10.0
_MAX_HEADER = 64
_STATUSES = frozenset((408, 429, 500, 502, 503, 504))


def is_transient(status: int) -> bool:
    """Whether the same request may succeed a moment later."""
    return status in _STATUSES


def parse_retry_after(text: str, now: float) -> float | None:
    """`Retry-After` in seconds from `now` (since 1970): a number of seconds, or an HTTP date.

    Also a date as a number of seconds since 1970, which Docker Hub sends.  Never negative; None
    for anything else.
    """
    text = text.strip()[:_MAX_HEADER]
    if text.isascii() and text.isdigit():
        seconds = float(text)
        return max(seconds - now, 0.0) if seconds > 1e9 else seconds
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def backoff_s(failures: int) -> float:
    """The wait after so many failures in a row: it doubles, and no two clients have the same."""
    wait = min(_FIRST_WAIT_S * 2.0 ** min(failures - 1, 16), _MAX_BACKOFF_S)
    return wait * random.uniform(0.75, 1.25)


class Tries:
    """The tries that one thing has.

    attempts: how many in all.  wait: sleeps so many seconds, or raises when the client is closed.
    on_retry: told the reason and the seconds before each wait.
    """

    def __init__(
        self,
        attempts: int,
        wait: Callable[[float], None],
        on_retry: Callable[[str, float], None] | None,
    ):
        self._attempts = attempts
        self._failures = 0
        self._wait = wait
        self._on_retry = on_retry

    def again(self, reason: str, retry_after: str = "") -> bool:
        """After a failure: wait and say True, or False if that was the last try.

        retry_after: the header, if there was one.  A registry that wants to be left alone for
        longer than a minute is not waited for.
        """
        self._failures += 1
        if self._failures >= self._attempts:
            return False
        asked = parse_retry_after(retry_after, time.time())
        if asked is not None and asked > MAX_WAIT_S:
            return False
        seconds = backoff_s(self._failures) if asked is None else asked
        if self._on_retry is not None:
            self._on_retry(reason, seconds)
        self._wait(seconds)
        return True

    def progressed(self) -> None:
        """Enough has arrived that earlier failures count no longer."""
        self._failures = 0
