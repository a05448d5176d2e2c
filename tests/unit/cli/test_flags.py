"""The flag parser: pflag's grammar and its error sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.cli.flags import (
    INT,
    LATER,
    LIST,
    STRING,
    Command,
    Flag,
    HelpRequested,
    Refused,
    UsageError,
    check_arguments,
    parse,
    parse_int,
)

FLAGS = (
    Flag("all", "a"),
    Flag("detach", "d"),
    Flag("env", "e", LIST),
    Flag("name", "", STRING),
    Flag("net", "", LIST, into="network", hidden=True),
    Flag("network", "", LIST),
    Flag("last", "n", INT, default=-1),
    Flag("yes", default=True),
    Flag("soon", refused=LATER),
)


@pytest.mark.parametrize(
    ("words", "args", "values"),
    [
        ("-ad x", ["x"], {"all": True, "detach": True}),
        ("-adn5", [], {"all": True, "detach": True, "last": 5}),
        ("-n=5", [], {"last": 5}),
        ("-n 0x10", [], {"last": 16}),
        ("-e A=1 -eB=2 --env=C= --env D", [], {"env": ["A=1", "B=2", "C=", "D"]}),
        ("--all=false --yes=0", [], {"all": False, "yes": False}),
        ("--name= x", ["x"], {"name": ""}),
        ("--net a --network b", [], {"network": ["a", "b"]}),
        ("x -a y", ["x", "y"], {"all": True}),
        ("x -- -a", ["x", "-a"], {"all": False}),
        ("- -a", ["-"], {"all": True}),
        ("", [], {"all": False, "last": -1, "name": "", "yes": True}),
    ],
)
def test_accepts(words: str, args: list[str], values: dict[str, object]) -> None:
    call = parse(FLAGS, words.split())
    assert call.args == args
    for name, value in values.items():
        found: object = call.many(name) if isinstance(value, list) else call._values[name]
        assert found == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--foo", "unknown flag: --foo"),
        ("--foo=1", "unknown flag: --foo"),
        ("-z", "unknown shorthand flag: 'z' in -z"),
        ("-adz", "unknown shorthand flag: 'z' in -z"),
        ("--name", "flag needs an argument: --name"),
        ("-ae", "flag needs an argument: 'e' in -e"),
        ("---x", "bad flag syntax: ---x"),
        ("--=x", "bad flag syntax: --=x"),
        (
            "--all=maybe",
            'invalid argument "maybe" for "-a, --all" flag: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "--last=x",
            'invalid argument "x" for "-n, --last" flag: '
            'strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (
            "-n 9223372036854775808",
            'invalid argument "9223372036854775808" for "-n, --last" flag: '
            'strconv.ParseInt: parsing "9223372036854775808": value out of range',
        ),
    ],
)
def test_refuses_in_dockers_words(words: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FLAGS, words.split())
    assert str(caught.value) == message


def test_refuses_what_is_known_and_not_there() -> None:
    with pytest.raises(Refused, match='^"--soon" is not supported yet$'):
        parse(FLAGS, ["--soon"])


def test_stops_at_the_first_argument() -> None:
    call = parse(FLAGS, ["-a", "image", "-d", "--", "x"], interspersed=False)
    assert call.args == ["image", "-d", "--", "x"]
    assert call.flag("all") and not call.flag("detach")


def test_help() -> None:
    with pytest.raises(HelpRequested):
        parse(FLAGS, ["x", "--help"])
    with pytest.raises(HelpRequested) as caught:
        parse(FLAGS, ["-ah"])
    assert caught.value.shorthand
    assert parse(FLAGS, ["--help=false", "x"]).args == ["x"]


def test_given_tells_what_was_on_the_line() -> None:
    call = parse(FLAGS, ["--all=false", "--net", "x"])
    assert call.given("all") and call.given("network") and not call.given("name")


_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(_TEXT), _TEXT, st.lists(_TEXT.filter(lambda text: text[:1] != "-")))
def test_every_spelling_means_the_same(env: list[str], name: str, args: list[str]) -> None:
    spellings = [
        [f"--env={text}" for text in env] + [f"--name={name}"],
        [word for text in env for word in ("--env", text)] + ["--name", name],
        [word for text in env for word in ("-e", text)] + [f"--name={name}"],
    ]
    for words in spellings:
        call = parse(FLAGS, [*words, "--", *args])
        assert (call.many("env"), call.text("name"), call.args) == (env, name, args)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_line_gives_a_call_or_an_error(words: list[str]) -> None:
    try:
        call = parse(FLAGS, words)
    except (UsageError, HelpRequested):
        return
    assert len(call.args) <= len(words)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_round_trip(value: int) -> None:
    assert parse_int(str(value)) == value
    if value >= 0:
        assert parse_int(hex(value)) == parse_int(f"0{value:o}") == value


@pytest.mark.parametrize("text", ["", "-", "+", "--1", "1_", "0x", "١", "1 ", " 1", "1.0", "0b2"])
def test_integers_refuse(text: str) -> None:
    with pytest.raises(ValueError, match="invalid syntax"):
        parse_int(text)


@pytest.mark.parametrize(
    ("low", "high", "count", "what", "see"),
    [
        (1, None, 0, "requires at least 1 argument", "See"),
        (2, None, 1, "requires at least 2 arguments", "See"),
        (0, 0, 1, "accepts no arguments", "Run"),
        (1, 1, 2, "requires 1 argument", "Run"),
        (2, 2, 1, "requires 2 arguments", "Run"),
        (1, 2, 3, "requires at least 1 and at most 2 arguments", "Run"),
        (0, 1, 2, "requires at most 1 argument", "Run"),
    ],
)
def test_counts_arguments(low: int, high: int | None, count: int, what: str, see: str) -> None:
    command = Command("[OPTIONS] X", minimum=low, maximum=high)
    with pytest.raises(Refused) as caught:
        check_arguments(command, "jubako x", ["a"] * count)
    assert str(caught.value) == (
        f"'jubako x' {what}\n\nUsage:  jubako x [OPTIONS] X\n\n"
        f"{see} 'jubako x --help' for more information"
    )
