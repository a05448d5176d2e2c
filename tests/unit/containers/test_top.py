"""What `top` makes of the output of ps(1)."""

from __future__ import annotations

import pytest

from jubako.containers import top
from jubako.errors import InvalidArgument, JubakoError


def test_only_the_chosen_and_the_rest_in_the_last_column() -> None:
    output = "UID PID CMD\nroot 1 init  --with words\nroot 22 other\n\nroot 3 x\n"
    assert top.parse(output, {1, 3}) == {
        "Titles": ["UID", "PID", "CMD"],
        "Processes": [["root", "1", "init --with words"], ["root", "3", "x"]],
    }


def test_threads_follow_their_process() -> None:
    output = "PID TIME\n1 a\n- b\n2 c\n- d\n"
    assert top.parse(output, {1})["Processes"] == [["1", "a"], ["-", "b"]]


@pytest.mark.parametrize("output", ["", "UID CMD\nroot x\n", "pid\n1\n"])
def test_without_a_column(output: str) -> None:
    with pytest.raises(JubakoError, match="Couldn't find PID field in ps output"):
        top.parse(output, {1})


def test_a_pid_that_is_none() -> None:
    with pytest.raises(JubakoError, match="Unexpected pid 'x' in ps output"):
        top.parse("PID\nx\n", {1})


@pytest.mark.parametrize("word", ["-oppid=PID", "ppid=PID", "pid,user=PIDX"])
def test_no_other_column_passes_for_the_pid(word: str) -> None:
    with pytest.raises(InvalidArgument, match="is not allowed"):
        top.top([1], ["-o", word])
