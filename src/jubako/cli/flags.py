"""Command-line flags with the grammar and the error texts of Docker's parser (pflag).

A command declares its flags once; the parser, the help, the manual and the completions read the
same declaration.  Texts for people live in `jubako.cli.texts`, so that a command that only runs
does not load them.

    -a -ab -n5 -n=5 -n 5      shorthands; a bool takes no value except after `=`
    --all --all=false --name=x --name x
    --                        everything after it is an argument
"""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.golang.quote import quote, quote_rune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


class UsageError(InvalidArgument):
    """The command line itself is wrong; printed with the usage line, exit code 125."""

    exit_code = 125


class OptionError(InvalidArgument):
    """Flags that are well formed but make no sense; printed with a pointer to the help, 125."""

    exit_code = 125


class Refused(InvalidArgument):
    """The command line is well formed and cannot work here: just the sentence, exit code 1."""


class HelpRequested(Exception):
    """`--help` was found while parsing; `shorthand` when it was the deprecated `-h`."""

    def __init__(self, shorthand: bool = False):
        super().__init__()
        self.shorthand = shorthand


class Kind:
    """The type of a flag's value.

    name: as the help shows it ("" for a bool).  parse: text to value, raises ValueError with the
    sentence to print.  many: values collect in a list.  bare: the value of the flag alone.
    zero: the default that the help does not mention, unless it is to be `shown` as such.
    """

    __slots__ = ("name", "parse", "many", "bare", "zero", "shown")

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any],
        *,
        many: bool = False,
        bare: str | None = None,
        zero: Any = None,
        shown: str = "",
    ):
        self.name = name
        self.parse = parse
        self.many = many
        self.bare = bare
        self.zero = zero
        self.shown = shown


_BOOLS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
_BOOLS.update(dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False))


def parse_bool(text: str) -> bool:
    """What Go's `strconv.ParseBool` accepts."""
    try:
        return _BOOLS[text]
    except KeyError:
        raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax") from None


def parse_int(text: str, bits: int = 64, signed: bool = True, base: int = 0) -> int:
    """What Go's `strconv.ParseInt` and `ParseUint` accept; base 0: 0x1f, 0o7, 017, 1_000 too."""
    name = "ParseInt" if signed else "ParseUint"
    digits = text.removeprefix("-" if text.startswith("-") else "+") if signed else text
    try:
        if not digits.isascii() or not digits[:1].isalnum() or digits[-1:].isspace():
            raise ValueError
        if base and "_" in digits:
            raise ValueError
        if base == 0 and len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
            value = int(digits, 8)  # Go reads 017 in octal; Python's base 0 refuses it
        else:
            value = int(digits, base)
    except ValueError:
        raise ValueError(f"strconv.{name}: parsing {quote(text)}: invalid syntax") from None
    if signed and text.startswith("-"):
        value = -value
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise ValueError(f"strconv.{name}: parsing {quote(text)}: value out of range")
    return value


LATER = "is not supported yet"

BOOL = Kind("", parse_bool, bare="true", zero=False)
STRING = Kind("string", str, zero="")
INT = Kind("int", parse_int, zero=0)
UINT = Kind("uint", lambda text: parse_int(text, signed=False), zero=0)
LIST = Kind("list", str, many=True, zero=())


