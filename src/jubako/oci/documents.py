"""JSON that came from outside: read strictly, so that no two readers can see different things."""

from __future__ import annotations

import json

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_json(data: bytes, what: str) -> Any:
    """The value of a JSON document (RFC 8259), named `what` in errors.

    Refused beside bad syntax: anything but UTF-8, two members of one name (readers differ in which
    one counts), NaN and infinities, halves of surrogate pairs (no text can hold them), nesting as
    deep as the interpreter's stack.  The caller bounds the size.  Raises InvalidArgument.
    """
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant
        )
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"{what}: not valid JSON: half a surrogate pair in a text") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what}: not valid JSON: {_reason(exc)}") from exc
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the member {name[:80]!r} is there twice")
            seen.add(name)
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
