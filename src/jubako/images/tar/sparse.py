"""Maps of sparse files: GNU's old format, and its pax formats 0.0, 0.1 and 1.0."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.images.tar.fields import decimal, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.images.tar.entry import Limits

    Segments = list[tuple[int, int]]


def old_gnu(header: bytes, next_block: Callable[[], bytes], limits: Limits) -> tuple[int, Segments]:
    """Real size and map of a header of type `S`; further blocks of the map come from next_block."""
    size = number(header[483:495], "size of a sparse file")
    segments: Segments = []
    area, more = header[386:482], header[482]
    while True:
        for at in range(0, len(area), 24):
            if area[at : at + 24].strip(b"\0 "):
                offset = number(area[at : at + 12], "offset in a sparse file")
                length = number(area[at + 12 : at + 24], "length in a sparse file")
                segments.append((offset, length))
        if not more:
            return size, segments
        if len(segments) > limits.max_segments:
            raise too_many(limits)
        block = next_block()
        area, more = block[:504], block[504]


def pax_01(text: bytes, limits: Limits) -> Segments:
    """The map of formats 0.0 and 0.1: `offset,length,offset,length...`."""
    if text.count(b",") > 2 * limits.max_segments:
        raise too_many(limits)
    values = [decimal(word, "map of a sparse file") for word in text.split(b",")] if text else []
    if len(values) % 2:
        raise InvalidArgument("map of a sparse file: an offset without a length")
    return list(zip(values[::2], values[1::2], strict=True))


def pax_10(next_block: Callable[[], bytes], limits: Limits) -> tuple[Segments, int]:
    """The map of format 1.0, which precedes the content; also how many bytes it took."""
    taken = 0
    lines: list[bytes] = []
    rest = b""

    def line() -> int:
        nonlocal taken, rest
        while not lines:
            block = next_block()
            taken += len(block)
            *complete, rest = (rest + block).split(b"\n")
            lines.extend(reversed(complete))
            if len(rest) > 32 and rest.strip(b"\0"):
                raise InvalidArgument("map of a sparse file: a line is too long")
        return decimal(lines.pop(), "map of a sparse file")

    count = line()
    if count > limits.max_segments:
        raise too_many(limits)
    return [(line(), line()) for _ in range(count)], taken


def check(segments: Segments, size: int, payload: int) -> Segments:
    """The map without empty pieces, if it is ordered, inside the file and as long as its data."""
    end = 0
    total = 0
    for offset, length in segments:
        if length < 0 or offset < end or offset + length > size:
            raise InvalidArgument("map of a sparse file: pieces overlap or leave the file")
        end = offset + length
        total += length
    if total != payload:
        raise InvalidArgument(
            f"map of a sparse file: it covers {total} bytes, the archive holds {payload}"
        )
    return [segment for segment in segments if segment[1]]


def too_many(limits: Limits) -> InvalidArgument:
    return InvalidArgument(f"sparse file of more than {limits.max_segments} pieces")
