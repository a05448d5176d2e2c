"""Files of /proc and /sys that are settings of the kernel."""

from __future__ import annotations

import os

from jubako.errors import KernelError
from jubako.linux.shell import quote
from jubako.linux.trace import traced


@traced(
    lambda path, text, *, why="": f"printf %s {quote(text)} > {quote(path)}",
    facts=lambda path, text, *, why="": {"path": path, "value": text},
)
def write(path: str, text: str, *, why: str = "") -> None:
    """One write(2), the form in which the kernel takes a value.  Raises KernelError."""
    put(path, text, shown=text)


def put(path: str, text: str, *, shown: str) -> None:
    """The same for callers with a trace of their own.  shown: the value, in an error."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError("write", error.errno or 0, path=path, detail=shown) from error
