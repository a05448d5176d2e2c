"""Environment and label files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.cli import keyvalue
from jubako.cli.flags import OptionError


def test_lines_comments_and_values_from_here() -> None:
    data = b"\xef\xbb\xbfA=1\n# comment\n\n  B = 2 \nHERE\nGONE\nC=\r\nD=a=b#c\n"
    with pytest.raises(ValueError, match="variable 'B ' contains whitespaces"):
        keyvalue.parse(data, {})
    assert keyvalue.parse(data.replace(b"B = 2 ", b"B=2 "), {"HERE": "x"}) == [
        "A=1",
        "B=2 ",
        "HERE=x",
        "C=",
        "D=a=b#c",
    ]
    assert keyvalue.parse(b"HERE\nA=1", None) == ["A=1"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"=x", "no variable name on line '=x'"),
        (b"A\tB=1", "variable 'A\tB' contains whitespaces"),
        (b"A=1\nB=\xff\xfe", "invalid utf8 bytes at line 2: [66 61 255 254]"),
        (b"A=" + b"x" * (64 << 10), "bufio.Scanner: token too long"),
    ],
)
def test_refuses(data: bytes, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        keyvalue.parse(data, {})
    assert str(caught.value) == message


def test_files_come_first_and_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A=1\nB=2\n")
    (tmp_path / "b").write_text("=\n")
    assert keyvalue.read([str(tmp_path / "a")], ["A=3"], {}) == ["A=1", "B=2", "A=3"]
    missing = str(tmp_path / "none")
    with pytest.raises(OptionError) as caught:
        keyvalue.read([missing], [], {})
    assert str(caught.value) == f"open {missing}: no such file or directory"
    with pytest.raises(OptionError) as caught:
        keyvalue.read([str(tmp_path / "b")], [], {})
    assert str(caught.value) == f"invalid env file ({tmp_path}/b): no variable name on line '='"


_NAME = st.text(alphabet="ABC_09.-", min_size=1)
_VALUE = st.text(alphabet=st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(_NAME, _VALUE)))
def test_what_is_written_is_read(pairs: list[tuple[str, str]]) -> None:
    lines = [f"{name}={value}" for name, value in pairs]
    assert keyvalue.parse("\n".join(lines).encode(), {}) == lines


@given(st.binary(max_size=200))
def test_any_bytes_give_variables_or_an_error(data: bytes) -> None:
    try:
        assert all("=" in line for line in keyvalue.parse(data, {}))
    except ValueError:
        pass
