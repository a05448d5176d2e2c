"""Filters: their names, truth values and labels."""

from __future__ import annotations

import pytest

from jubako.errors import InvalidArgument
from jubako.golang.filters import boolean, check_names, has_labels


def test_an_unknown_name_is_refused() -> None:
    check_names({"label": ["a"]}, ["label"])
    with pytest.raises(InvalidArgument, match="^invalid filter 'nope'$"):
        check_names({"label": ["a"], "nope": ["a"]}, ["label"])


def test_a_truth_value() -> None:
    assert boolean({}, "dangling") is None
    assert boolean({"dangling": []}, "dangling") is None
    assert boolean({"dangling": ["true"]}, "dangling") is True
    assert boolean({"dangling": ["0"]}, "dangling") is False


@pytest.mark.parametrize(
    ("values", "shown"),
    [(["maybe"], "maybe"), (["true", "false"], "true false"), (["x" * 100], "x" * 40)],
)
def test_no_truth_value(values: list[str], shown: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        boolean({"dangling": values}, "dangling")
    assert str(caught.value) == f"invalid filter 'dangling=[{shown}]'"


def test_all_labels_must_be_there() -> None:
    labels = {"a": "1", "b": ""}
    assert has_labels(labels, [])
    assert has_labels(labels, ["a", "a=1", "b="])
    assert not has_labels(labels, ["a", "a=2"])
    assert not has_labels(labels, ["c"])
