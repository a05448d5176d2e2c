"""What several tests of the engine watch or use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.leaks import Leaks
from tests.fixtures.registry import Registry
from tests.integration.fault_tools import Traces
from tests.integration.lazy_tools import MIB
from tests.integration.registry_images import Proxy, Repository, proxy_to


@pytest.fixture
def traces(root_dir: Path, leaks: Leaks) -> Traces:
    return Traces(root_dir, leaks)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that must stay as it is, and whose content must not get inside."""
    path = tmp_path / "canary"
    path.mkdir()
    (path / "file").write_text("untouched")
    (path / "passwd").write_text("evil:x:0:0::/evil:/bin/sh\n")
    yield path
    assert sorted(os.listdir(path)) == ["file", "passwd"]
    assert (path / "file").read_text() == "untouched"


@pytest.fixture
def lazy_repository(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    """A repository of the test's own."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    return Repository(registry, f"lazy/{name}")


@pytest.fixture
def slow_proxy(registry: Registry) -> Iterator[Proxy]:
    """Each connection through it stops after 3 MiB: the blob never comes, parts of it do."""
    with proxy_to(registry) as running:
        running.stall_each = 3 * MIB
        yield running
