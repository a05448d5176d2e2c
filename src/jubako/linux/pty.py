"""Pseudo-terminals: pairs, window size, raw mode."""

from __future__ import annotations

import fcntl
import os
import struct

from jubako.errors import KernelError

TIOCSCTTY = 0x540E
TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414
TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    TerminalMode = list[Any]


def open_pty(devpts: int | str = "/dev") -> tuple[int, int, int]:
    """A new pair in the devpts instance of `devpts`: a directory (path or descriptor).

    Returns the master, the slave and its number N (the slave is `pts/N` there); both descriptors
    are close-on-exec and neither becomes the controlling terminal.  The slave is opened through the
    master (TIOCGPTPEER), never by a path that a container could replace (CVE-2025-52565).
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    try:
        if isinstance(devpts, int):
            master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=devpts)
        else:
            master = os.open(os.path.join(devpts, "ptmx"), flags)
    except OSError as error:
        raise KernelError.from_oserror("open", error, path="ptmx") from error
    try:
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("=i", 0))
        number = struct.unpack("=i", fcntl.ioctl(master, TIOCGPTN, b"\0" * 4))[0]
        slave = fcntl.ioctl(master, TIOCGPTPEER, flags)
    except OSError as error:
        os.close(master)
        raise KernelError.from_oserror("open pseudo-terminal", error) from error
    return master, slave, number


def set_controlling(fd: int) -> None:
    """Make `fd` the controlling terminal; the caller leads a session that has none (setsid)."""
    try:
        fcntl.ioctl(fd, TIOCSCTTY, 0)
    except OSError as error:
        raise KernelError.from_oserror("ioctl TIOCSCTTY", error) from error


def get_size(fd: int) -> tuple[int, int]:
    """Columns and rows.  Raises KernelError (ENOTTY)."""
    try:
        rows, columns, _, _ = struct.unpack("=4H", fcntl.ioctl(fd, TIOCGWINSZ, b"\0" * 8))
    except OSError as error:
        raise KernelError.from_oserror("ioctl TIOCGWINSZ", error) from error
    return columns, rows


def set_size(fd: int, columns: int, rows: int) -> None:
    """Resize; the foreground process group gets SIGWINCH.  Values beyond 65535 are cut."""
    size = struct.pack("=4H", min(max(rows, 0), 65535), min(max(columns, 0), 65535), 0, 0)
    try:
        fcntl.ioctl(fd, TIOCSWINSZ, size)
    except OSError as error:
        raise KernelError.from_oserror("ioctl TIOCSWINSZ", error) from error


def set_raw(fd: int) -> TerminalMode:
    """Put a terminal into raw mode; returns what `restore` needs."""
    import termios

    try:
        old = termios.tcgetattr(fd)
        new = termios.tcgetattr(fd)
        iflag, oflag, cflag, lflag = range(4)
        new[iflag] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        new[oflag] &= ~termios.OPOST
        new[lflag] &= ~(
            termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
        )
        new[cflag] = new[cflag] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        new[6][termios.VMIN], new[6][termios.VTIME] = 1, 0
        termios.tcsetattr(fd, termios.TCSANOW, new)
    except termios.error as error:
        raise KernelError("set raw mode", error.args[0], path=f"fd {fd}") from error
    return old


def restore(fd: int, mode: TerminalMode) -> None:
    """Undo `set_raw`, after what is still to be printed; a vanished terminal is no error."""
    import termios

    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, mode)
    except termios.error:
        pass
