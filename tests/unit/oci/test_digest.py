from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import IntegrityError, InvalidDigest
from jubako.oci.digest import Digest, canonical_json, chain_ids

EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()


def test_a_digest_is_its_text() -> None:
    digest = Digest.parse(EMPTY)
    assert digest == EMPTY == Digest.of(b"")
    assert (digest.algorithm, digest.encoded) == ("sha256", EMPTY[7:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid checksum digest format"),
        ("sha256", "invalid checksum digest format"),
        ("sha256:", "invalid checksum digest format"),
        ("sha256:12", "invalid checksum digest length"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("sha256:" + "0" * 64 + "\n", "invalid checksum digest format"),
        ("sha256:../../../../etc/passwd", "invalid checksum digest format"),
        ("md5:" + "0" * 32, "unsupported digest algorithm"),
        ("sha512:" + "0" * 64, "invalid checksum digest length"),
        ("SHA256:" + "0" * 64, "invalid checksum digest format"),
    ],
)
def test_bad_digests_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidDigest, match=message) as info:
        Digest.parse(text)
    assert info.value.subject == text


@given(st.text())
def test_parse_never_accepts_what_could_be_a_path(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert "/" not in digest and "." not in digest.encoded


def test_a_check_names_both_digests() -> None:
    Digest.parse(EMPTY).check(b"", "config")
    with pytest.raises(IntegrityError) as info:
        Digest.parse(EMPTY).check(b"x", "config")
    assert EMPTY in str(info.value) and Digest.of(b"x") in str(info.value)


def test_chain_ids_follow_the_specification() -> None:
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_ids([]) == []
    assert chain_ids([first]) == [first]
    expected = "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert chain_ids([first, second]) == [first, expected]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcä"), inner),
    max_leaves=10,
)


@given(json_values)
def test_canonical_json_is_stable_and_loses_nothing(value: Any) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data
