"""The functions of Go's templates and those that Docker adds.

A function takes the values of its arguments and raises FunctionError with Go's reason.
"""

from __future__ import annotations

from jubako.cli.goquote import quote
from jubako.cli.template.values import (
    NIL_SLICE,
    NO_VALUE,
    Map,
    Nil,
    show,
    show_float,
    to_json,
    truth,
    type_name,
    typed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class FunctionError(Exception):
    """Why a function cannot work on its arguments."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FunctionError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FunctionError(f"wrong type for value; expected int; got {type_name(value)}")
    return value


def _json(value: Any) -> str:
    import json

    return json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)


def _split(text: Any, separator: Any) -> list[str]:
    whole, mark = _text(text), _text(separator)
    return whole.split(mark) if mark else list(whole)


def _join(parts: Any, separator: Any) -> str:
    if isinstance(parts, Nil):
        return ""
    if not isinstance(parts, (list, tuple)):
        raise FunctionError(f"wrong type for value; expected []string; got {type_name(parts)}")
    return _text(separator).join(_text(part) for part in parts)


def _title(text: Any) -> str:
    out, start = "", True
    for char in _text(text):
        out += char.title() if start else char
        start = char.isspace() or not (char.isalnum() or char in "_'")
    return out


def _pad(text: Any, before: Any, after: Any) -> str:
    inner, left, right = _text(text), _number(before), _number(after)
    if left < 0 or right < 0:
        raise FunctionError("strings: negative Repeat count")
    return " " * left + inner + " " * right if inner else inner


def _truncate(text: Any, length: Any) -> str:
    whole, size = _text(text), _number(length)
    if size < 0:
        raise FunctionError(f"slice bounds out of range [:{size}]")
    return whole[:size]


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="surrogateescape"))
    if isinstance(value, (list, tuple, dict, Nil)):
        return len(value)
    if value is None or value is NO_VALUE:
        raise FunctionError("len of nil pointer")
    raise FunctionError(f"len of type {type_name(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise FunctionError(f"value has type {type_name(key)}; should be string")
            value = _at_key(value, key)
        elif isinstance(value, (list, tuple, str)):
            size = _len(value)
            position = _number_key(key)
            if not 0 <= position < size:
                raise FunctionError(f"index out of range: {position}")
            value = value.encode()[position] if isinstance(value, str) else value[position]
        elif isinstance(value, Nil):
            if value.text == "[]":
                raise FunctionError(f"index out of range: {show(key)}")
            value = NO_VALUE
        elif value is None or value is NO_VALUE:
            raise FunctionError("index of untyped nil")
        else:
            raise FunctionError(f"can't index item of type {type_name(value)}")
    return value


def _at_key(value: dict[str, Any], key: str) -> Any:
    if key in value:
        found = value[key]
        return typed(key, found) if found is None or type(found) is dict else found
    if value and all(isinstance(one, str) for one in value.values()):
        return ""  # the zero value of a map of strings
    if isinstance(value, Map) and any(
        isinstance(one, (list, type(None))) for one in value.values()
    ):
        return NIL_SLICE
    return NO_VALUE if value else ""


def _number_key(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int):
        if key is None or key is NO_VALUE:
            raise FunctionError("cannot index slice/array with nil")
        raise FunctionError(f"cannot index slice/array with type {type_name(key)}")
    return key


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise FunctionError(f"can't slice item of type {type_name(value)}")
    if len(bounds) > 2:
        raise FunctionError(f"too many slice indexes: {len(bounds)}")
    data = value.encode() if isinstance(value, str) else value
    ends = [0, len(data)]
    for place, bound in enumerate(bounds):
        position = _number_key(bound)
        if not 0 <= position <= len(data):
            raise FunctionError(f"index out of range: {position}")
        ends[place] = position
    if ends[0] > ends[1]:
        raise FunctionError(f"invalid slice index: {ends[0]} > {ends[1]}")
    cut = data[ends[0] : ends[1]]
    return cut.decode(errors="replace") if isinstance(cut, bytes) else cut


def _not(value: Any) -> bool:
    return not truth(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float, str)):
        return "string" if isinstance(value, str) else type(value).__name__
    return "other"


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    for other in others:
        empty = [one is None or one is NO_VALUE or isinstance(one, Nil) for one in (first, other)]
        if any(empty):
            if all(empty):
                return True
            continue
        if isinstance(first, (list, dict)) or isinstance(other, (list, dict)):
            raise FunctionError("non-comparable type " + show(first) + ": " + type_name(first))
        if _kind(first) != _kind(other):
            raise FunctionError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _unequal(first: Any, second: Any) -> bool:
    return not _equal(first, second)


def _less(first: Any, second: Any) -> bool:
    if _kind(first) == "other" or _kind(second) == "other" or isinstance(first, bool):
        raise FunctionError("invalid type for comparison")
    if _kind(first) != _kind(second):
        raise FunctionError("incompatible types for comparison")
    smaller: bool = first < second
    return smaller


def _less_equal(first: Any, second: Any) -> bool:
    return _less(first, second) or _equal(first, second)


def _greater(first: Any, second: Any) -> bool:
    return not _less_equal(first, second)


def _greater_equal(first: Any, second: Any) -> bool:
    return not _less(first, second)


def _print(*values: Any) -> str:
    """Go's Sprint: a space between two operands when neither is a string."""
    out = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            out += " "
        out += show(value)
    return out


def _println(*values: Any) -> str:
    return " ".join(map(show, values)) + "\n"


def _printf(layout: Any, *values: Any) -> str:
    import re

    rest = list(values)
    verb = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])")

    def one(match: re.Match[str]) -> str:
        flags, width, digits, letter = match.groups()
        if letter == "%":
            return "%"
        if not rest:
            return f"%!{letter}(MISSING)"
        shown = _verb(letter, flags, digits, rest.pop(0))
        size = int(width or 0)
        if "-" in flags:
            return shown.ljust(size)
        if "0" in flags and letter in "dxXfFeEgGob":
            sign = shown[0] if shown[:1] in ("-", "+") else ""
            return sign + shown[len(sign) :].rjust(size - len(sign), "0")
        return shown.rjust(size)

    out = verb.sub(one, _text(layout))
    if rest:
        extra = ", ".join(f"{type_name(value)}={show(value)}" for value in rest)
        out += f"%!(EXTRA {extra})"
    return out


