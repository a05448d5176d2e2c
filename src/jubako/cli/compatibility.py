"""Writes `docs/compatibility.md`: what becomes of every command and flag of Docker's client.

    python -m jubako.cli.compatibility > docs/compatibility.md

What Docker has is in `docker.json` (see `docker_help`); what we have, and which flags are refused
and why, is read off the declarations of the commands.  What we do not know at all needs a reason
here or in `texts.LATER`; a test fails on anything without one.
"""

from __future__ import annotations

import json
import os
import textwrap

from jubako.cli import explain, help, tree
from jubako.cli.flags import LATER as NOT_YET
from jubako.cli.flags import Flag
from jubako.cli.main import GLOBAL
from jubako.cli.texts import LATER as INSTEAD
from jubako.cli.texts import TEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

WIDTH = 110
_TIED = "\0"  # a space that lines are not broken at

_SWARM = "there is no swarm; `jubako` works on one host"
_NO_DAEMON = "there is no daemon to reach; `--root` chooses between engines"
_REGISTRIES = "registries are not part of this version"

# Why a command of Docker's is not there: by its path, or by that of its group.
COMMANDS = {
    "checkpoint": "experimental in Docker; needs CRIU",
    "config": f"{_SWARM}; `run --secret` and `run -v` bring files into a container",
    "context": _NO_DAEMON,
    "node": _SWARM,
    "plugin": "there are no plugins",
    "secret": f"{_SWARM}; `run --secret` gives a secret to one container",
    "service": _SWARM,
    "stack": _SWARM,
    "swarm": _SWARM,
    "trust": "the service behind it (Notary v1) has been switched off",
    "volume update": _SWARM,
}

# Why a flag of Docker's is not there, by its command's path ("" for the program) and its name.
FLAGS: dict[tuple[str, str], str] = {
    ("container start", "checkpoint"): COMMANDS["checkpoint"],
    ("container start", "checkpoint-dir"): COMMANDS["checkpoint"],
    ("image ls", "tree"): "experimental in Docker",
    ("volume ls", "cluster"): _SWARM,
    **{
        ("volume create", name): _SWARM
        for name in (
            "availability group limit-bytes required-bytes scope secret sharing"
            " topology-preferred topology-required type"
        ).split()
    },
    ("", "config"): "there is no client apart from the engine, and nothing to configure for it",
    ("", "log-level"): "`--debug` shows everything that is done, and why",
    **{
        ("", name): _NO_DAEMON
        for name in ("context", "host", "tls", "tlscacert", "tlscert", "tlskey", "tlsverify")
    },
}

_OWN_NETWORKS = "need networks that users define, which are not part of this version"
_RUN_NOTES = {
    "gpus": "devices come from CDI specifications of the vendor's tools",
    "ip": _OWN_NETWORKS,
    "ip6": _OWN_NETWORKS,
    "isolation": "`default` only, as with Docker on Linux",
    "kernel-memory": "discarded with a warning, as by Docker on a kernel that has no such limit",
    "link-local-ip": "IPv4 only",
    "log-driver": "`fluentd`, `gelf`, `journald`, `json-file`, `local`, `none`, `syslog`; those of"
    " clouds and products are refused",
    "network": "one, out of `bridge`, `host`, `none` and `container:NAME`; without options",
    "network-alias": _OWN_NETWORKS,
    "storage-opt": "refused when the container is created: its files have no quota",
    "userns": "`host` only, as with a Docker whose users are not remapped",
    "volume-driver": "`local` only: there are no plugins",
}
# What works in part, and which part: by its command's path and the flag ("" for its arguments).
NOTES: dict[tuple[str, str], str] = {
    **{
        (f"container {command}", flag): text
        for command in ("create", "run")
        for flag, text in _RUN_NOTES.items()
    },
    ("image import", ""): "a file or standard input, no URL",
    ("volume create", "driver"): "`local` only: there are no plugins",
}

