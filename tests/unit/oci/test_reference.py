from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidReference
from jubako.oci.digest import Digest
from jubako.oci.reference import Reference, guess, parse

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/me/app:x", "docker.io/me/app:x", "me/app:x"),
        ("docker.io/library/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("quay.io/a/b", "quay.io/a/b", "quay.io/a/b"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),  # an upper case letter makes it a domain
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("a__b--c.d", "docker.io/library/a__b--c.d", "a__b--c.d"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
        ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, "x:" + "t" * 128),
    ],
)
def test_names_are_normalised_as_docker_does(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.familiar()) == (canonical, familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("x:" + "t" * 129, "invalid reference format"),
        ("ABC", "invalid reference format: repository name (library/ABC) must be lowercase"),
        ("foo/BAR:1", "invalid reference format: repository name (foo/BAR) must be lowercase"),
        ("x.y/Z", "invalid reference format: repository name (Z) must be lowercase"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("a@sha512:" + "0" * 64, "invalid checksum digest length"),
        ("a" * 300, "repository name must not be more than 255 characters"),
        (
            "a" * 64,
            f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
    ],
)
def test_bad_names_are_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidReference) as info:
        parse(text)
    assert str(info.value) == message
    assert info.value.subject == text


def test_latest_is_added_only_to_bare_names() -> None:
    assert str(parse("x").tagged()) == "docker.io/library/x:latest"
    assert str(parse("x:1").tagged()) == "docker.io/library/x:1"
    assert parse(f"x@{DIGEST}").tagged() == parse(f"x@{DIGEST}")


def test_tag_and_digest_can_be_exchanged() -> None:
    reference = parse("x:1")
    assert reference.with_tag("2") == parse("x:2")
    assert reference.with_digest(Digest.parse(DIGEST)) == parse(f"x@{DIGEST}")
    with pytest.raises(InvalidReference, match="invalid tag format"):
        reference.with_tag("a b")


component = st.from_regex(r"[a-z0-9]+(?:(?:[._]|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
domains = st.sampled_from(["docker.io", "localhost", "localhost:5000", "quay.io", "A.b", "[::1]:1"])
tags = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digests = st.none() | st.binary().map(Digest.of)


@given(domains, st.lists(component, min_size=1, max_size=4).map("/".join), tags, digests)
def test_canonical_and_familiar_texts_parse_back(
    domain: str, path: str, tag: str | None, digest: Digest | None
) -> None:
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    reference = Reference(domain, path, tag, digest)
    assert parse(str(reference)) == reference
    expected = reference if digest is None else reference.with_digest(digest)
    assert guess(str(reference)) == guess(reference.familiar()) == str(expected.tagged())
    familiar = reference.familiar()
    if len(familiar) != 64 or not set(familiar) <= set("0123456789abcdef"):
        assert parse(familiar) == reference


@given(st.text(max_size=80) | st.text("aA.:/@-_[]1", max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidReference:
        return
    assert parse(str(reference)) == reference
    assert not set("\n\r\t \0") & set(str(reference))
    assert ".." not in reference.path
