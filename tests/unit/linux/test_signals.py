"""Nothing that a parent ignores or blocks reaches a program."""

from __future__ import annotations

import ctypes
import signal
import struct

from jubako.linux import signals
from jubako.linux._libc import syscall
from tests.unit.linux.child import in_child

_sigaction = syscall("rt_sigaction", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long)


def _dispositions() -> dict[str, int]:
    with open("/proc/self/status") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    return {name: int(fields[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")}


def test_every_signal_is_reset_even_those_the_c_library_hides() -> None:
    def check() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        ignore = struct.pack("=Q", signal.SIG_IGN) + bytes(24)
        for hidden in (32, 33):
            assert _sigaction(hidden, ignore, None, 8) == 0
        before = _dispositions()
        assert before["SigIgn"] >> 31 & 0b11 == 0b11
        assert before["SigCgt"] and before["SigBlk"]
        signals.reset_all()
        assert _dispositions() == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}

    in_child(check)
