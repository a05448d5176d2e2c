"""Driver options of local volumes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.linux import mount
from jubako.volumes import options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, [], "")),
        ("ro,size=1m", (mount.MS_RDONLY, [], "size=1m")),
        ("ro,rw", (0, [], "")),
        ("bind", (mount.MS_BIND, [], "")),
        ("rbind,nosuid", (mount.MS_BIND | mount.MS_REC | mount.MS_NOSUID, [], "")),
        ("addr=1.2.3.4,nfsvers=4", (0, [], "addr=1.2.3.4,nfsvers=4")),
        ("bind,rslave", (mount.MS_BIND, [mount.MS_SLAVE | mount.MS_REC], "")),
        ("noatime,defaults,,atime", (0, [], "")),
    ],
)
def test_parse(text: str, expected: tuple[int, list[int], str]) -> None:
    assert options.parse(text) == expected


@given(st.text(alphabet="abro,=wsuid", max_size=40))
def test_every_word_is_used_once_or_is_data(text: str) -> None:
    flags, _, data = options.parse(text)
    assert flags >= 0
    assert all(word in text.split(",") for word in data.split(",") if word)


def test_only_a_device_means_a_mount() -> None:
    assert not options.needs_mount({})
    assert options.needs_mount({"type": "tmpfs", "device": "tmpfs"})


def test_passwords_are_hidden() -> None:
    hidden = options._without_password("user=a,password=secret,vers=3")
    assert hidden == "user=a,password=********,vers=3"


def test_an_address_of_a_name_is_resolved() -> None:
    assert options._with_address("addr=127.0.0.1,rw") == "addr=127.0.0.1,rw"
    assert options._with_address("rw,addr=localhost") in ("rw,addr=127.0.0.1", "rw,addr=::1")
