"""Profiles of users: conditions, bad input, what an OCI runtime gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.oci import seccomp_profile


def resolve(rule: dict[str, Any], *capabilities: str) -> list[str]:
    document = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"action": "X", **rule}]}
    profile = seccomp_profile.resolve(document, capabilities, machine="x86_64", kernel=(5, 10))
    return [name for entry in profile["syscalls"] for name in entry["names"]]


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_A"]}}, True),
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, False),
        ({"excludes": {"caps": ["CAP_B", "CAP_A"]}}, False),
        ({"excludes": {"caps": ["CAP_B"]}}, True),
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "5.10"}}, True),
        ({"includes": {"minKernel": "5.11"}}, False),
        ({"excludes": {"minKernel": "5.9"}}, False),
        ({"includes": None, "excludes": None}, True),
    ],
)
def test_conditions(condition: dict[str, Any], applies: bool) -> None:
    assert resolve({"names": ["mount"], **condition}, "CAP_A") == (["mount"] if applies else [])


def test_old_profiles_name_one_call_in_a_rule() -> None:
    assert resolve({"name": "mount"}) == ["mount"]
    with pytest.raises(InvalidArgument, match="both 'name' and 'names'"):
        resolve({"name": "mount", "names": ["umount2"]})


def test_architectures_come_from_the_map_or_from_the_list() -> None:
    mapped = {
        "defaultAction": "A",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    }
    result = seccomp_profile.resolve(mapped, (), machine="x86_64", kernel=(6, 0))
    assert result["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    listed = {"defaultAction": "A", "architectures": ["SCMP_ARCH_ARM"]}
    result = seccomp_profile.resolve(listed, (), machine="x86_64", kernel=(6, 0))
    assert result["architectures"] == ["SCMP_ARCH_ARM"]
    with pytest.raises(InvalidArgument, match="both 'architectures' and 'archMap'"):
        seccomp_profile.resolve({**mapped, **listed}, ())


def test_empty_profile_switches_the_filter_off() -> None:
    assert seccomp_profile.load("{}", ()) is None


def test_an_oci_profile_passes_through() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {
                "names": ["chmod"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
            }
        ],
    }
    assert seccomp_profile.load(json.dumps(profile), ()) == profile


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "1", '{"defaultAction": "A", "syscalls": 3}', "[" * 100_000,
     '{"defaultAction": "A", "syscalls": [7]}', '{"syscalls": [{"action": "A"}]}',
     '{"defaultAction": "A", "archMap": [3]}'],
)  # fmt: skip
def test_bad_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match="decoding seccomp profile failed"):
        seccomp_profile.load(text, ())


@given(st.text(max_size=200))
def test_any_text_is_a_profile_or_refused(text: str) -> None:
    try:
        seccomp_profile.load(text, ())
    except InvalidArgument:
        pass


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.3-amd64", (6, 18)),
        ("5.10", (5, 10)),
        ("4", (4, 0)),
        ("x", (0, 0)),
        ("6.1rc1", (6, 1)),
    ],
)
def test_kernel_version(release: str, version: tuple[int, int]) -> None:
    assert seccomp_profile.kernel_version(release) == version
