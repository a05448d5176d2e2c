"""Writing YAML, as far as a compose file needs it: mappings, sequences, texts, numbers, booleans.

A text is written in double quotes unless it cannot be taken for anything else: YAML reads `no`,
`1e3`, `0x1f`, `22:22` and `~` as other things, and every reader differs a little.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*\Z", re.ASCII)
_RESERVED = frozenset("y n yes no on off true false null nan inf".split())
# What JSON leaves as it is but YAML does not print (YAML 1.2, 5.1): the C1 block, byte order mark,
# lone surrogates and the line breaks of older versions.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def write(value: dict[str, Any]) -> str:
    """A document without its end of line."""
    return "\n".join(_mapping(value, ""))


def scalar(value: object) -> str:
    """A text, number, boolean or nothing on one line."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.match(value) and value.lower() not in _RESERVED:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _mapping(value: dict[str, Any], margin: str) -> Iterator[str]:
    for key, entry in value.items():
        if isinstance(entry, dict) and entry:
            yield f"{margin}{scalar(key)}:"
            yield from _mapping(entry, margin + "  ")
        elif isinstance(entry, list) and entry:
            yield f"{margin}{scalar(key)}:"
            yield from _sequence(entry, margin + "  ")
        else:
            yield f"{margin}{scalar(key)}: {_empty(entry)}"


def _sequence(value: list[Any], margin: str) -> Iterator[str]:
    for entry in value:
        if isinstance(entry, dict) and entry:
            first, *rest = _mapping(entry, margin + "  ")
            yield f"{margin}- {first.strip()}"
            yield from rest
        else:
            yield f"{margin}- {_empty(entry)}"


def _empty(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    return "[]" if isinstance(value, list) else scalar(value)
