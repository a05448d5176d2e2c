"""Whatever changes the kernel's state is traced, and every caller says why.

`--explain` tells what the trace has: a call that is not traced would be left out in silence, and
one without a reason would be a line that explains nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
FILES = sorted((SOURCE / "jubako").rglob("*.py"))

# What changes something outside of this process, or what it may do, without a wrapper of ours.
RAW = {
    "os": {
        *("chroot", "kill", "killpg", "mknod", "sched_setaffinity", "sched_setscheduler"),
        *("setgid", "setgroups", "setns", "setpriority", "setregid", "setresgid", "setresuid"),
        *("setreuid", "setuid", "unshare"),
    },
    "signal": {"pidfd_send_signal"},
    "socket": {"sethostname"},
}
# Where that is all the same no change that an explanation would tell.
UNTRACED = {
    "cli/main.py": "the command ends itself by the signal that it got",
    "containers/monitor/checks.py": "a health check that takes too long",
    "containers/logs/background.py": "a process of ours that sends logs",
    "containers/monitor/process.py": "a first process that never ran the program",
    "containers/monitor/probe.py": "a health check that takes too long",
    "linux/process.py": "a program of ours that takes too long",
    "store/faults.py": "tests let a process die",
}
# They make the files of images, volumes and archives, which are no state of the kernel.
FILES_OF_OTHERS = ("containers/files/", "images/", "volumes/")
# The words for what is written come from the file's name: see jubako.linux.cgroups.meanings.
MEANT = "jubako.linux.cgroups.files"


class Function(NamedTuple):
    module: str
    name: str


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


TREES = {path: ast.parse(path.read_text(), str(path)) for path in FILES}


def takes_why(node: ast.FunctionDef) -> bool:
    return any(argument.arg == "why" for argument in node.args.kwonlyargs)


def wanting() -> set[Function]:
    """Every function at the top of a module that takes `why` by its name."""
    return {
        Function(module_of(path), node.name)
        for path, tree in TREES.items()
        if module_of(path) != "jubako.linux.trace"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and takes_why(node)
    }


def names_in(tree: ast.Module, module: str) -> dict[str, str]:
    """What a name in a file stands for: `mount` -> jubako.linux.mount.mount."""
    found = {
        node.name: f"{module}.{node.name}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def called(node: ast.Call, names: dict[str, str]) -> str:
    """The full name of what is called; "" if that cannot be known."""
    if isinstance(node.func, ast.Name):
        return names.get(node.func.id, "")
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        base = names.get(node.func.value.id)
        return f"{base}.{node.func.attr}" if base else ""
    return ""


def calls_without_reason(path: Path, functions: set[Function]) -> Iterator[str]:
    module = module_of(path)
    names = names_in(TREES[path], module)
    packages = {f"{function.module.rpartition('.')[0]}.{function.name}" for function in functions}
    wanted = {f"{function.module}.{function.name}" for function in functions} | {
        # exported by their package, as jubako.linux.netlink.call_in
        name
        for name in packages
        if name.count(".") > 2
    }
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.Call) or called(node, names) not in wanted:
            continue
        given = {keyword.arg for keyword in node.keywords}
        if given & {"why", None} or called(node, names).startswith(MEANT):
            continue
        yield f"{path.relative_to(SOURCE)}:{node.lineno}: {called(node, names)} without why="


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_change_has_a_reason(path: Path) -> None:
    assert list(calls_without_reason(path, wanting())) == []


GROUP_METHODS = {"add", "create", "freeze", "join_self", "kill", "remove", "thaw"}


def test_every_change_of_a_group_has_a_reason() -> None:
    missing = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in GROUP_METHODS
        and ast.unparse(node.func.value).lower().endswith(("cgroup", "group", "cgroup(record)"))
        and not {keyword.arg for keyword in node.keywords} & {"why", None}
    ]
    assert missing == []


def traced_parts(tree: ast.Module) -> Iterator[ast.AST]:
    """The functions that a trace sees."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            "traced(" in ast.unparse(decorator) for decorator in node.decorator_list
        ):
            yield from ast.walk(node)


def test_nothing_is_changed_behind_the_back_of_the_trace() -> None:
    seen = {id(node) for tree in TREES.values() for node in traced_parts(tree)}
    behind = {
        str(path.relative_to(SOURCE / "jubako"))
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and id(node) not in seen
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.attr in RAW.get(node.func.value.id.strip("_"), ())
    }
    behind = {name for name in behind if not name.startswith(FILES_OF_OTHERS)}
    assert behind - set(UNTRACED) == set()


def reasons() -> Iterator[tuple[str, str]]:
    """Every reason that is written down as such: where, and the text."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    value = keyword.value
                    if (
                        keyword.arg == "why"
                        and isinstance(value, ast.Constant)
                        and isinstance(value.value, str)
                        and value.value
                    ):
                        yield f"{path.relative_to(SOURCE)}:{node.lineno}", value.value


def test_reasons_are_clauses_in_plain_words() -> None:
    """They become sentences: no capital at the beginning but of a name, no full stop."""
    for where, text in reasons():
        assert not text.endswith("."), where
        assert text[0].islower() or text[0] in "/{" or text.split()[0].isupper(), (where, text)
        assert len(text.split()) > 1, (where, text)
        assert "  " not in text, where
