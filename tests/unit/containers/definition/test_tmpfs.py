"""Options of tmpfs mounts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.definition import tmpfs
from jubako.errors import InvalidArgument


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", ["noexec", "nosuid", "nodev", "rprivate"]),
        ("size=1m,exec", ["nosuid", "nodev", "rprivate", "size=1m", "exec"]),
        ("rw,noexec,nosuid,size=65536k", ["nodev", "rprivate", "rw", "noexec", "nosuid",
                                          "size=65536k"]),
        ("mode=1777,mode=0755", ["noexec", "nosuid", "nodev", "rprivate", "mode=0755"]),
        ("defaults,rslave", ["noexec", "nosuid", "nodev", "rslave"]),
        ("uid=1000,gid=5,nr_inodes=9", ["noexec", "nosuid", "nodev", "rprivate", "uid=1000",
                                        "gid=5", "nr_inodes=9"]),
    ],
)  # fmt: skip
def test_later_options_win(data: str, expected: list[str]) -> None:
    mount = tmpfs.mount("/t", data)
    assert mount == {
        "destination": "/t",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": expected,
    }


@pytest.mark.parametrize("word", ["foo", "foo=bar", "size", "remount", "bind", "=1", "huge=always"])
def test_unknown_options(word: str) -> None:
    with pytest.raises(InvalidArgument, match='^invalid tmpfs option "'):
        tmpfs.mount("/t", word)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, ""),
        ({}, ""),
        ({"SizeBytes": 1 << 21, "Mode": 0o1770}, "mode=1770,size=2m"),
        ({"SizeBytes": 1 << 30}, "size=1g"),
        ({"SizeBytes": 3 << 10}, "size=3k"),
        ({"SizeBytes": 1001}, "size=1001"),
        ({"Options": [["exec"]]}, "exec"),
    ],
)
def test_mount_options(options: Any, expected: str) -> None:
    assert tmpfs.data_of(options) == expected


@given(st.lists(st.sampled_from(["ro", "rw", "exec", "noexec", "shared", "private", "size=1"])))
def test_merging_twice_changes_nothing(words: list[str]) -> None:
    once = tmpfs.merge(words)
    assert tmpfs.merge(once) == once
    assert not {"ro", "rw"} <= set(once) and not {"exec", "noexec"} <= set(once)
