"""The form of the package: what may be imported late, and that the trace quotes like a shell."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from jubako.linux import shell

# Inside a container an import would find the image's files (CVE-2019-14271): what a container's
# init calls may import nothing late.  The exceptions are for the engine's side alone.
ALLOWED = {
    "mountapi": {"jubako.linux"},
    "pty": {"termios"},  # the terminal of the person at the keyboard
    "seccomp": {"json", "_blake2", "hashlib", "jubako.linux"},  # compiling; `load` needs none
    "trace": {"json"},  # by who installs a sink
}
INSIDE = [
    *("credentials", "interface", "pseudofile"),
    *("_libc", "caps", "clone", "fds", "mount", "mountapi", "mountinfo", "ns", "openat2", "pidfd"),
    *("prctl", "pty", "rlimit", "seccomp", "shell", "statfs", "task", "trace", "trampoline"),
]


@pytest.mark.parametrize("name", INSIDE)
def test_no_import_inside_a_container(name: str, repository: Path) -> None:
    tree = ast.parse((repository / f"src/jubako/linux/{name}.py").read_text())
    late = {
        module
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        for module in _modules(node)
    }
    assert late <= ALLOWED.get(name, set())


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


@pytest.mark.parametrize("text", ["", "a", "a b", "it's", "$HOME", "a=b,c:/d", "ü", "\n", "*"])
def test_quoting(text: str) -> None:
    assert shlex.split(shell.quote(text)) == [text]
    assert shlex.split(shell.join(["x", text])) == ["x", text]


def test_plain_words_stay_plain() -> None:
    assert shell.join(["mount", "-o", "ro,mode=755", "/a/b"]) == "mount -o ro,mode=755 /a/b"
