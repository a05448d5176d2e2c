"""Where `export` and `save` write: stdout if that is no terminal, or a file that appears whole."""

from __future__ import annotations

import os
import stat

from jubako.cli.flags import Refused
from jubako.cli.session import is_terminal
from jubako.errors import JubakoError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO


class Output:
    """Context manager that gives the stream to write to.

    path: "" for stdout.  what: for the error, `export container`.  The file gets its name only
    when the block ends well; until then it is a hidden sibling, removed after a failure.
    Raises Refused for a terminal, JubakoError for what is no file, KernelError when the file cannot
    be made.
    """

    def __init__(self, path: str, what: str):
        if not path and is_terminal(1):
            raise Refused("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        self._path = path
        self._temporary = ""
        if not path:
            self._stream: BinaryIO = os.fdopen(os.dup(1), "wb")
            return
        _check_replaceable(path, what)
        directory, name = os.path.split(path)
        temporary = os.path.join(directory, f".tmp-{name}{os.getpid()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._stream = os.fdopen(os.open(temporary, flags, 0o600), "wb")
        except OSError as exc:
            raise KernelError.from_oserror(f"failed to {what}: open", exc, path=path) from exc
        self._temporary = temporary

    def __enter__(self) -> BinaryIO:
        return self._stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._stream.close()
            if self._temporary and kind is None:
                os.rename(self._temporary, self._path)
                self._temporary = ""
        finally:
            if self._temporary:
                os.unlink(self._temporary)


_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link directly",
    stat.S_IFCHR: "character device file",
    stat.S_IFBLK: "block device file",
    stat.S_IFIFO: "named pipe (FIFO)",
    stat.S_IFSOCK: "socket",
}


def _check_replaceable(path: str, what: str) -> None:
    """The rename would put a file in the place of /dev/null, for everybody on the host."""
    directory = os.path.dirname(path)
    if directory and not os.path.exists(directory):
        raise JubakoError(
            f"failed to {what}: invalid output path: stat {directory}: no such file or directory",
            subject=path,
        )
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # nothing there, or what opening it will say
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is not None:
        raise JubakoError(f"failed to {what}: cannot write to a {kind}", subject=path)