class Flag:
    """One flag of a command.

    parse: overrides the kind's (a validator of Docker's list options).  into: the name under which
    the value is stored, for synonyms.  hidden: works, but help and completion leave it out.
    refused: the flag is known, and using it fails with these words after its name.
    """

    __slots__ = ("name", "short", "kind", "default", "parse", "into", "hidden", "refused")

    def __init__(
        self,
        name: str,
        short: str = "",
        kind: Kind = BOOL,
        *,
        default: Any = None,
        parse: Callable[[str], Any] | None = None,
        into: str | None = None,
        hidden: bool = False,
        refused: str = "",
    ):
        self.name = name
        self.short = short
        self.kind = kind
        self.default = kind.zero if default is None else default
        self.parse = parse or kind.parse
        self.into = into or name
        self.hidden = hidden
        self.refused = refused

    def title(self) -> str:
        """The flag as Docker's errors call it: `-m, --memory`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Command:
    """What can be called: its flags and its arguments.

    usage: the part of the usage line after the command's name.  minimum, maximum: the number of
    arguments (None: any).  interspersed: flags are looked for after the first argument too.
    failure: the exit code when the engine fails.  program: the command runs a program in the
    foreground, so that 126 and 127 say that the program could not be started.
    """

    __slots__ = ("usage", "flags", "minimum", "maximum", "interspersed", "failure", "program")

    def __init__(
        self,
        usage: str,
        flags: Sequence[Flag] = (),
        *,
        minimum: int = 0,
        maximum: int | None = 0,
        interspersed: bool = True,
        failure: int = 1,
        program: bool = False,
    ):
        self.usage = usage
        self.flags = flags
        self.minimum = minimum
        self.maximum = maximum
        self.interspersed = interspersed
        self.failure = failure
        self.program = program


class Call:
    """A parsed command line: the arguments and, by name, the value of every flag."""

    __slots__ = ("args", "_values", "_given")

    def __init__(self, args: list[str], values: dict[str, Any], given: set[str]):
        self.args = args
        self._values = values
        self._given = given

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line, with whatever value."""
        return name in self._given

    def has(self, name: str) -> bool:
        """Whether the command has such a flag at all."""
        return name in self._values

    def flag(self, name: str) -> bool:
        value = self._values[name]
        assert isinstance(value, bool)
        return value

    def text(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def number(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def many(self, name: str) -> list[Any]:
        """The values of a flag that may be repeated, in the order given."""
        return list(self._values[name])

    def extended(self, other: Call) -> Call:
        """This call with the flags that only the other one knows, as if they had been parsed."""
        return Call(self.args, {**other._values, **self._values}, self._given)


def parse(
    flags: Sequence[Flag],
    args: Sequence[str],
    *,
    interspersed: bool = True,
    help_short: bool = True,
) -> Call:
    """Split `args` into flags and arguments.

    help_short: `-h` asks for help when no flag of the command has that letter.
    Raises UsageError with Docker's sentence, Refused, or HelpRequested.
    """
    parser = _Parser(flags, help_short)
    rest = parser.run(args, interspersed)
    values = {flag.into: flag.default for flag in flags if flag.into == flag.name}
    values.update(parser.values)
    return Call(rest, values, parser.given)


class _Parser:
    def __init__(self, flags: Iterable[Flag], help_short: bool):
        self._by_name = {flag.name: flag for flag in flags}
        self._by_short = {flag.short: flag for flag in self._by_name.values() if flag.short}
        self._help_short = help_short
        self.values: dict[str, Any] = {}
        self.given: set[str] = set()

    def run(self, args: Sequence[str], interspersed: bool) -> list[str]:
        rest: list[str] = []
        index = 0
        while index < len(args):
            text = args[index]
            index += 1
            if len(text) < 2 or text[0] != "-":
                if not interspersed:
                    return [*rest, text, *args[index:]]
                rest.append(text)
            elif text == "--":
                return [*rest, *args[index:]]
            elif text[1] == "-":
                index = self._long(text, args, index)
            else:
                index = self._shorts(text[1:], args, index)
        return rest

    def _long(self, text: str, args: Sequence[str], index: int) -> int:
        name, has_value, value = text[2:].partition("=")
        if not name or name[0] == "-":
            raise UsageError(f"bad flag syntax: {text}")
        flag = self._by_name.get(name)
        if flag is None:
            if name != "help":
                raise UsageError(f"unknown flag: --{name}")
            flag = Flag("help")
        if not has_value:
            if flag.kind.bare is not None:
                value = flag.kind.bare
            elif index < len(args):
                value = args[index]
                index += 1
            else:
                raise UsageError(f"flag needs an argument: --{name}")
        self._set(flag, value)
        return index

    def _shorts(self, letters: str, args: Sequence[str], index: int) -> int:
        while letters:
            flag = self._by_short.get(letters[0])
            if flag is None:
                if letters[0] == "h" and self._help_short:
                    raise HelpRequested(shorthand=True)
                raise UsageError(f"unknown shorthand flag: {quote_rune(letters[0])} in -{letters}")
            if len(letters) > 2 and letters[1] == "=":
                self._set(flag, letters[2:])
                return index
            if flag.kind.bare is not None:
                self._set(flag, flag.kind.bare)
                letters = letters[1:]
                continue
            if len(letters) > 1:
                self._set(flag, letters[1:])
                return index
            if index >= len(args):
                raise UsageError(f"flag needs an argument: {quote_rune(letters[0])} in -{letters}")
            self._set(flag, args[index])
            return index + 1
        return index

    def _set(self, flag: Flag, text: str) -> None:
        if flag.refused:
            raise Refused(f'"--{flag.name}" {flag.refused}')
        try:
            value = flag.parse(text)
        except ValueError as exc:
            message = f"invalid argument {quote(text)} for {quote(flag.title())} flag: {exc}"
            raise UsageError(message) from None
        if flag.name == "help":
            if value:
                raise HelpRequested
            return
        self.given.add(flag.into)
        if flag.kind.many:
            self.values.setdefault(flag.into, []).append(value)
        else:
            self.values[flag.into] = value


def check_arguments(command: Command, path: str, args: Sequence[str]) -> None:
    """Refuse a wrong number of arguments with Docker's sentence (exit code 1).

    path: the command as the user knows it, `jubako container rm`.
    """
    low, high, count = command.minimum, command.maximum, len(args)
    if low <= count and (high is None or count <= high):
        return
    see = "Run"
    if high == 0:
        what = "accepts no arguments"
    elif low == high:
        what = f"requires {low} argument{'' if low == 1 else 's'}"
    elif high is None:
        what = f"requires at least {low} argument{'' if low == 1 else 's'}"
        see = "See"
    elif low == 0:
        what = f"requires at most {high} argument{'' if high == 1 else 's'}"
    else:
        what = f"requires at least {low} and at most {high} argument{'' if high == 1 else 's'}"
    raise Refused(
        f"'{path}' {what}\n\nUsage:  {path}{' ' if command.usage else ''}{command.usage}\n\n"
        f"{see} '{path} --help' for more information"
    )
