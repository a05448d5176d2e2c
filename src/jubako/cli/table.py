"""Columns aligned as Go's tabwriter does it, with the widths that Docker uses.

A cell ends with a tab; the text after a line's last tab belongs to no column.  A column is a run
of lines that have a cell there, and is as wide as its widest cell plus the padding.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PADDING = 3
MINIMUM = 10


def rows(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table with a header line, without a newline at the end."""
    lines = ["\t".join(header)]
    lines += ["\t".join(cells) for cells in body]
    return align("\n".join(lines))


def align(text: str, minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """Replace the tabs of `text` by spaces so that columns line up."""
    lines = [line.split("\t") for line in text.split("\n")]
    done: list[str] = [""] * len(lines)
    _format(lines, 0, len(lines), [], done, minimum, padding)
    return "\n".join(done)


def _format(
    lines: list[list[str]],
    first: int,
    last: int,
    widths: list[int],
    done: list[str],
    minimum: int,
    padding: int,
) -> None:
    column = len(widths)
    this = first
    while this < last:
        if column >= len(lines[this]) - 1:
            done[this] = _line(lines[this], widths)
            this += 1
            continue
        start, width = this, minimum
        while this < last and column < len(lines[this]) - 1:
            width = max(width, display_width(lines[this][column]) + padding)
            this += 1
        _format(lines, start, this, [*widths, width], done, minimum, padding)


def _line(cells: list[str], widths: list[int]) -> str:
    parts = [
        cell + " " * (width - display_width(cell))
        for cell, width in zip(cells, widths, strict=False)
    ]
    return "".join(parts + cells[len(widths) :])


def display_width(text: str) -> int:
    """How many columns of a terminal the text takes: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def ellipsis(text: str, width: int) -> str:
    """`text` cut to `width` columns of a terminal, the last of them an ellipsis."""
    if text.isascii():
        return text if len(text) <= width else text[: width - 1] + "…"
    if display_width(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += display_width(char)
        if used > width - 1:
            break
        kept += char
    return kept + "…"
