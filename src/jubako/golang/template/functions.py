"""The functions of Go's templates and those that Docker adds.

A function takes the values of its arguments and raises FunctionError with Go's reason.
"""

from __future__ import annotations

from jubako.golang.quote import quote
from jubako.golang.template.values import (
    NO_VALUE,
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
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


class FunctionError(Exception):
    """Why a function cannot work on its arguments."""


def _json(value: Any) -> str:
    import json

    return json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _join(parts: Sequence[str] | Nil, separator: str) -> str:
    return separator.join(parts)


def _title(text: str) -> str:
    out, start = "", True
    for char in text:
        out += char.title() if start else char
        start = char.isspace() or not (char.isalnum() or char in "_'")
    return out


def _pad(text: str, before: int, after: int) -> str:
    if before < 0 or after < 0:
        raise FunctionError("strings: negative Repeat count")
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    if length < 0:
        raise FunctionError(f"slice bounds out of range [:{length}]")
    return text[:length]


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="surrogateescape"))
    if isinstance(value, (list, tuple, dict, Nil)):
        return len(value)
    if value is None or value is NO_VALUE:
        raise FunctionError("reflect: call of reflect.Value.Type on zero Value")
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
    return getattr(value, "default", NO_VALUE)


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
        if _kind(first) != _kind(other):
            raise FunctionError("incompatible types for comparison")
        if _kind(first) == "other":
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


def _printf(layout: str, *values: Any) -> str:
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

    out = verb.sub(one, layout)
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


def _js(*values: Any) -> str:
    text = _print(*values)
    for char, escaped in (
        ("\\", "\\\\"),
        ("'", "\\'"),
        ('"', '\\"'),
        ("<", "\\u003C"),
        (">", "\\u003E"),
        ("&", "\\u0026"),
        ("=", "\\u003D"),
    ):
        text = text.replace(char, escaped)
    return "".join(char if char >= " " else f"\\u{ord(char):04X}" for char in text)


class Function:
    """types: one letter for each argument: s string, i int, l list of strings, a anything; a star
    at the end lets the last one repeat.  least: how many arguments there must be.
    """

    __slots__ = ("call", "types", "least")

    def __init__(self, call: Callable[..., Any], types: str, least: int | None = None):
        self.call = call
        self.types = types
        self.least = len(types) if least is None else least

    def accepts(self, count: int) -> bool:
        return count >= self.least and (self.types.endswith("*") or count <= len(self.types))

    def type_of(self, place: int) -> str:
        """The letter of an argument."""
        letters = self.types.rstrip("*")
        return letters[min(place, len(letters) - 1)]


FUNCTIONS: Mapping[str, Function] = {
    "eq": Function(_equal, "aa*", 1),
    "ge": Function(_greater_equal, "aa"),
    "gt": Function(_greater, "aa"),
    "html": Function(_html, "a*", 0),
    "index": Function(_index, "aa*", 1),
    "join": Function(_join, "ls"),
    "js": Function(_js, "a*", 0),
    "json": Function(_json, "a"),
    "le": Function(_less_equal, "aa"),
    "len": Function(_len, "a"),
    "lower": Function(str.lower, "s"),
    "lt": Function(_less, "aa"),
    "ne": Function(_unequal, "aa"),
    "not": Function(_not, "a"),
    "pad": Function(_pad, "sii"),
    "print": Function(_print, "a*", 0),
    "printf": Function(_printf, "sa*", 1),
    "println": Function(_println, "a*", 0),
    "slice": Function(_slice, "aa*", 1),
    "split": Function(_split, "ss"),
    "title": Function(_title, "s"),
    "truncate": Function(_truncate, "si"),
    "upper": Function(str.upper, "s"),
    "urlquery": Function(_url_query, "a*", 0),
}
NAMES = frozenset(FUNCTIONS) | {"and", "or"}

# What the functions do to a table's header: the name of the column stays readable.
HEADER_FUNCTIONS = frozenset("json split join title lower upper truncate".split())
