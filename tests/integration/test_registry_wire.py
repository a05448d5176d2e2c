"""The client of registries against Debian's docker-registry."""

from __future__ import annotations

import urllib.request

from tests.fixtures.registry import Registry


def test_fixtures(registry: Registry, registry_auth: Registry, registry_tls: Registry) -> None:
    assert urllib.request.urlopen(f"{registry.url}/v2/").status == 200