def _verb(letter: str, flags: str, digits: str | None, value: Any) -> str:
    if letter in "vs":
        if letter == "s" and not isinstance(value, (str, list, tuple, dict, Nil)):
            return f"%!s({type_name(value)}={show(value)})"
        shown = show(value)
        return shown if digits is None else shown[: int(digits)]
    if letter == "q" and isinstance(value, str):
        return quote(value)
    if letter == "T":
        return type_name(value)
    if letter == "t" and isinstance(value, bool):
        return show(value)
    if letter in "dxXobc" and isinstance(value, int) and not isinstance(value, bool):
        return format(value, ("+" if "+" in flags else "") + letter)
    if letter in "xX" and isinstance(value, str):
        text = value.encode(errors="surrogateescape").hex()
        return text.upper() if letter == "X" else text
    if letter in "fFeEgG" and isinstance(value, float):
        if digits is None and letter in "gG":
            return show_float(value)
        return format(value, f"{'+' if '+' in flags else ''}.{digits or 6}{letter}")
    return f"%!{letter}({type_name(value)}={show(value)})"


def _html(*values: Any) -> str:
    text = _print(*values)
    for char, entity in (
        ("&", "&amp;"),
        ("'", "&#39;"),
        ('"', "&#34;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("\0", "\ufffd"),
    ):
        text = text.replace(char, entity)
    return text


def _url_query(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values), safe="~")


# Arity: (least, most); most is None for any number.
FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int | None]] = {
    "eq": (_equal, 1, None),
    "ge": (_greater_equal, 2, 2),
    "gt": (_greater, 2, 2),
    "html": (_html, 0, None),
    "index": (_index, 1, None),
    "join": (_join, 2, 2),
    "json": (_json, 1, 1),
    "le": (_less_equal, 2, 2),
    "len": (_len, 1, 1),
    "lower": (lambda text: _text(text).lower(), 1, 1),
    "lt": (_less, 2, 2),
    "ne": (_unequal, 2, 2),
    "not": (_not, 1, 1),
    "pad": (_pad, 3, 3),
    "print": (_print, 0, None),
    "printf": (_printf, 1, None),
    "println": (_println, 0, None),
    "slice": (_slice, 1, None),
    "split": (_split, 2, 2),
    "title": (_title, 1, 1),
    "truncate": (_truncate, 2, 2),
    "upper": (lambda text: _text(text).upper(), 1, 1),
    "urlquery": (_url_query, 0, None),
}
NAMES = frozenset(FUNCTIONS) | {"and", "or"}

# What the functions do to a table's header: the name of the column stays readable.
HEADER_FUNCTIONS = frozenset("json split join title lower upper truncate".split())
