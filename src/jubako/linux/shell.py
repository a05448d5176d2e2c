"""Words as a shell would need them, for the trace.

`shlex` is not used: a trace is rendered inside a container too, where nothing may be imported (the
files there are the image's), and it costs a millisecond.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")


def quote(text: str) -> str:
    """One word, quoted only if it must be."""
    if text and _SAFE.issuperset(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def join(words: Iterable[str]) -> str:
    """A command line."""
    return " ".join(map(quote, words))
