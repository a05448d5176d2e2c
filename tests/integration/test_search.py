"""`search`: what a registry finds, in Docker's words and columns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import InvalidArgument, Unavailable, Unsupported
from tests.fixtures import registry_faults as faults
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry

RESULTS: list[dict[str, Any]] = [
    {
        "name": "busybox",
        "description": "Busybox\nbase image",
        "star_count": 33,
        "is_official": True,
    },
    {"name": "me/other", "description": "é" * 60, "star_count": 5, "is_official": False},
    {"name": "zero", "star_count": 5000},
]


@pytest.fixture
def searched(bad_registry: BadRegistry) -> str:
    """The host of a registry that searches."""
    bad_registry.on("GET /v1/search", faults.say(json.dumps({"results": RESULTS}).encode()))
    return bad_registry.host


def test_the_table(jubako: Jubako, searched: str, bad_registry: BadRegistry) -> None:
    assert jubako("search", f"{searched}/a b") == (
        0,
        "NAME       DESCRIPTION                                     STARS     OFFICIAL\n"
        "busybox    Busybox base image                              33        [OK]\n"
        "me/other   éééééééééééééééééééééééééééééééééééééééééééé…   5         \n"
        "zero                                                       5000      \n",
        "",
    )
    assert bad_registry.lines("GET /v1")[-1].startswith("GET /v1/search?q=a+b&n=25")
    jubako.ok("search", "--limit", "7", f"{searched}/x")
    assert bad_registry.lines("GET /v1")[-1].endswith("n=7")


def test_formats_and_filters(jubako: Jubako, searched: str) -> None:
    name = f"{searched}/x"
    lines = jubako.ok("search", "--format", "json", "--no-trunc", name).splitlines()
    assert json.loads(lines[1]) == {
        "Description": "é" * 60, "IsOfficial": "false", "Name": "me/other", "StarCount": "5",
    }  # fmt: skip
    layout = "{{.Name}} {{.StarCount}} {{.IsOfficial}}"
    assert jubako.ok("search", "-f", "is-official=true", "--format", layout, name) == (
        "busybox 33 [OK]"
    )
    assert jubako.ok("search", "-f", "stars=33", "--format", "{{.Name}}", name) == "busybox\nzero"
    automated = jubako("search", "-f", "is-automated=true", "--format", "{{.Name}}", name)
    assert (automated.status, automated.stdout) == (0, "")
    assert automated.stderr.startswith('WARNING: the "is-automated" filter is deprecated')


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--limit", "101"], "limit 101 is outside the range of [1, 100]"),
        (["-f", "foo=bar"], "invalid filter 'foo'"),
        (
            ["-f", "stars=x"],
            "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (["-f", "is-official=x"], "invalid filter 'is-official=[x]'"),
    ],
)
def test_what_is_refused(jubako: Jubako, words: list[str], text: str) -> None:
    assert jubako("search", *words, "x") == (1, "", f"jubako: {text}\n")


def test_a_scheme_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidArgument, match="should not have a scheme"):
        engine.registries.search("http://127.0.0.1/x")


def test_a_registry_without_search_gives_its_catalog(
    engine: Engine, registry: Registry, busybox: str
) -> None:
    for name in ("found-me", "deep/er/found-too", "hidden"):
        engine.images.tag(busybox, f"{registry.host}/search-tests/{name}")
        engine.images.push(f"{registry.host}/search-tests/{name}")
    found = engine.registries.search(f"{registry.host}/FOUND")
    assert sorted(item["name"] for item in found) == [
        "search-tests/deep/er/found-too",
        "search-tests/found-me",
    ]
    assert {item["star_count"] for item in found} == {0}
    assert len(engine.registries.search(f"{registry.host}/search-tests/", limit=2)) == 2


def test_a_registry_with_neither_says_so(engine: Engine, bad_registry: BadRegistry) -> None:
    with pytest.raises(Unsupported, match="has no search and gives no list"):
        engine.registries.search(f"{bad_registry.host}/x")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"results": {}}', b'{"results": "x"}', b"x" * 5_000_000],
)
def test_answers_that_are_none(engine: Engine, bad_registry: BadRegistry, body: bytes) -> None:
    bad_registry.on("GET /v1/search", faults.say(body))
    with pytest.raises(Unavailable):
        engine.registries.search(f"{bad_registry.host}/x")


def test_results_cannot_steer_a_terminal(engine: Engine, bad_registry: BadRegistry) -> None:
    bad = {"name": "a\x1b[2Jb", "description": ["x"], "star_count": "many", "is_official": "yes"}
    content = {"results": [bad, 7, None, {}]}
    bad_registry.on("GET /v1/search", faults.say(json.dumps(content).encode()))
    found = engine.registries.search(f"{bad_registry.host}/x")
    assert len(found) == 2
    assert found[0]["name"] == "a [2Jb"
    assert (found[0]["star_count"], found[0]["is_official"]) == (0, False)
