"""Work that needs a process of its own: other namespaces, or a child that nobody waits for."""

from __future__ import annotations

import json
import os

from jubako.containers import report
from jubako.errors import JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from jubako.store import Store


def call_in_child(
    store: Store, work: Callable[[], object], *, meanwhile: Callable[[], object] | None = None
) -> None:
    """Do `work` in a forked child, and wait for it to end.

    meanwhile: what this process does while the child works, reading what it writes for example.
    Processes that `work` leaves behind belong to nobody here: the host's init reaps them.
    Raises the error that `work` raised.
    """
    store.close()  # a connection does not survive a fork
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _work(work, write_end)
    os.close(write_end)
    try:
        with open(read_end, "rb") as pipe:
            if meanwhile is not None:
                meanwhile()
            answer = pipe.read()
    finally:
        os.waitpid(child, 0)
    if not answer:
        raise JubakoError("the process that did the work died")
    packed = json.loads(answer)
    if packed:
        raise report.unpack_error(packed)


def _work(work: Callable[[], object], write_end: int) -> NoReturn:
    try:
        result = b"{}"
        try:
            work()
        except BaseException as exc:
            result = json.dumps(report.pack_error(exc)).encode()
        os.write(write_end, result)
    finally:
        os._exit(0)  # whatever happens, this process does not go on in the caller's code