_INTRODUCTION = """\
# Compatibility with Docker

<!-- Written by `python -m jubako.cli.compatibility`; a test keeps it so. -->

Every command and every flag of Docker {version}'s command line, and what `jubako` makes of it:

- **works**: it does what Docker's does.
- **partly**: it does some of it, and refuses the rest in words.
- **refused**: it is known, and using it fails with a sentence (exit code 1).
- **not there**: `jubako` does not know it; the reason is beside it.
- **beyond Docker**: Docker does not have it.

Where output or behaviour differs on purpose, with the command lines that show it, is in
[differences.md](differences.md).

`docker compose` and `docker buildx` are programs of their own, with versions of their own;
composing and building are not part of this version. Flags that Docker hides from its help are
listed too.
"""


def data() -> dict[str, Any]:
    """What Docker's client has; see `docker_help.read`."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "docker.json")
    with open(path, encoding="utf-8") as file:
        content: dict[str, Any] = json.load(file)
    return content


def reason_for_command(path: str) -> str:
    """Why a command of Docker's is not there, "" if nobody has said."""
    words = path.split()
    for name in (path, words[0]):
        if name in COMMANDS:
            return COMMANDS[name]
        if name in INSTEAD:
            return f"not yet: {INSTEAD[name]}"
    return ""


def ours(path: str) -> dict[str, Flag] | None:
    """Our flags of a command by name, None if there is no such command."""
    if not path:
        return {flag.name: flag for flag in GLOBAL.flags}
    _, module, rest = tree.find(path.split())
    if module is None or rest:
        return None
    return {flag.name: flag for flag in help.command(module).flags if flag.name != "help"}


def problems() -> list[str]:
    """What keeps the page from being complete and true, a sentence each."""
    found: list[str] = []
    commands = data()["commands"]
    for path, page in commands.items():
        flags = ours(path)
        if flags is None:
            if not reason_for_command(path):
                found.append(f"`{path}` is not there and has no reason")
            continue
        if path in COMMANDS or path in INSTEAD:
            found.append(f"`{path}` is there and has a reason not to be")
        for alias in page["aliases"]:
            if ours(alias) is None:
                found.append(f"`{alias}`, an alias of `{path}`, is not there")
        found += _flag_problems(path, page, flags)
    for path, name in (*FLAGS, *NOTES):
        if name and name not in _flag_names(commands.get(path, {"flags": {}})):
            found.append(f"`{path} --{name}` has a reason here, but is not Docker's")
    return found


def _flag_problems(path: str, page: dict[str, Any], flags: dict[str, Flag]) -> Iterator[str]:
    for name in _flag_names(page):
        known, excused = name in flags, (path, name) in FLAGS
        if known and excused:
            yield f"`{path} --{name}` is there and has a reason not to be"
        elif not known and not excused:
            yield f"`{path} --{name}` is not there and has no reason"
        elif known and page["flags"].get(name, "") != (flags[name].short or ""):
            yield f"`{path} --{name}` has another shorthand"


def _flag_names(page: dict[str, Any]) -> list[str]:
    names = [*page["flags"], *page.get("hidden", ())]
    return sorted(name for name in names if name != "help")


def render() -> str:
    """The whole page."""
    content = data()
    commands: dict[str, Any] = content["commands"]
    parts = [_INTRODUCTION.format(version=content["version"])]
    chapters: dict[str, list[str]] = {}
    for path in commands:
        chapters.setdefault(path.split()[0] if " " in path else "", []).append(path)
    parts.append(_summary(commands))
    for group, paths in sorted(chapters.items()):
        parts.append(f"## {group or 'The program'}\n")
        reasons = {reason_for_command(path) for path in paths if ours(path) is None}
        if len(reasons) == 1 and all(ours(path) is None for path in paths):
            parts.append(_absent_chapter(paths, commands, reasons.pop()))
        else:
            parts += [_command(path, commands[path]) for path in paths]
    parts.append(_beyond(commands))
    return "\n".join(parts)


def _summary(commands: dict[str, Any]) -> str:
    there = absent = works = partly = refused = missing = 0
    for path, page in commands.items():
        flags = ours(path)
        if flags is None:
            absent += 1
            continue
        there += bool(path)
        for name in _flag_names(page):
            if name not in flags:
                missing += 1
            elif flags[name].refused:
                refused += 1
            elif _note(path, flags[name]):
                partly += 1
            else:
                works += 1
    return (
        f"| | works | partly | refused | not there |\n|---|---|---|---|---|\n"
        f"| commands | {there} | | | {absent} |\n"
        f"| flags of the commands that work | {works} | {partly} | {refused} | {missing} |\n"
    )


