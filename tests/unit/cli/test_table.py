"""Tables: Go's tabwriter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jubako.cli.table import align, display_width, ellipsis, rows

_CELL = st.text(alphabet="abcdé日本 .", max_size=14)


def test_cells_are_at_least_ten_wide_and_three_apart() -> None:
    assert rows(["A", "LONG HEADER", "C"], [["1", "2", "3"], ["123456789", "", "x"]]) == (
        "A           LONG HEADER   C\n1           2             3\n123456789                 x"
    )


def test_the_last_cell_is_not_padded_and_an_empty_one_leaves_spaces() -> None:
    assert rows(["ID", "NAMES", "PORTS"], [["57dbe86b7f81", "cli-c1", ""]]) == (
        "ID             NAMES     PORTS\n57dbe86b7f81   cli-c1    "
    )


def test_lines_without_the_cell_end_a_column() -> None:
    assert align("a\tb\nno tabs\nlonger than ten\tb") == (
        "a         b\nno tabs\nlonger than ten   b"
    )


def test_wide_characters_take_two_columns() -> None:
    assert display_width("日本") == 4
    assert rows(["NAME", "X"], [["日本日本日本", "y"]]) == ("NAME           X\n日本日本日本   y")


@given(st.lists(st.lists(_CELL, min_size=3, max_size=3), min_size=1, max_size=6))
def test_columns_line_up_whatever_the_cells(body: list[list[str]]) -> None:
    lines = rows(["A", "B", "C"], body).split("\n")
    for column in range(2):
        cells = ["ABC"[column], *(row[column] for row in body)]
        width = max(10, *(display_width(cell) + 3 for cell in cells))
        for line, cell in zip(lines, cells, strict=True):
            assert line.startswith(cell)
        lines = [
            line[len(cell) + width - display_width(cell) :]
            for line, cell in zip(lines, cells, strict=True)
        ]
    assert lines == ["C", *(row[2] for row in body)]


@given(st.text(max_size=30), st.integers(2, 25))
def test_ellipsis_never_exceeds_the_width(text: str, width: int) -> None:
    short = ellipsis(text, width)
    assert display_width(short) <= width
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))


def test_ellipsis() -> None:
    assert ellipsis("sleep 600", 20) == "sleep 600"
    assert ellipsis("sh -c 'echo \"hi <there>\"; exit 3'", 20) == "sh -c 'echo \"hi <th…"
    assert ellipsis("日本日本日本", 6) == "日本…"
