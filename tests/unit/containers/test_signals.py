"""Names and numbers of signals."""

from __future__ import annotations

import pytest

from jubako.containers.signals import parse_signal
from jubako.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("sigterm", 15), ("9", 9), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "-9", "FOO", "RTMIN+99", "_DFL", "SIG_IGN"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(InvalidArgument, match="^invalid signal: "):
        parse_signal(text)


def test_a_signal_that_linux_has_not() -> None:
    with pytest.raises(InvalidArgument, match="^Linux does not support signal 65$"):
        parse_signal("65")
