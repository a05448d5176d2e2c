"""Docker's rules for the paths of `cp`."""

from __future__ import annotations

import pytest

from jubako.containers.files import rules
from jubako.errors import InvalidArgument

FILE = rules.CopyPath("/s/name", exists=True)
DIRECTORY = rules.CopyPath("/s/name", exists=True, directory=True)
CONTENT = rules.CopyPath("/s/name/.", exists=True, directory=True)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (FILE, rules.CopyPath("/d", exists=True, directory=True), ("/d", "name")),
        (FILE, rules.CopyPath("/d/x", exists=True), ("/d", "x")),
        (FILE, rules.CopyPath("/d/x"), ("/d", "x")),
        (FILE, rules.CopyPath("/x"), ("/", "x")),
        (DIRECTORY, rules.CopyPath("/d/", exists=True, directory=True), ("/d/", "name")),
        (DIRECTORY, rules.CopyPath("/d/x"), ("/d", "x")),
        (DIRECTORY, rules.CopyPath("/d/x/"), ("/d", "x")),
        (DIRECTORY, rules.CopyPath("/d/x/."), ("/d/x", "")),
        (CONTENT, rules.CopyPath("/d", exists=True, directory=True), ("/d", "")),
        (CONTENT, rules.CopyPath("/d/x"), ("/d", "x")),
        (FILE, rules.CopyPath("/d/x/"), "no such directory"),
        (FILE, rules.CopyPath("/d/x/."), "no such directory"),
        (DIRECTORY, rules.CopyPath("/d/x", exists=True), "cannot copy directory"),
        (CONTENT, rules.CopyPath("/d/x", exists=True), "cannot copy directory"),
    ],
)
def test_plan(
    source: rules.CopyPath, destination: rules.CopyPath, expected: str | tuple[str, str]
) -> None:
    if isinstance(expected, str):
        with pytest.raises(InvalidArgument, match=f"^{expected}$"):
            rules.plan(source, destination)
    else:
        plan = rules.plan(source, destination)
        assert (plan.directory, plan.name) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", "/a"),
        ("/a/", "/a/"),
        ("a/.", "/a/."),
        ("/a/../b/./c", "/b/c"),
        ("../../a", "/a"),
        ("/", "/"),
        ("//a//b//", "/a/b/"),
        (".", "/."),
        ("a/..", "/"),
        ("n\udcff", "/n\udcff"),
    ],
)
def test_inside(path: str, expected: str) -> None:
    assert rules.inside(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b", ("/a", "b")),
        ("/a/b/", ("/a", "b")),
        ("/a/b/.", ("/a/b", ".")),
        ("/a", ("/", "a")),
        ("/", ("/", "/")),
        ("/.", ("/", ".")),
    ],
)
def test_split(path: str, expected: tuple[str, str]) -> None:
    assert rules.split(path) == expected


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("/l", "/d", ("/d", "l")),
        ("/l/", "/d", ("/d/", "l")),
        ("/l/.", "/d", ("/d/.", "")),
        ("/x/d", "/y/d", ("/y/d", "")),
    ],
)
def test_a_link_keeps_its_name(path: str, target: str, expected: tuple[str, str]) -> None:
    found = rules.after_link(path, target)
    assert (found.path, found.rename) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box:/a", ("box", "/a")),
        ("box:", ("box", "")),
        ("box:a:b", ("box", "a:b")),
        ("/abs:olute", ("", "/abs:olute")),
        ("./rel:ative", ("", "./rel:ative")),
        ("../up:x", ("", "../up:x")),
        ("plain", ("", "plain")),
        (":x", ("", "x")),
        ("-", ("", "-")),
    ],
)
def test_arguments(text: str, expected: tuple[str, str]) -> None:
    assert rules.split_argument(text) == expected
