"""Options of `jubako-runtime`, in the grammar of runc's command line.

Its callers are programs (conmon, containerd's shim), so there is one table and no abbreviations:
`--name value`, `--name=value`, one dash or two, one-letter aliases; the first word that is no
option ends the options.  `argparse` would cost more than creating a container does.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BOOL, TEXT, NUMBER, LIST = "bool", "text", "number", "list"
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class Values:
    """What was given: `text`, `number`, `flag`, `many` by an option's long name."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def add(self, name: str, value: str) -> None:
        self._values.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        return self._values[name][-1] if name in self._values else default

    def many(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def flag(self, name: str) -> bool:
        return self.text(name, "false") in _TRUE

    def number(self, name: str, default: int = 0) -> int:
        return int(self.text(name, str(default)))


def parse(
    arguments: list[str], known: Mapping[str, str], aliases: Mapping[str, str]
) -> tuple[Values, list[str]]:
    """Split `arguments` into options and what follows them.

    known: long name -> kind.  aliases: letter -> long name.  Raises InvalidArgument.
    """
    values = Values()
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if not word.startswith("-") or word == "-":
            break
        index += 1
        if word == "--":
            break
        given, equals, value = word.lstrip("-").partition("=")
        name = aliases.get(given, given)
        kind = known.get(name)
        if kind is None:
            raise InvalidArgument(f"flag provided but not defined: -{given}")
        if kind == BOOL:
            value = (value if equals else "true").lower()
            if value not in _TRUE + _FALSE:
                raise InvalidArgument(f"invalid boolean value {value!r} for -{given}")
        elif not equals:
            if index == len(arguments):
                raise InvalidArgument(f"flag needs an argument: -{given}")
            value = arguments[index]
            index += 1
        if kind == NUMBER and not value.lstrip("-").isdigit():
            raise InvalidArgument(f"invalid value {value!r} for flag -{given}: not a number")
        values.add(name, value)
    return values, arguments[index:]
