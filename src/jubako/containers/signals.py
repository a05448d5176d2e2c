"""Signals by the names and numbers that people give them."""

from __future__ import annotations

import signal

from jubako.errors import InvalidArgument


def parse_signal(text: str) -> int:
    """The number of `SIGTERM`, `term`, `15` or `RTMIN+3`.  Raises InvalidArgument."""
    if text.isascii() and text.isdigit():
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
        if number > signal.SIGRTMAX:
            raise InvalidArgument(f"Linux does not support signal {number}", subject=text)
        raise InvalidArgument(f"invalid signal: {text}", subject=text)
    name = text.upper().removeprefix("SIG")
    base, plus, offset = name.partition("+")
    if plus and base == "RTMIN" and offset.isascii() and offset.isdigit():
        number = signal.SIGRTMIN + int(offset)
        if number <= signal.SIGRTMAX:
            return number
    base, minus, offset = name.partition("-")
    if minus and base == "RTMAX" and offset.isascii() and offset.isdigit():
        number = signal.SIGRTMAX - int(offset)
        if number >= signal.SIGRTMIN:
            return number
    found = getattr(signal, f"SIG{name}", None)
    if isinstance(found, signal.Signals):
        return int(found)
    raise InvalidArgument(f"invalid signal: {text}", subject=text)
