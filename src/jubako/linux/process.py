"""The one way to run a program of the host, without `subprocess`.

Only programs that serve where no system call does: `nft`, `newuidmap`, `newgidmap`, credential
helpers, OCI hooks, archive tools.  The environment is clean, descriptors are not inherited, and
there is always a time limit.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from jubako.errors import KernelError, Unavailable
from jubako.linux.shell import join
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT_BYTES = 64 << 20  # the largest answer anybody needs is `nft -j list ruleset`

_SHOWN_BYTES = 64 << 10  # of a program's input, in the trace

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)  # what Python ignores and exec would keep


class Completed:
    """How a program ended.  status: its exit status, 128 + signal if it was killed."""

    __slots__ = __match_args__ = ("status", "stdout", "stderr")

    def __init__(self, status: int, stdout: bytes, stderr: bytes):
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def find_program(name: str) -> str:
    """The path of `name` in PATH or the system's directories.  Raises Unavailable."""
    if "/" in name:
        return name
    for directory in f"{os.environ.get('PATH', '')}:{SEARCH_PATH}".split(":"):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise Unavailable(f"{name} is not installed", subject=name)


def _words(argv: Sequence[str], *, stdin: bytes = b"", secret: bool = False, **_: object) -> str:
    """With what it reads as a here-document, whose tabs a shell removes from each line."""
    if not stdin or secret or len(stdin) > _SHOWN_BYTES:
        return join(argv)
    text = stdin.decode(errors="replace")
    return f"{join(argv)} <<-'END'\n{text.rstrip(chr(10))}\nEND"


@traced(_words, facts=lambda argv, **_: {"argv": list(argv)})
def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
    limit_bytes: int = OUTPUT_LIMIT_BYTES,
    program: str | None = None,
    secret: bool = False,
    why: str = "",
) -> Completed:
    """Run a program to its end.

    argv[0]: a path, or a name that is looked up.  program: the path, where that differs (hooks).
    stdin: what it reads; secret: traces do not show it.  env: its whole environment (default: only
    PATH and LC_ALL=C).
    Raises Unavailable (not installed, not executable, no end within `timeout_s`, more output than
    `limit_bytes`; the program is dead then), KernelError.  Any exit status is a normal return.
    """
    path = find_program(program or argv[0])
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C"} if env is None else dict(env)
    pipes: list[int] = []
    try:
        for _ in range(3):
            pipes += os.pipe2(os.O_CLOEXEC)
        in_read, in_write, out_read, out_write, err_read, err_write = pipes
        actions = [
            (os.POSIX_SPAWN_DUP2, in_read, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, err_write, 2),
        ]
        try:
            pid = os.posix_spawn(
                path,
                list(argv),
                environment,
                file_actions=actions,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR):
                reason = os.strerror(error.errno)
                raise Unavailable(f"run {path}: {reason}", subject=argv[0]) from error
            raise KernelError.from_oserror("posix_spawn", error, path=path) from error
        for fd in (in_read, out_write, err_write):
            os.close(fd)
            pipes.remove(fd)
        deadline = time.monotonic() + timeout_s
        output = None
        ended = False
        try:
            output = _exchange(in_write, stdin, (out_read, err_read), pipes, deadline, limit_bytes)
            ended = output is not None and _has_ended(pid, deadline)
        finally:
            if not ended:
                os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        for fd in pipes:
            os.close(fd)
    if output is None or not ended:
        raise Unavailable(
            f"{argv[0]}: no end within {timeout_s:g} s or within {limit_bytes} bytes of output",
            subject=argv[0],
        )
    return Completed(status if status >= 0 else 128 - status, *output)


def _has_ended(pid: int, deadline: float) -> bool:
    """Wait for the end of a child that has closed its outputs; it may still go on."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(fd)


def _exchange(
    in_fd: int,
    data: bytes,
    outputs: tuple[int, int],
    owned: list[int],
    deadline: float,
    limit_bytes: int,
) -> tuple[bytes, bytes] | None:
    """Feed `data` and collect until both outputs are at their end; None: a limit was reached."""
    collected = {fd: bytearray() for fd in outputs}
    left = set(outputs)
    view = memoryview(data)
    poll = select.poll()
    for fd in outputs:
        poll.register(fd, select.POLLIN)
    os.set_blocking(in_fd, False)
    poll.register(in_fd, select.POLLOUT)

    def end_input() -> None:
        poll.unregister(in_fd)
        os.close(in_fd)
        owned.remove(in_fd)

    if not view:
        end_input()
    while left:
        wait_s = deadline - time.monotonic()
        if wait_s <= 0:
            return None
        for fd, _ in poll.poll(wait_s * 1000 + 1):
            if fd == in_fd:
                try:
                    view = view[os.write(fd, view[:65536]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    view = view[:0]  # it does not want the rest; its status tells why
                if not view:
                    end_input()
                continue
            chunk = os.read(fd, 65536)
            collected[fd] += chunk
            if not chunk:
                poll.unregister(fd)
                left.discard(fd)
            elif len(collected[fd]) > limit_bytes:
                return None
    return bytes(collected[outputs[0]]), bytes(collected[outputs[1]])
