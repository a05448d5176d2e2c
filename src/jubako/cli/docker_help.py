"""Reads the commands and flags of a Docker client off its help pages.

    python -m jubako.cli.docker_help docker > src/jubako/cli/docker.json

The result is what `jubako.cli.compatibility` compares with.  Nothing but `--help` and `--version`
is called, and that without a daemon: a client leaves out what its daemon cannot do.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NO_DAEMON = ("-H", "unix:///nonexistent")
# Groups that are programs of their own, with versions of their own.
PLUGINS = ("buildx", "compose")

_COMMAND = re.compile(r"  ([a-z][a-z-]*)\*?\s{2,}\S")
_FLAG = re.compile(r"\s{2,}(?:-(\w), )?--([a-z][a-z0-9-]*)(?: ([a-z][\w-]*))?(?:\s{2,}|$)")


def read(docker: Sequence[str]) -> dict[str, Any]:
    """Every command of a client: `{"version": ..., "commands": {path: {"aliases", "flags"}}}`.

    docker: the words to call it with, without `-H`.  A command that has several paths stands under
    the first one that its help page names.  flags: name to shorthand or "".  The path "" is the
    program.
    """
    docker = (*docker, *NO_DAEMON)
    version = _output([*docker, "--version"]).split()[2].rstrip(",")
    commands: dict[str, Any] = {"": _page(_output([*docker, "--help"]))}
    seen: set[str] = set()
    pending = _subcommands(_output([*docker, "--help"]))
    while pending:
        path = pending.pop(0)
        if path in seen or path in PLUGINS:
            continue
        seen.add(path)
        text = _output([*docker, *path.split(), "--help"])
        children = _subcommands(text)
        if children:
            pending += [f"{path} {child}" for child in children]
            continue
        page = _page(text)
        first = page["aliases"][0] if page["aliases"] else path
        commands[first] = page
        seen.update(page["aliases"])
    _add_hidden(docker, commands)
    return {"version": version, "commands": dict(sorted(commands.items()))}


def _output(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def _subcommands(text: str) -> list[str]:
    """The names in the blocks `Commands:`, `Management Commands:` and so on of a page."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.endswith("Commands:"):
            inside = True
        elif not line.startswith("  "):
            inside = False
        elif inside and (match := _COMMAND.match(line)):
            found.append(match[1])
    return found


def _page(text: str) -> dict[str, Any]:
    """Aliases and flags of one help page."""
    aliases: list[str] = []
    flags: dict[str, str] = {}
    block = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            block = line.rpartition(" ")[2] if "Options" in line else line
        elif block == "Aliases:" and line.startswith("  "):
            aliases = [name.strip().removeprefix("docker ") for name in line.split(",")]
        elif block == "Options:" and (match := _FLAG.match(line)):
            flags[match[2]] = match[1] or ""
    return {"aliases": aliases, "flags": flags}


def _add_hidden(docker: Sequence[str], commands: dict[str, Any]) -> None:
    """Flags that Docker takes but its help does not show: of those that we know, at least."""
    from jubako.cli import help, tree

    for path, page in commands.items():
        _, module, rest = tree.find(path.split())
        if module is None or rest:
            continue
        for flag in help.command(module).flags:
            if flag.name in page["flags"]:
                continue
            # --help comes after it: whatever the flag is, nothing is done
            answer = _output([*docker, *path.split(), f"--{flag.name}=?", "--help"])
            if "unknown flag" not in answer:
                page.setdefault("hidden", []).append(flag.name)


if __name__ == "__main__":
    print(json.dumps(read(sys.argv[1:] or ["docker"]), indent=1, sort_keys=True))
