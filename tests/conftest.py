"""The fixtures of the whole suite; each file below tests/fixtures says what it brings."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from pathlib import Path

import pytest

pytest_plugins = [
    "tests.fixtures.deadline",
    "tests.fixtures.isolation",
    "tests.fixtures.leaks",
    "tests.fixtures.stores",
    "tests.fixtures.images",
    "tests.fixtures.engine",
    "tests.fixtures.outside",
    "tests.fixtures.networks",
    "tests.fixtures.registry",
    "tests.fixtures.bad_registry",
    "tests.fixtures.registry_client",
]

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the work tree."""
    return REPOSITORY


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where the suite runs in a shell's background: that
    has SIGINT ignored, which programs inherit."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in tests/integration and tests/compat needs root and a real kernel."""
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "tests" / "unit"):
            continue
        item.add_marker(pytest.mark.root)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped and why, also when there were none."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(
        report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in skipped
    )
    terminalreporter.section("skipped tests")
    if not reasons:
        terminalreporter.line("no test was skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:4}  {reason.removeprefix('Skipped: ')}")


def pytest_collection_finish() -> None:
    """Take what collecting made out of the sight of the garbage collector.

    `leaks` collects after each test: to look at all tests again each time took half of the time.
    """
    gc.collect()
    gc.freeze()
