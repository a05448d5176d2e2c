"""The grammar of jubako-runtime's command line."""

from __future__ import annotations

import pytest

from jubako.errors import InvalidArgument
from jubako.runtime.flags import BOOL, LIST, NUMBER, TEXT, parse

KNOWN = {"bundle": TEXT, "no-pivot": BOOL, "preserve-fds": NUMBER, "env": LIST}
ALIASES = {"b": "bundle", "e": "env"}


def test_all_forms_of_an_option() -> None:
    for words in (["--bundle", "/x"], ["--bundle=/x"], ["-b", "/x"], ["-bundle=/x"]):
        values, rest = parse([*words, "id"], KNOWN, ALIASES)
        assert (values.text("bundle"), rest) == ("/x", ["id"])


def test_kinds() -> None:
    words = ["--no-pivot", "--preserve-fds=2", "-e", "A=1", "-e", "B=2=3"]
    values, rest = parse(words, KNOWN, ALIASES)
    assert values.flag("no-pivot")
    assert values.number("preserve-fds") == 2
    assert values.many("env") == ["A=1", "B=2=3"]
    assert not values.has("bundle")
    assert values.text("bundle", "default") == "default"
    assert rest == []
    assert not parse(["--no-pivot=false"], KNOWN, ALIASES)[0].flag("no-pivot")


def test_options_end_at_the_first_word() -> None:
    assert parse(["id", "--no-pivot"], KNOWN, ALIASES)[1] == ["id", "--no-pivot"]
    assert parse(["--", "--no-pivot"], KNOWN, ALIASES)[1] == ["--no-pivot"]
    assert parse(["-"], KNOWN, ALIASES)[1] == ["-"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["--bundle"], "flag needs an argument: -bundle"),
        (["--preserve-fds", "x"], "not a number"),
        (["--no-pivot=maybe"], "invalid boolean value"),
    ],
)
def test_errors(words: list[str], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        parse(words, KNOWN, ALIASES)
