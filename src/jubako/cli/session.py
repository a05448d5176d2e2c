"""What a command gets: the engine, opened when first asked for, and the streams to write to."""

from __future__ import annotations

import os

from jubako.errors import CleanupErrors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.engine import Engine
    from jubako.errors import JubakoError

PROGRAM = "jubako"


class Session:
    """One invocation of the command line.

    path: the command as the user knows it, `jubako container ls`.  root: the engine's root or None
    for the default.  All output goes through `out`, `out_bytes` and `err`, which take text with
    surrogates (file names that are not UTF-8) and raise BrokenPipeError when nobody reads.
    """

    def __init__(self, path: str, root: str | None = None, debug: bool = False):
        self.path = path
        self.root = root
        self.debug = debug
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine of the root, opened at first use."""
        if self._engine is None:
            from jubako.engine import Engine

            self._engine = Engine(self.root)
        return self._engine

    def out(self, text: str, end: str = "\n") -> None:
        """Write a result to stdout; nothing is buffered past the call."""
        self.out_bytes((text + end).encode(errors="surrogateescape"))

    def out_bytes(self, data: bytes) -> None:
        write_all(1, data)

    def err(self, text: str, end: str = "\n") -> None:
        """Write a message to stderr."""
        write_all(2, (text + end).encode(errors="surrogateescape"))

    def report(self, error: JubakoError) -> None:
        """Print an error, or each of several: the sentence, then its hint on a line of its own.

        `jubako.cli.main` calls this for what a command raises; a command does only for an error
        that it goes on after.
        """
        for one in error.errors if isinstance(error, CleanupErrors) else (error,):
            self.err(f"{PROGRAM}: {one}")
            if one.hint:
                self.err(f"hint: {one.hint}")


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; waits when the descriptor is non-blocking and full."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            select.select([], [fd], [])


def is_terminal(fd: int) -> bool:
    """Whether the descriptor is a terminal; a closed one is not."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def terminal_size() -> tuple[int, int] | None:
    """Rows and columns of the terminal on stdout, else on stdin; None without one."""
    for fd in (1, 0):
        if is_terminal(fd):
            size = os.get_terminal_size(fd)
            return size.lines, size.columns
    return None


def colour() -> bool:
    """Whether stdout may get colours: a terminal, no NO_COLOR, not TERM=dumb."""
    environ = os.environ
    return is_terminal(1) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
