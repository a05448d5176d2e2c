"""What commands really import when they do their work, not only when they are loaded.

tests/unit/test_project_imports.py looks at modules; imports inside functions show up only here.
"""

from __future__ import annotations

import pytest

from tests.fixtures.engine import Jubako
from tests.unit.test_project_imports import FORBIDDEN


def imports(report: str) -> set[str]:
    """The modules named in the report of `python -X importtime`, by this and forked processes."""
    lines = [line for line in report.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def slow_imports_of(jubako: Jubako, *args: str) -> set[str]:
    result = jubako(*args, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert result.status == 0, result.stderr
    seen = imports(result.stderr)
    assert "jubako.cli.main" in seen
    return seen & FORBIDDEN


@pytest.mark.parametrize(
    "options",
    [(), ("--network", "none"), ("-p", "8080:80"), ("-i",), ("-m", "64m", "--cpus", "1")],
    ids=" ".join,
)
def test_run(jubako: Jubako, busybox: str, options: tuple[str, ...]) -> None:
    jubako.ok("run", "--rm", *options, busybox, "true")  # caches: the seccomp program, the bridge
    assert slow_imports_of(jubako, "run", "--rm", *options, busybox, "true") == set()


def test_commands_on_a_container(jubako: Jubako, busybox: str) -> None:
    jubako.ok("create", "--name", "box", busybox, "sleep", "1000")
    for args in (
        ("start", "box"),
        ("exec", "box", "true"),
        ("ps",),
        ("ps", "-a", "--format", "{{.Names}} {{.Status}}"),
        ("logs", "box"),
        ("stop", "-t", "0", "box"),
        ("ps", "-a"),
        ("rm", "box"),
    ):
        assert slow_imports_of(jubako, *args) == set(), args
