"""The tree of commands: which module answers to which words.

A group maps a word to a module of `jubako.cli.commands`; only the module of the command that is
called gets imported.  ALIASES are other words for the same command in the same group; help shows
them under the name they stand for.
"""

from __future__ import annotations

GROUPS: dict[str, dict[str, str]] = {
    "container": {
        "attach": "attach",
        "commit": "commit",
        "cp": "cp",
        "create": "create",
        "diff": "diff",
        "edit": "container_edit",
        "exec": "exec",
        "execs": "container_execs",
        "export": "export",
        "inspect": "container_inspect",
        "kill": "kill",
        "logs": "logs",
        "ls": "ps",
        "pause": "pause",
        "port": "port",
        "prune": "container_prune",
        "rename": "rename",
        "restart": "restart",
        "rm": "rm",
        "run": "run",
        "start": "start",
        "stats": "stats",
        "stop": "stop",
        "top": "top",
        "unpause": "unpause",
        "update": "update",
        "wait": "wait",
    },
    "image": {
        "bootstrap": "bootstrap",
        "cp": "image_cp",
        "history": "history",
        "import": "import_",
        "inspect": "image_inspect",
        "load": "load",
        "ls": "images",
        "outdated": "outdated",
        "prune": "image_prune",
        "pull": "pull",
        "push": "push",
        "receive": "image_receive",
        "rm": "rmi",
        "save": "save",
        "send": "image_send",
        "tag": "tag",
        "verify": "image_verify",
    },
    "manifest": {
        "annotate": "manifest_annotate",
        "create": "manifest_create",
        "inspect": "manifest_inspect",
        "push": "manifest_push",
        "rm": "manifest_rm",
    },
    "network": {"inspect": "network_inspect", "ls": "network_ls", "prune": "network_prune"},
    "system": {
        "df": "system_df",
        "events": "events",
        "info": "info",
        "prune": "system_prune",
        "recover": "system_recover",
        "start": "system_start",
        "stop": "system_stop",
    },
    "volume": {
        "create": "volume_create",
        "inspect": "volume_inspect",
        "ls": "volume_ls",
        "prune": "volume_prune",
        "rm": "volume_rm",
    },
    "completion": {"bash": "completion", "fish": "completion", "zsh": "completion"},
}

TOP: dict[str, str] = {
    "attach": "attach",
    "bootstrap": "bootstrap",
    "commit": "commit",
    "cp": "cp",
    "create": "create",
    "diff": "diff",
    "events": "events",
    "exec": "exec",
    "export": "export",
    "help": "help",
    "history": "history",
    "images": "images",
    "import": "import_",
    "info": "info",
    "inspect": "inspect",
    "kill": "kill",
    "load": "load",
    "login": "login",
    "logout": "logout",
    "logs": "logs",
    "outdated": "outdated",
    "pause": "pause",
    "port": "port",
    "ps": "ps",
    "pull": "pull",
    "push": "push",
    "rename": "rename",
    "restart": "restart",
    "rm": "rm",
    "rmi": "rmi",
    "run": "run",
    "save": "save",
    "search": "search",
    "start": "start",
    "stats": "stats",
    "stop": "stop",
    "tag": "tag",
    "top": "top",
    "unpause": "unpause",
    "update": "update",
    "version": "version",
    "wait": "wait",
    "why": "why",
}

ALIASES: dict[str, dict[str, str]] = {
    "container": {"list": "ls", "ps": "ls", "remove": "rm"},
    "image": {"list": "ls", "remove": "rm"},
    "network": {"list": "ls"},
    "volume": {"list": "ls", "remove": "rm"},
}


def find(words: list[str]) -> tuple[str, str | None, list[str]]:
    """Resolve the words of a command line.

    Returns (path without the program's name, module, the words after it).  module is None when the
    words stop at a group or name nothing: then path is the group's ("" for the top level).
    """
    if not words:
        return "", None, []
    first, rest = words[0], words[1:]
    if first in TOP:
        return first, TOP[first], rest
    group = GROUPS.get(first)
    if group is None:
        return "", None, words
    if rest:
        name = ALIASES.get(first, {}).get(rest[0], rest[0])
        if name in group:
            return f"{first} {name}", group[name], rest[1:]
    return first, None, rest
