from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.images.listing import glob, has_labels


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("busybox", "busybox", True),
        ("busy*", "busybox", True),
        ("*", "a/b", False),
        ("*/b", "a/b", True),
        ("b?sybox:1", "busybox:1", True),
        ("?", "/", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        ("a.c", "abc", False),
        ("[]a]", "a", None),
        ("[", "a", None),
        ("[a", "a", None),
        ("a\\", "a", None),
        ("[\\]a]", "]", True),
    ],
)
def test_patterns_are_those_of_gos_path_match(
    pattern: str, text: str, expected: bool | None
) -> None:
    if expected is None:
        with pytest.raises(InvalidArgument, match="syntax error in pattern"):
            glob(pattern)
    else:
        assert bool(glob(pattern).match(text)) is expected


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_without_slashes_and_classes_it_is_the_shells(pattern: str, text: str) -> None:
    assert bool(glob(pattern).match(text)) == fnmatch.fnmatchcase(text, pattern)


def test_many_stars_do_not_explode() -> None:
    assert not glob("*a" * 3 + "*" * 100 + "b").match("a" * 60)


def test_labels() -> None:
    labels = {"a": "1", "b": ""}
    assert has_labels(labels, {"label": ["a", "a=1", "b="]})
    assert not has_labels(labels, {"label": ["a=2"]})
    assert not has_labels(labels, {"label!": ["b"]})
    assert has_labels(labels, {"label!": ["a=2", "c"]})
