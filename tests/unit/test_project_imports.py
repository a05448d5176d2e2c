"""What the packages import: the direction (with import-linter), and what the hot path must not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each costs `run`, `exec` and the monitor of every container 2 to 60 ms or megabytes.
FORBIDDEN = {
    "aiohttp",
    "argparse",
    "asyncio",
    "click",
    "dataclasses",
    "email",
    "http.client",
    "inspect",
    "logging",
    "pathlib",
    "random",
    "rich",
    "shutil",
    "subprocess",
    "tarfile",
    "tempfile",
    "typing",
    "urllib3",
    "yaml",
}
HOT_COMMANDS = ("exec", "logs", "ps", "run", "start")
# These are in no layer: they import nothing of ours, or are the way in.
OUTSIDE_OF_LAYERS = {"__init__", "__main__", "version"}


def sources(repository: Path, *packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((repository / "src" / "jubako" / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every absolute module name that a source file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the module in full"
            assert node.module is not None
            yield node.module


def test_the_lowest_packages_import_only_the_standard_library_and_errors(repository: Path) -> None:
    for package in ("golang", "linux", "oci"):
        for path in sources(repository, package):
            for module in imported(path):
                own = module.startswith((f"jubako.{package}", "jubako.errors"))
                assert own or module.partition(".")[0] in sys.stdlib_module_names, (
                    f"{path.relative_to(repository)} imports {module}"
                )


def test_errors_imports_nothing_of_ours(repository: Path) -> None:
    modules = list(imported(repository / "src" / "jubako" / "errors.py"))
    assert not [module for module in modules if module.startswith("jubako")]


def test_every_module_has_a_place_in_the_layers(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    (contract,) = project["tool"]["importlinter"]["contracts"]
    placed = set(re.findall(r"jubako\.(\w+)", " ".join(contract["layers"])))
    source = repository / "src" / "jubako"
    present = {path.stem for path in source.iterdir() if path.is_dir() or path.suffix == ".py"}
    present -= OUTSIDE_OF_LAYERS | {"__pycache__"}
    assert present <= placed


def test_packages_use_no_private_module_of_another_package(repository: Path) -> None:
    for path in sources(repository, ""):
        package = path.relative_to(repository / "src" / "jubako").parts[0]
        for module in imported(path):
            owner, _, rest = module.removeprefix("jubako.").partition(".")
            if module.startswith("jubako.") and owner != package:
                private = [part for part in rest.split(".") if part.startswith("_")]
                assert not private, f"{path.relative_to(repository)} imports {module}"


@pytest.mark.parametrize("command", HOT_COMMANDS)
def test_hot_command_imports_nothing_slow(command: str) -> None:
    code = (
        "import sys, jubako.cli.main, jubako.engine\n"
        f"import jubako.cli.commands.{command}\n"
        f"print(*sorted({FORBIDDEN!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_import_of_the_library_is_cheap() -> None:
    code = f"import sys, jubako\nprint(*sorted({FORBIDDEN!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
