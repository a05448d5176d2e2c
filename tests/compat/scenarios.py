"""Command lines to give to Docker and to Jubako, and what may differ on purpose.

The lines are in `side_by_side/*.txt`:

    # a comment
    == containers, started and stopped
    docker create --name $A $IMAGE echo hi
    - docker start $A
    docker run --rm --gpus all $IMAGE true
        differs in stderr: cdi-only

A `==` begins a group, which stands for itself: it has a prefix of its own for names, an image, and
makes all that it needs.  A line is given to sh(1), once with Jubako for `docker`.  What begins
with `- ` is run on both sides, but not compared.  `differs in` (exit, stdout, stderr) belongs to
the line above; its last word names a reason of `side_by_side/differences.txt`, where they are told:

    == cdi-only: Devices of vendors
    The reason, a paragraph.

`python -m tests.compat.scenarios` prints `docs/differences.md`, which is made of them.

Variables of the lines: $A $B $C names for containers, $V $W for volumes, $PREFIX what all of these
begin with, $IMAGE an image with busybox and the label side=$PREFIX, $DIR an empty directory.
`eventually COMMAND` waits until the command works.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).with_name("side_by_side")
REASONS = DIRECTORY / "differences.txt"
PARTS = ("exit", "stdout", "stderr")

_DIFFERS = re.compile(r"\s+differs in ([a-z, ]+): ([a-z0-9-]+)")


class Line(NamedTuple):
    """One command line.  differs: the parts of the result that may differ.  reason: why, a key."""

    text: str
    compared: bool = True
    differs: frozenset[str] = frozenset()
    reason: str = ""


class Group(NamedTuple):
    """Lines that belong together.  name: `file: title`."""

    name: str
    lines: tuple[Line, ...]


class Reason(NamedTuple):
    """Why something differs on purpose."""

    title: str
    text: str


def groups() -> list[Group]:
    """All groups of all files.  Raises ValueError for a line that cannot be understood."""
    found: list[Group] = []
    for path in sorted(DIRECTORY.glob("*.txt")):
        if path != REASONS:
            found += _groups_of(path)
    return found


def _groups_of(path: Path) -> Iterator[Group]:
    title, lines = "", list[Line]()
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        if text.startswith("== "):
            if lines:
                yield Group(f"{path.stem}: {title}", tuple(lines))
            title, lines = text.removeprefix("== "), []
        elif text[0].isspace():
            match = _DIFFERS.fullmatch(text)
            parts = frozenset(match[1].split(", ")) if match else frozenset()
            if match is None or not parts <= {*PARTS} or not lines or lines[-1].differs:
                raise ValueError(f"{path.name}:{number}: cannot understand {text.strip()!r}")
            lines[-1] = lines[-1]._replace(differs=parts, reason=match[2])
        else:
            lines.append(Line(text.removeprefix("- "), compared=not text.startswith("- ")))
    if lines:
        yield Group(f"{path.stem}: {title}", tuple(lines))


def reasons() -> dict[str, Reason]:
    """The reasons by their keys, in the order of the file."""
    found = {}
    for block in REASONS.read_text().split("== ")[1:]:
        head, _, text = block.partition("\n")
        key, _, title = head.partition(": ")
        found[key] = Reason(title, " ".join(text.split()))
    return found


def commands(line: str) -> Iterator[list[str]]:
    """The words after each `docker` that the shell would call in a line."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    current: list[str] | None = None
    called = True  # the next word is a command
    for word in words:
        if set(word) <= set("|&;()<>"):
            if current is not None:
                yield current
            current, called = None, True
        elif current is not None:
            current.append(word)
        elif called and word == "docker":
            current = []
        else:
            called = word == "eventually"
    if current is not None:
        yield current


_SPACES = re.compile(r" {3,}")
_SUBSTITUTIONS = [
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        # who speaks, and what only one of them says
        (r"^hint: .*\n", ""),
        (r"^(docker|jubako): ", ""),
        (r"^Error response from daemon: ", ""),
        (r"^(Error|ERROR): ", ""),
        (r'^time=".*" level=error msg="Can.t (add file|close tar writer).*\n', ""),
        (r"^SRun ", "Run "),  # a slip of Docker 28.2's
        (r"\brunc create failed", "jubako-runtime create failed"),
        (r"\bDocker Engine\b", "Jubako"),
        (r"\bdocker\b", "jubako"),
        (r"\bDocker\b", "Jubako"),
        # what no two runs have in common
        (r"\b[0-9a-f]{64}\b", "<ID>"),
        (r"\b[0-9a-f]{12}\b", "<SHORT-ID>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d)?( UTC|Z)?", "<TIME>"),
        (r"\b(172|10)\.\d+\.\d+\.\d+", "<ADDRESS>"),
        (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<MAC>"),
    )
]
_AGES = re.compile(
    r"\b(\d+ (second|minute|hour|day|week|month|year)s?|(Less than|About) an? \w+)\b"
)


def normalised(text: str) -> str:
    """What a program printed, without what may differ everywhere.

    That is: who speaks (`Error response from daemon: `, `jubako: `), hints, the product's name,
    IDs, times, ages, addresses; and the width of columns where an age was in one.
    """
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    text, count = _AGES.subn("<AGE>", text)
    return _SPACES.sub("   ", text) if count else text


_INTRODUCTION = """\
# Where Jubako differs from Docker

<!-- Written by `python -m tests.compat.scenarios`; a test keeps it so. -->

More than a thousand command lines are given to a real Docker and to Jubako; exit code, standard
output and standard error are compared ([how](../tests/compat/test_side_by_side.py)). These are the
differences on purpose, each with the lines that show it and what differs. The test fails for any
other difference, and for one of these that is no longer there. What Jubako does not have at all is
in [compatibility.md](compatibility.md).

Everywhere: an error begins with `jubako: `, where Docker says `Error response from daemon: `,
`docker: `, `Error: ` or nothing; and a line `hint: ...` may follow, which says what to do.
"""
WIDTH = 100


def page() -> str:
    """`docs/differences.md`."""
    shown: dict[str, list[str]] = {}
    for group in groups():
        for line in group.lines:
            if line.reason:
                parts = ", ".join(part for part in PARTS if part in line.differs)
                shown.setdefault(line.reason, []).append(f"# {parts}\n{line.text}")
    sections = [_INTRODUCTION]
    for key, reason in reasons().items():
        text = textwrap.fill(reason.text, WIDTH, break_long_words=False, break_on_hyphens=False)
        block = "\n".join(shown.get(key, ()))
        sections.append(f"## {reason.title}\n\n{text}\n\n```\n{block}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    print(page(), end="")
