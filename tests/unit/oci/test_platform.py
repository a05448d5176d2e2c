from __future__ import annotations

import os

import pytest

from jubako.errors import InvalidArgument
from jubako.oci import platform
from jubako.oci.image import Platform


def test_the_host_has_gos_words() -> None:
    found = platform.host()
    assert found["os"] == "linux"
    if os.uname().machine == "x86_64":
        assert found == {"architecture": "amd64", "os": "linux"}


@pytest.mark.parametrize(
    ("text", "expected", "debian"),
    [
        ("linux/amd64", "linux/amd64", "amd64"),
        ("amd64", "linux/amd64", "amd64"),
        ("x86_64", "linux/amd64", "amd64"),
        ("linux/arm64", "linux/arm64", "arm64"),
        ("linux/arm64/v8", "linux/arm64", "arm64"),
        ("aarch64", "linux/arm64", "arm64"),
        ("linux/arm", "linux/arm/v7", "armhf"),
        ("linux/arm/v6", "linux/arm/v6", "armel"),
        ("linux/386", "linux/386", "i386"),
        ("linux/ppc64le", "linux/ppc64le", "ppc64el"),
        ("Linux/AMD64", "linux/amd64", "amd64"),
    ],
)
def test_platforms_are_normalised(text: str, expected: str, debian: str) -> None:
    found = platform.parse(text)
    assert platform.text(found) == expected
    assert platform.debian_architecture(found) == debian


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "lin ux/amd64", "linux/amd64\n"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot parse platform specifier"):
        platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("linux/amd64", ("linux", "amd64", ""), True),
        ("linux/amd64", ("linux", "arm64", ""), False),
        ("linux/amd64", ("windows", "amd64", ""), False),
        ("linux/amd64", ("linux", "", ""), False),
        ("linux/arm/v7", ("linux", "arm", "v6"), True),  # a processor runs what is made for less
        ("linux/arm/v6", ("linux", "arm", "v7"), False),
        ("linux/arm64", ("linux", "arm", "v7"), True),
        ("linux/arm/v6", ("linux", "arm", ""), True),  # an unnamed variant is any
        ("linux/arm64/v9", ("linux", "aarch64", ""), True),
    ],
)
def test_images_that_run_as_a_platform(
    wanted: str, offered: tuple[str, str, str], fits: bool
) -> None:
    system, architecture, variant = offered
    image: Platform = {"os": system, "architecture": architecture}
    if variant:
        image["variant"] = variant
    assert platform.matches(platform.parse(wanted), image) is fits


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", 1),
        ("fpu sse2 cx16 popcnt", 1),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3", 2),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe", 2),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", 3),
        ("avx512bw avx512cd avx512dq avx512f avx512vl", 1),
    ],
)
def test_levels_of_amd64(flags: str, level: int) -> None:
    assert platform._amd64_level(frozenset(flags.split())) == level


def test_the_processor_runs_what_is_made_for_the_host() -> None:
    assert platform.rank(platform.processor(), platform.host()) is not None
