"""Run a function in a forked child: for what a process can do only once or to itself alone."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_child(function: Callable[[], T]) -> T:
    """What `function` returned in a forked child; its exception is an AssertionError here."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            try:
                answer: tuple[bool, object] = (True, function())
            except BaseException:
                answer = (False, traceback.format_exc())
            with open(write, "wb") as file:
                file.write(pickle.dumps(answer))
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with open(read, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    assert data, f"the child ended with {os.waitstatus_to_exitcode(status)} and no answer"
    good, value = pickle.loads(data)
    assert good, value
    return value  # type: ignore[no-any-return]


def run_to_end(function: Callable[[], object]) -> int:
    """The exit status (negative: the signal) of a forked child that runs `function`."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(77)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
