"""What `--change` makes of instructions; the table was checked against a real Docker 26.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.images.changes import apply
from jubako.images.words import expand, split


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["CMD echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        (['cmd ["x"]'], {"Cmd": ["x"]}),
        (['CMD ["x"'], {"Cmd": ["/bin/sh", "-c", '["x"']}),
        (['ENTRYPOINT ["a","b"]', 'CMD ["c"]'], {"Entrypoint": ["a", "b"], "Cmd": ["c"]}),
        (['CMD ["c"]', 'ENTRYPOINT ["a"]'], {"Entrypoint": ["a"], "Cmd": ["c"]}),
        (["ENV a b c"], {"Env": ["a=b c"]}),
        (["ENV a=b c=\"d e\" f='g $h'"], {"Env": ["a=b", "c=d e", "f=g $h"]}),
        (["ENV a=b\\ c"], {"Env": ["a=b c"]}),
        (["ENV A=1", "ENV A=2"], {"Env": ["A=2"]}),
        (["ENV X=1", "ENV X=2 Y=${X}3"], {"Env": ["X=2", "Y=13"]}),
        (["ENV a=b \\\n c=d"], {"Env": ["a=b", "c=d"]}),
        (["# note\n\nUSER me"], {"User": "me"}),
        (['LABEL a=b c="d e"', "LABEL a=x"], {"Labels": {"a": "x", "c": "d e"}}),
        (['LABEL "a b"=c'], {"Labels": {"a b": "c"}}),
        (["EXPOSE 80-81/udp 90"], {"ExposedPorts": {"80/udp": {}, "81/udp": {}, "90/tcp": {}}}),
        (["EXPOSE 8080:80"], {"ExposedPorts": {"80/tcp": {}}}),
        (["ENV P=70", "EXPOSE $P"], {"Env": ["P=70"], "ExposedPorts": {"70/tcp": {}}}),
        (['VOLUME ["/a b","/c"]', "VOLUME /d"], {"Volumes": {"/a b": {}, "/c": {}, "/d": {}}}),
        (["WORKDIR /x", "WORKDIR y/../z"], {"WorkingDir": "/x/z"}),
        (["WORKDIR a"], {"WorkingDir": "/a"}),
        (["STOPSIGNAL SIGRTMIN+3"], {"StopSignal": "SIGRTMIN+3"}),
        (["STOPSIGNAL 9"], {"StopSignal": "9"}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --interval=5s --retries=3 CMD x y"],
            {"Healthcheck": {"Interval": 5 * 10**9, "Retries": 3, "Test": ["CMD-SHELL", "x y"]}},
        ),
        (
            ['HEALTHCHECK --timeout=1m30s CMD ["a"]'],
            {"Healthcheck": {"Timeout": 90 * 10**9, "Test": ["CMD", "a"]}},
        ),
        (["ONBUILD RUN x", "ONBUILD COPY a b"], {"OnBuild": ["RUN x", "COPY a b"]}),
    ],
)
def test_instructions(changes: list[str], expected: dict[str, Any]) -> None:
    assert apply({}, changes) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("FOO x", "FOO is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV =b", "ENV names can not be blank"),
        ("ENV a=b c", 'can\'t find = in "c"'),
        ('LABEL a="b', "looking for matching double-quote"),
        ("ENV a=${b", "missing '}'"),
        ("EXPOSE 99999", "Invalid containerPort: 99999"),
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 80/foo", "Invalid proto: foo"),
        ("STOPSIGNAL FOO", "invalid signal: FOO"),
        ("HEALTHCHECK FOO", "Unknown type"),
        ("HEALTHCHECK CMD", "Missing command"),
        ("HEALTHCHECK --interval=1us CMD x", "cannot be less than 1ms"),
        ("HEALTHCHECK --what=1 CMD x", "unknown flag: what"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ('ENTRYPOINT ["a",1]', "strings only"),
    ],
)
def test_what_docker_refuses_is_refused_in_its_words(change: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as info:
        apply({}, [change])
    assert message in str(info.value)


def test_the_given_configuration_is_not_changed() -> None:
    before = {"Env": ["A=1"], "Labels": {"x": "y"}}
    apply(before, ["ENV A=2 B=3", "LABEL x=z"])
    assert before == {"Env": ["A=1"], "Labels": {"x": "y"}}


def test_an_entrypoint_makes_an_inherited_command_void() -> None:
    assert apply({"Cmd": ["old"]}, ['ENTRYPOINT ["new"]']) == {"Entrypoint": ["new"], "Cmd": None}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$a", "A"),
        ("${a}x", "Ax"),
        ("$ax", ""),
        ("'$a'", "$a"),
        ('"$a"', "A"),
        ("\\$a", "$a"),
        ('"\\$a \\x"', "$a \\x"),
        ("${none:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${none-${a}}", "A"),
        ("${a:+o}", "o"),
        ("${none:+o}", ""),
        ("${empty+o}", "o"),
        ("${a:?no}", "A"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$$", ""),
        ("end\\", "end"),
    ],
)
def test_expansion(word: str, expected: str) -> None:
    assert expand(word, {"a": "A", "empty": ""}) == expected


def test_a_required_variable_must_be_set() -> None:
    with pytest.raises(InvalidArgument, match="x: why"):
        expand("${x:?why}", {})


@given(st.text("ab$ {}'\"\\:-+?x", max_size=30))
def test_any_text_expands_or_is_refused(text: str) -> None:
    try:
        for word in split(text):
            expand(word, {"a": "1"})
    except InvalidArgument:
        return
