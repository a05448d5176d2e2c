"""The caller's terminal while it shows a container: raw mode, size, signals, detach keys."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

from jubako.errors import Detached, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_READ_BYTES = 1 << 16
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_NOT_PROXIED = {
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGURG,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCONT,
}


def parse_detach_keys(text: str | None) -> bytes:
    """`ctrl-p,ctrl-q` to the bytes a terminal sends.  Raises InvalidArgument, in Docker's words.

    None is the default; "" stands for no keys at all.
    """
    if text == "":
        return b""
    keys = bytearray()
    for name in (text or DEFAULT_DETACH_KEYS).split(","):
        if len(name) == 1 and name.isascii():
            keys += name.encode()
        elif name.startswith("ctrl-") and len(name) == 6 and name[5] in _CONTROL:
            keys.append(_CONTROL.index(name[5]))
        else:
            raise InvalidArgument(f"Invalid detach keys ({text}) provided", subject=name)
    return bytes(keys)


_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"  # position = byte


class DetachFilter:
    """Finds the detach sequence in what is typed, holding back a started one."""

    def __init__(self, keys: bytes):
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What to pass on.  Raises Detached when the sequence is complete."""
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            candidate = self._held + bytes((byte,))
            if self._keys.startswith(candidate):
                self._held = candidate
                if candidate == self._keys:
                    raise Detached("detached")
            else:
                passed += self._held
                self._held = b""
                if self._keys.startswith(bytes((byte,))):
                    self._held = bytes((byte,))
                else:
                    passed.append(byte)
        return bytes(passed)


class Terminal:
    """The caller's terminal in raw mode while a container's terminal is shown on it.

    Does nothing for descriptors that are no terminal.
    """

    def __init__(self, stdin: int | None, stdout: int | None):
        self._stdin = stdin if stdin is not None and os.isatty(stdin) else None
        self._output = stdout if stdout is not None and os.isatty(stdout) else self._stdin
        self._saved: list[Any] | None = None

    def __enter__(self) -> Terminal:
        if self._stdin is not None:
            import termios
            import tty

            self._saved = termios.tcgetattr(self._stdin)
            tty.setraw(self._stdin, termios.TCSANOW)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stdin is not None and self._saved is not None:
            import termios

            termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._saved)

    def size(self) -> tuple[int, int] | None:
        """Rows and columns, None without a terminal."""
        if self._output is None:
            return None
        size = os.get_terminal_size(self._output)
        return size.lines, size.columns


class SignalPipe:
    """Signals as readable bytes while the block runs, for a poll loop.

    proxied: None leaves every signal's disposition but SIGWINCH's alone.
    """

    def __init__(self, proxied: Callable[[int], None] | None, *, winch: bool):
        self._wanted = [signal.SIGWINCH] if winch else []
        if proxied is not None:
            self._wanted += [s for s in signal.valid_signals() if _proxyable(s)]
        self._old: dict[int, Any] = {}  # what signal.signal returns and takes
        self._pipe = (-1, -1)

    def __enter__(self) -> SignalPipe:
        self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._old_fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        except ValueError:  # not the main thread: a library's caller, who keeps his signals
            self._wanted = []
            self._old_fd = -1
            return self
        for number in self._wanted:
            self._old[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)
        if self._old or self._wanted:
            signal.set_wakeup_fd(self._old_fd)
        for fd in self._pipe:
            os.close(fd)

    def fileno(self) -> int:
        return self._pipe[0]

    def read(self) -> bytes:
        """The numbers of the signals that have come."""
        try:
            return os.read(self._pipe[0], 512)
        except BlockingIOError:
            return b""


def _proxyable(number: int) -> bool:
    return number not in _NOT_PROXIED and number < signal.SIGRTMIN


class Console:
    """What a container is shown on, and typed from, while the caller is attached to it.

    feed: what to pass on of what was typed; raises Detached.
    """

    __slots__ = ("feed", "_terminal", "_signals", "_forward", "_resize")

    def __init__(
        self,
        keys: DetachFilter,
        terminal: Terminal,
        signals: SignalPipe,
        forward: Callable[[int], None] | None,
        resize: Callable[[int, int], None],
    ):
        self.feed = keys.feed
        self._terminal = terminal
        self._signals = signals
        self._forward = forward
        self._resize = resize

    def fileno(self) -> int:
        """Readable when `take_signals` has something to do."""
        return self._signals.fileno()

    def take_signals(self) -> None:
        """Pass on what has come: a new size of the terminal, or a signal for the container."""
        for number in self._signals.read():
            if number == signal.SIGWINCH:
                self.take_size()
            elif self._forward is not None:
                self._forward(number)

    def take_size(self) -> None:
        """Tell the container's terminal how large the caller's is."""
        if size := self._terminal.size():
            self._resize(*size)


@contextmanager
def console(
    stdin: int | None,
    stdout: int | None,
    *,
    tty: bool,
    detach_keys: str | None,
    sig_proxy: bool,
    forward: Callable[[int], None] | None,
    resize: Callable[[int, int], None],
) -> Iterator[Console]:
    """The caller's console; with `tty` its terminal is raw inside the block.

    detach_keys: as `--detach-keys`.  sig_proxy: signals that we get are passed on.
    forward: called with each of them.  resize: called with rows and columns, first at once.
    Raises InvalidArgument (the keys).
    """
    keys = DetachFilter(parse_detach_keys(detach_keys) if tty else b"")
    with Terminal(stdin if tty else None, stdout if tty else None) as terminal:
        with SignalPipe(forward if sig_proxy else None, winch=tty) as signals:
            made = Console(keys, terminal, signals, forward, resize)
            made.take_size()
            yield made


def read_input(fd: int) -> bytes:
    """A piece of what is typed; nothing at its end."""
    try:
        return os.read(fd, _READ_BYTES)
    except OSError:  # a terminal that was hung up, a descriptor that cannot be read
        return b""