def _command(path: str, page: dict[str, Any]) -> str:
    aliases = [f"`{alias}`" for alias in page["aliases"] if alias != path]
    title = f"### {path or 'jubako'}\n"
    lines: list[str] = [title]
    if aliases:
        lines.append(_wrap("Also " + ", ".join(aliases) + ".") + "\n")
    flags = ours(path)
    names = _flag_names(page)
    if flags is None:
        lines.append(_wrap(f"- **not there**: {reason_for_command(path)}"))
        if names:
            lines.append(_wrap("- its flags: " + _list(names, page)))
        return "\n".join([*lines, ""])
    if (path, "") in NOTES:
        lines.append(_wrap(f"- **partly**: {NOTES[path, '']}"))
    known = [name for name in names if name in flags and not flags[name].refused]
    working = [name for name in known if not _note(path, flags[name])]
    if working:
        lines.append(_wrap("- **works**: " + _list(working, page)))
    elif path:
        lines.append("- **works**" + (" (without flags)" if not names else ""))
    for reason, group in _by_reason(known, lambda name: _note(path, flags[name])):
        lines.append(_wrap(f"- **partly** ({reason}): " + _list(group, page)))
    for reason, group in _by_reason(names, lambda name: _refusal(flags.get(name))):
        lines.append(_wrap(f"- **refused** ({reason}): " + _list(group, page)))
    for reason, group in _by_reason(names, lambda name: FLAGS.get((path, name), "")):
        lines.append(_wrap(f"- **not there** ({reason}): " + _list(group, page)))
    more = sorted(
        name
        for name, flag in flags.items()
        if name not in names and not flag.hidden and not flag.refused
    )
    if more:
        lines.append(_wrap("- **beyond Docker**: " + ", ".join(f"`--{name}`" for name in more)))
    return "\n".join([*lines, ""])


def _absent_chapter(paths: list[str], commands: dict[str, Any], reason: str) -> str:
    """A group of which nothing is there, for one reason."""
    lines = [_wrap(f"**not there**: {reason}") + "\n"]
    for path in paths:
        names = _flag_names(commands[path])
        lines.append(_wrap(f"- `{path}`" + (": " + _list(names, commands[path]) if names else "")))
    return "\n".join([*lines, ""])


def _note(path: str, flag: Flag) -> str:
    """What of a flag does not work, "" if all does; a synonym is as the flag it stands for."""
    return NOTES.get((path, flag.name)) or NOTES.get((path, flag.into), "")


def _refusal(flag: Flag | None) -> str:
    if flag is None or not flag.refused:
        return ""
    return "not yet" if flag.refused == NOT_YET else flag.refused.removeprefix("is ")


def _by_reason(names: list[str], reason: Any) -> list[tuple[str, list[str]]]:
    """Names grouped by what `reason` says of each, those of which it says nothing left out."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if reason(name):
            groups.setdefault(reason(name), []).append(name)
    return sorted(groups.items())


def _list(names: list[str], page: dict[str, Any]) -> str:
    words = []
    for name in names:
        short = page["flags"].get(name, "")
        words.append(f"`-{short},{_TIED}--{name}`" if short else f"`--{name}`")
    return ", ".join(words)


def _beyond(commands: dict[str, Any]) -> str:
    """Our commands that Docker does not have."""
    known = {name for path, page in commands.items() for name in (path, *page["aliases"])}
    lines = ["## Beyond Docker\n"]
    everywhere = ", ".join(f"`--{name}`" for name in sorted(explain.TEXTS))
    lines.append(_wrap(f"Every command that changes something has {everywhere}. Commands:") + "\n")
    for module in sorted(
        {*tree.TOP.values(), *(m for g in tree.GROUPS.values() for m in g.values())}
    ):
        paths = help.paths(module)
        if known.isdisjoint(paths):
            summary = TEXTS[module].summary
            lines.append(_wrap(f"- {', '.join(f'`{path}`' for path in paths)}: {summary}."))
    return "\n".join([*lines, ""])


def _wrap(text: str, indent: str = "  ") -> str:
    inner = indent if text.lstrip().startswith("-") else ""
    filled = textwrap.fill(
        text, WIDTH, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False
    )
    return filled.replace(_TIED, " ")


if __name__ == "__main__":
    print(render(), end="")
