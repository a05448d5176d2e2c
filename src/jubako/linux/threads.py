"""A thread that goes where the process does not: namespaces belong to threads."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> T:
    """Do `work` in a thread that ends with it; returns its result, or raises its error.

    There it may `unshare` or `setns` (CLONE_NEWNS: unshare first) while the process stays where it
    is.  Nothing may be imported in another mount namespace, whose files are not ours.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # raised again in the caller's thread
            errors.append(exc)

    thread = threading.Thread(target=run, name="other-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
