"""The block of 512 bytes that precedes each member.

Everything here runs once for each of what may be hundreds of thousands of members.
"""

from __future__ import annotations

from zlib import adler32

from jubako.errors import InvalidArgument
from jubako.images.tar.entry import Entry
from jubako.images.tar.fields import clamp_time, number

_MAX_KNOWN = 4096
_SECOND = 1_000_000_000

# Mode, owner and group by the bytes of their fields: most members have those of another.
_known: dict[bytes, tuple[int, int, int]] = {}


def check_sum(block: bytes) -> None:
    """Raise InvalidArgument unless the block has the checksum that it says."""
    expected = number(block[148:156], "checksum")
    # The lower half of an Adler-32 is 1 and the sum of the bytes modulo 65521, which so few bytes
    # do not reach: ten times as fast as sum(), which makes an object of each byte.
    found = (
        (adler32(block[:148]) & 0xFFFF)
        + (adler32(block[156:384]) & 0xFFFF)
        + (adler32(block[384:]) & 0xFFFF)
        - 3
        + 8 * 0x20  # the checksum counts as blanks
    )
    if expected == found:
        return
    # Historic programs summed signed characters.
    others = block[:148] + block[156:]
    if expected != sum(byte - 256 if byte > 127 else byte for byte in others) + 256:
        raise InvalidArgument("its checksum is wrong")


def entry(block: bytes, kind: bytes, name: bytes | None, link: bytes | None) -> Entry:
    """What the block says; name, link: from a header before it, which precede those in there.

    Raises InvalidArgument for a field that is no number.
    """
    if name is None:
        name = _name(block)
    if link is None:
        link = block[157:257].partition(b"\0")[0] if block[157] else b""
    fields = block[100:124]
    known = _known.get(fields)
    if known is None:
        known = _remember(fields)
    mode, uid, gid = known
    found = Entry(
        name,
        kind,
        mode=mode,
        uid=uid,
        gid=gid,
        size=number(block[124:136], "size"),
        mtime_ns=clamp_time(number(block[136:148], "mtime") * _SECOND),
        link=link,
    )
    if kind in b"34":
        found.major = number(block[329:337], "device number")
        found.minor = number(block[337:345], "device number")
    return found


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[345] and block[257:263] == b"ustar\0":
        prefix = block[345:476] if block[508:512] == b"tar\0" else block[345:500]
        return prefix.partition(b"\0")[0] + b"/" + name
    return name


def _remember(fields: bytes) -> tuple[int, int, int]:
    known = (
        number(fields[:8], "mode") & 0o7777,
        number(fields[8:16], "uid"),
        number(fields[16:], "gid"),
    )
    if len(_known) >= _MAX_KNOWN:
        _known.clear()
    _known[fields] = known
    return known
