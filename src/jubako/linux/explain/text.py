"""An explanation as a text.

Limits                                                                  2.61 ms, by the monitor
  A control group (cgroup) is a directory ...

  at most 64 MB of memory for all its processes together
       0.019 ms  echo 67108864 > /sys/fs/cgroup/memory/jubako-8a5b1ac3/$ID/memory.limit_in_bytes
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from itertools import groupby

from jubako.linux.explain.chapters import CHAPTERS, NAMESPACES, chapter_of, parts, rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.linux.trace import Event

WIDTH = 100
_INDENT = "  "
_BEFORE_COMMAND = " " * 17  # as wide as a duration
_ID = re.compile(r"[0-9a-f]{64}")
_ROLES = {
    "": "this command",
    "monitor": "the monitor",
    "init": "the container's first process",
    "exec": "the process that enters",
}


_HEAD = """\
# What was done in the kernel, and why.  Each line: how long it took, and a command that does the
# same; where there is none, the system call as a remark.
"""


def render(events: list[Event], *, bold: bool = False, head: bool = True) -> str:
    """Chapters with their events; only those that occur.

    head: with what a reader has to know first.
    """
    names = Names(events)
    lines: list[str] = [*([_HEAD] if head and events else []), *names.lines()]
    for part in parts(events):
        ordered = sorted(part, key=lambda event: rank(chapter_of(event)))  # stable
        for key, members in groupby(ordered, chapter_of):
            lines += ["", *_chapter(key, list(members), names, bold), ""]
    text = "\n".join(lines).strip("\n")
    return re.sub(r"\n{3,}", "\n\n", text) + "\n" if text else ""


class Names:
    """Variables of the shell for what is long and occurs again and again.

    They are assigned before the first chapter, so that the commands can be run as they are printed.
    """

    def __init__(self, events: list[Event]):
        shells = [event.shell for event in events]
        self._values: list[tuple[str, str]] = []
        counted = Counter(found for shell in shells for found in _ID.findall(shell))
        if counted:
            container, times = counted.most_common(1)[0]
            if times > 1:
                self._values.append(("ID", container))
                directory = re.compile(rf"(/[^\s,:=']*/containers/{container})/")
                found = next(filter(None, map(directory.search, shells)), None)
                if found is not None:
                    self._values.insert(0, ("DIR", found.group(1)))

    def lines(self) -> Iterator[str]:
        """The assignments; the longest value is the last, and names those before it."""
        short: list[tuple[str, str]] = []
        for name, value in reversed(self._values):
            for known, replaced in short:
                value = value.replace(replaced, f"${known}")
            yield f"{name}={value}"
            short.append((name, self._values[-1][1] if name == "ID" else value))

    def shorten(self, shell: str) -> str:
        if '"' in shell:  # a script, or a word that has quotes itself
            return shell
        parts = shell.split("'")
        for index in range(0, len(parts), 2):  # the others are inside of quotes
            for name, value in self._values:
                parts[index] = parts[index].replace(value, f"${name}")
        return "'".join(parts)


def _chapter(key: str, events: list[Event], names: Names, bold: bool) -> Iterator[str]:
    chapter = CHAPTERS[key]
    who = dict.fromkeys(_ROLES.get(event.role, event.role) for event in events)
    took = f"{sum(event.duration_s for event in events) * 1000:.2f} ms, by {' and '.join(who)}"
    room = WIDTH - len(took)
    title = f"{chapter.title:{room}}"
    yield f"\033[1m{title}\033[0m{took}" if bold else title + took
    yield from _wrapped(chapter.introduction, _INDENT)
    for why, members in groupby(events, lambda event: event.why):
        yield ""
        group = list(members)
        yield from _wrapped(_sentence(why), _INDENT)
        yield from _details(group[0])
        for event in group:
            yield from _event(event, names)


def _sentence(why: str) -> str:
    return why[:1].upper() + why[1:] + "."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _details(event: Event) -> Iterator[str]:
    """What an event's arguments say that the command does not say plainly."""
    if event.op != "setns" or event.role in ("init", "exec"):  # others only go there and back
        for kind in event.facts.get("namespaces", ()):
            yield from _bullet(f"{kind}: {NAMESPACES.get(kind, '')}")
    for key in ("kept", "dropped"):
        if key in event.facts:
            names = [name.removeprefix("CAP_").lower() for name in event.facts[key]]
            yield from _bullet(f"{key}: {', '.join(names) or 'none'}")


def _bullet(text: str) -> list[str]:
    first, rest = f"{_INDENT}  - ", f"{_INDENT}    "
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)


def _event(event: Event, names: Names) -> Iterator[str]:
    first, *rest = names.shorten(event.shell).split("\n")
    yield f"{event.duration_s * 1000:13.3f} ms  {first}"
    for line in rest:  # of a here-document, whose leading tabs the shell removes
        yield "\t\t" + line
    if event.error:
        yield f"{_BEFORE_COMMAND}-> {_reason(event.error)}"


def _reason(error: str) -> str:
    if "No such file or directory" in error:
        return "there is none"  # what may be missing is tried without asking first
    return error
