"""What goes over the wire for one message, beside what Docker 26.1 was seen to send."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.logs.fluentd import Fluentd, pack_map_head, pack_text
from jubako.containers.logs.gelf import Gelf
from jubako.containers.logs.journald import Journald
from jubako.containers.logs.journald_options import _field_name
from jubako.containers.logs.lines import MAX_MESSAGE_BYTES, Lines, Message, Partial
from jubako.containers.logs.syslog import Syslog
from tests.unit.containers.log_tools import unpack

AT_NS = 1_795_728_740_492_123_456  # 2026-11-26T21:32:20.492123456Z


# lines


def test_lines_are_cut_as_docker_cuts_them() -> None:
    lines = Lines()
    assert lines.feed("stdout", b"half", 1) == []
    (one,) = lines.feed("stdout", b"way\n", 2)
    assert (one.line, one.at_ns, one.partial) == (b"halfway", 2, None)
    long = b"x" * (2 * MAX_MESSAGE_BYTES + 5)
    pieces = lines.feed("stderr", long + b"\n\n", 3)
    assert b"".join(piece.line for piece in pieces) == long
    parts = [piece.partial for piece in pieces[:3] if piece.partial]
    assert [(part.ordinal, part.last) for part in parts] == [(1, False), (2, False), (3, True)]
    assert len({part.name for part in parts}) == 1
    assert pieces[3].partial is None
    lines.feed("stdout", b"unended", 4)
    (last,) = lines.flush(5)
    assert last.line == b"unended" and last.partial and not last.partial.last


@given(st.lists(st.one_of(st.binary(max_size=50), st.just(b"\n"), st.just(b"x" * 20_000))))
def test_no_byte_is_lost_also_across_a_hand_over(parts: list[bytes]) -> None:
    lines = Lines()
    got = b""
    for part in parts:
        for message in lines.feed("stdout", part, 0):
            ended = message.partial is None or message.partial.last
            got += message.line + (b"\n" if ended else b"")
        lines = Lines.take_over(json.loads(json.dumps(lines.hand_over())))
    got += b"".join(message.line for message in lines.flush(0))
    assert got == b"".join(parts)


# syslog


def syslog(form: str = "", framed: bool = False) -> Syslog:
    return Syslog({"facility": 3, "format": form, "tag": "box", "hostname": "vm", "framed": framed})


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.localtime", __import__("time").gmtime)


@pytest.mark.parametrize(
    ("form", "stream", "expected"),
    [
        ("", "stdout", "<30>Nov 26 21:32:20 box[{pid}]: hi\n"),
        ("", "stderr", "<27>Nov 26 21:32:20 box[{pid}]: hi\n"),
        ("rfc3164", "stdout", "<30>Nov 26 21:32:20 vm box[{pid}]: hi\n"),
        ("rfc5424", "stdout", "<30>1 2026-11-26T21:32:20Z vm box {pid} box - hi\n"),
        ("rfc5424micro", "stdout", "<30>1 2026-11-26T21:32:20.492123Z vm box {pid} box - hi\n"),
    ],
)
def test_syslog(utc: None, form: str, stream: str, expected: str) -> None:
    (frame,) = syslog(form).encode(Message(stream, b"hi", AT_NS))
    assert frame.decode() == expected.format(pid=os.getpid())


def test_syslog_over_tls_counts_the_bytes(utc: None) -> None:
    (frame,) = syslog("rfc5424", framed=True).encode(Message("stdout", "é".encode(), AT_NS))
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)


# fluentd


def fluentd(*, sub_second: bool = False, acks: bool = False) -> Fluentd:
    fields = {"container_id": "1" * 64, "container_name": "/box"}
    return Fluentd(
        {"tag": "t", "sub_second": sub_second, "fields": fields, "target": {"acks": acks}}
    )


def test_fluentd() -> None:
    (frame,) = fluentd().encode(Message("stdout", b"hi", AT_NS))
    tag, at, record, option = unpack(frame)
    assert (tag, at, option) == (b"t", AT_NS // 10**9, {})
    assert record == {
        b"container_id": b"1" * 64,
        b"container_name": b"/box",
        b"source": b"stdout",
        b"log": b"hi",
    }


def test_fluentd_with_all_there_is() -> None:
    message = Message("stderr", b"piece", AT_NS, Partial("name", 2, False))
    (frame,) = fluentd(sub_second=True, acks=True).encode(message)
    _, at, record, option = unpack(frame)
    assert struct.unpack(">II", at) == divmod(AT_NS, 10**9)
    assert record[b"partial_message"] == b"true" and record[b"partial_last"] == b"false"
    assert record[b"partial_id"] == b"name" and record[b"partial_ordinal"] == b"2"
    assert list(option) == [b"chunk"] and len(option[b"chunk"]) == 24


@given(st.binary(max_size=70_000))
def test_texts_of_every_length(data: bytes) -> None:
    assert unpack(pack_text(data)) == data


@pytest.mark.parametrize("length", [0, 31, 32, 255, 256, 65535, 65536])
def test_texts_at_the_borders(length: int) -> None:
    assert unpack(pack_text(b"x" * length)) == b"x" * length


def test_heads_of_maps() -> None:
    assert pack_map_head(15) == b"\x8f"
    assert pack_map_head(16) == b"\xde\x00\x10"
    assert pack_map_head(1 << 16) == b"\xdf\x00\x01\x00\x00"


def test_acks_are_counted_however_they_come() -> None:
    encoder = fluentd(acks=True)
    answer = b"\x81\xa3ack\xb8" + b"c" * 24
    count, rest = encoder.count_acks(answer * 3 + answer[:7])
    assert (count, rest) == (3, answer[:7])
    assert encoder.count_acks(rest + answer[7:]) == (1, b"")
    long = b"\x81\xa3ack\xd9\x28" + b"c" * 40
    assert encoder.count_acks(long) == (1, b"")
    assert encoder.count_acks(b"nonsense" * 100)[0] == 0


# gelf


def gelf(compression: str) -> Gelf:
    return Gelf(
        {"compression": compression, "level": 1, "hostname": "vm", "extra": {"_tag": "box"}}
    )


@pytest.mark.parametrize(
    ("compression", "unpacked"),
    [("none", bytes), ("gzip", gzip.decompress), ("zlib", zlib.decompress)],
)
def test_gelf(compression: str, unpacked: Any) -> None:
    (frame,) = gelf(compression).encode(Message("stderr", b'say "\xff"', AT_NS))
    assert json.loads(unpacked(frame)) == {
        "version": "1.1",
        "host": "vm",
        "short_message": 'say "\ufffd"',
        "timestamp": 1795728740.492,
        "level": 3,
        "_tag": "box",
    }


def test_gelf_over_tcp_ends_in_a_null() -> None:
    (frame,) = gelf("").encode(Message("stdout", b"hi", AT_NS))
    assert frame.endswith(b'"level":6,"_tag":"box"}\0')


def test_gelf_cuts_large_messages() -> None:
    chunks = gelf("none").encode(Message("stdout", b"x" * 16_000, AT_NS))
    assert all(chunk[:2] == b"\x1e\x0f" and len(chunk) <= 1420 for chunk in chunks)
    assert len({chunk[2:10] for chunk in chunks}) == 1
    assert [tuple(chunk[10:12]) for chunk in chunks] == [
        (number, len(chunks)) for number in range(len(chunks))
    ]
    whole = json.loads(b"".join(chunk[12:] for chunk in chunks))
    assert whole["short_message"] == "x" * 16_000


def test_gelf_has_no_empty_messages() -> None:
    assert gelf("none").encode(Message("stdout", b"", AT_NS)) == []


def test_gelf_refuses_what_takes_too_many_chunks() -> None:
    assert len(gelf("none").encode(Message("stdout", b"\x00" * MAX_MESSAGE_BYTES, AT_NS))) <= 128
    with pytest.raises(ValueError, match="more than 128 chunks"):
        gelf("none").encode(Message("stdout", b"x" * 200_000, AT_NS))


# journald


def test_journald() -> None:
    encoder = Journald({"fields": {"CONTAINER_NAME": "box", "L": "two\nlines"}})
    (frame,) = encoder.encode(Message("stderr", b"hi", AT_NS, Partial("name", 1, False)))
    assert frame == (
        b"PRIORITY=3\nMESSAGE=hi\nCONTAINER_NAME=box\n"
        b"L\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\n"
        b"CONTAINER_PARTIAL_MESSAGE=true\nCONTAINER_PARTIAL_ID=name\n"
        b"CONTAINER_PARTIAL_ORDINAL=1\nCONTAINER_PARTIAL_LAST=false\n"
    )


def test_names_of_the_journal() -> None:
    assert _field_name("com.example-x") == "COM_EXAMPLE_X"
    assert _field_name("__a1") == "A1"
    assert _field_name("_.") == "UNNAMED"
