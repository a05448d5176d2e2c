"""The help pages, laid out as Docker's: usage, sentence, aliases, wrapped options."""

from __future__ import annotations

import os

from jubako.cli import explain, tree
from jubako.cli.flags import BOOL, Command, Flag
from jubako.cli.main import GLOBAL
from jubako.cli.session import PROGRAM
from jubako.cli.texts import GLOBAL as GLOBAL_TEXTS
from jubako.cli.texts import GROUPS, LATER, TEXTS
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_COLUMNS = 80
COMMON = ("run", "exec", "ps", "bootstrap", "images", "version", "info")


def render(path: str, columns: int | None = None) -> str:
    """The help page of a command or group; path is "" for the program, else e.g. `container ls`.

    columns: width to wrap to; None asks the terminal on stdin, as Docker does, or takes 80.
    """
    if columns is None:
        columns = _terminal_columns()
    if not path:
        return _program_page(columns)
    path, module, rest = tree.find(path.split())
    if module is None or rest:
        return _group_page(path)
    return _command_page(path, module, columns)


def later(path: str) -> str | None:
    """What to do instead of a command of Docker's that does not exist yet; None if unknown."""
    return LATER.get(path)


def command(module: str) -> Command:
    """The declaration of the command that lives in a module of `jubako.cli.commands`."""
    found: Command = __import__(f"jubako.cli.commands.{module}", None, None, ["COMMAND"]).COMMAND
    return found


def paths(module: str) -> list[str]:
    """Every path that leads to a module, as Docker's help lists the aliases of a command."""
    found: list[str] = []
    for group, commands in tree.GROUPS.items():
        for name, target in commands.items():
            if target == module:
                found.append(f"{group} {name}")
                synonyms = tree.ALIASES.get(group, {}).items()
                found += [f"{group} {alias}" for alias, meant in synonyms if meant == name]
    return found + [name for name, target in tree.TOP.items() if target == module]


def visible(flags: Sequence[Flag]) -> list[Flag]:
    """The flags that help, manual and completions show, in their order."""
    return sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)


def _command_page(path: str, module: str, columns: int) -> str:
    declared = command(module)
    text = TEXTS[module]
    page = f"Usage:  {PROGRAM} {path} {declared.usage}".rstrip() + "\n\n"
    page += f"{text.long or text.summary}\n"
    aliases = paths(module)
    if len(aliases) > 1 and module != "completion":
        page += "\nAliases:\n  " + ", ".join(f"{PROGRAM} {alias}" for alias in aliases) + "\n"
    flags = visible(explain.flags_of(module, declared))
    if flags:
        page += "\nOptions:\n" + options(flags, {**explain.TEXTS, **text.flags}, columns)
    return page


def _group_page(path: str) -> str:
    commands = tree.GROUPS[path]
    names = [(name, TEXTS[module].summary) for name, module in sorted(commands.items())]
    page = f"Usage:  {PROGRAM} {path} COMMAND\n\n{GROUPS[path]}\n\n"
    page += "Commands:\n" + _table(names)
    return page + f"\nRun '{PROGRAM} {path} COMMAND --help' for more information on a command.\n"


def _program_page(columns: int) -> str:
    rest = sorted(name for name in tree.TOP if name not in COMMON and name != "help")
    page = f"Usage:  {PROGRAM} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n"
    page += "Common Commands:\n"
    page += _table([(name, TEXTS[tree.TOP[name]].summary) for name in COMMON])
    page += "\nManagement Commands:\n"
    page += _table([(name, text) for name, text in GROUPS.items()])
    page += "\nCommands:\n"
    page += _table([(name, TEXTS[tree.TOP[name]].summary) for name in rest])
    page += "\nGlobal Options:\n" + options(visible(GLOBAL.flags), GLOBAL_TEXTS, columns)
    return page + f"\nRun '{PROGRAM} COMMAND --help' for more information on a command.\n"


def _table(rows: list[tuple[str, str]]) -> str:
    return "".join(f"  {name:11} {summary}\n" for name, summary in rows)


def options(flags: Sequence[Flag], texts: Mapping[str, str], columns: int) -> str:
    """The block of options, as pflag's FlagUsagesWrapped lays it out."""
    lines: list[tuple[str, str]] = []
    for flag in flags:
        head = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        if flag.kind.name:
            head += f" {flag.kind.name}"
        usage = texts[flag.name] + _default(flag)
        lines.append(
            (head, f"{usage} ({flag.refused.removeprefix('is ')})" if flag.refused else usage)
        )
    width = max(len(head) for head, _ in lines) + 3
    return "".join(
        f"{head:{width}}{_wrap(usage, width, columns - 1)}\n".rstrip(" ") for head, usage in lines
    )


def _default(flag: Flag) -> str:
    """` (default x)`, or nothing for a value that goes without saying."""
    if flag.kind.shown:
        return f" (default {flag.kind.shown})"
    if flag.kind is BOOL:
        return " (default true)" if flag.default else ""
    if flag.default == flag.kind.zero:
        return ""
    shown = quote(flag.default) if isinstance(flag.default, str) else str(flag.default)
    return f" (default {shown})"


def _terminal_columns() -> int:
    try:
        return os.get_terminal_size(0).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def _wrap(text: str, indent: int, width: int) -> str:
    """pflag's `wrap`: a block of `width` columns, all lines but the first one indented."""
    room = width - indent
    head = ""
    if room < 24:  # too narrow beside the names: below them
        indent = 16
        room = width - indent
        head = "\n" + " " * indent
    if room < 24:
        return text.replace("\n", head)
    slop = 5
    room -= slop
    margin = "\n" + " " * indent
    line, text = _split(room, slop, text)
    block = head + line.replace("\n", margin)
    while text:
        line, text = _split(room, slop, text)
        block += margin + line.replace("\n", margin)
    return block


def _split(room: int, slop: int, text: str) -> tuple[str, str]:
    """The first line of `text`, up to `room` columns, `slop` more if that takes all of it."""
    if room + slop > len(text):
        return text, ""
    space = max(text.rfind(char, 0, room) for char in " \t\n")
    if space <= 0:
        return text, ""
    newline = text.rfind("\n", 0, room)
    if 0 < newline < space:
        space = newline
    return text[:space], text[space + 1 :]
