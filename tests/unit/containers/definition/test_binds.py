"""The grammar of -v, --mount and --volumes-from; sentences as a real Docker 26.1 says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.definition import binds
from jubako.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", ("bind", "/a", "/b", True, "rprivate", "")),
        ("/a/../c:/b//d/", ("bind", "/c", "/b/d", True, "rprivate", "")),
        ("/a:/b:ro", ("bind", "/a", "/b", False, "rprivate", "ro")),
        ("/a:/b:rw,z", ("bind", "/a", "/b", True, "rprivate", "rw,z")),
        ("/a:/b:ro,rslave,Z", ("bind", "/a", "/b", False, "rslave", "ro,rslave,Z")),
        ("/a:/b:cached", ("bind", "/a", "/b", True, "rprivate", "cached")),
        ("name:/b", ("volume", "", "/b", True, "", "")),
        ("name:/b:ro,nocopy", ("volume", "", "/b", False, "", "ro,nocopy")),
        ("/b", ("volume", "", "/b", True, "", "")),
        ("/a:/b:U", ("bind", "/a", "/b", True, "rprivate", "U")),
        ("name:/b:ro,U,z", ("volume", "", "/b", False, "", "ro,U,z")),
    ],
)
def test_binds(text: str, expected: tuple[object, ...]) -> None:
    point = binds.parse_bind(text)
    keys = ("Type", "Source", "Destination", "RW", "Propagation", "Mode")
    assert tuple(dict(point)[key] for key in keys) == expected


def test_who_gets_what_is_mounted() -> None:
    assert binds.parse_bind("name:/b:U")["Chown"] is True
    assert binds.parse_bind("/a:/b:ro,U")["Chown"] is True
    assert "Chown" not in binds.parse_bind("/a:/b")
    assert binds.parse_mount({"Type": "volume", "Target": "/b", "Chown": True})["Chown"] is True


def test_volumes_of_binds() -> None:
    assert binds.parse_bind("name:/b")["Name"] == "name"
    assert binds.parse_bind("name:/b")["CopyData"] is True
    assert binds.parse_bind("name:/b:nocopy")["CopyData"] is False
    assert binds.parse_bind("name:/b", "other")["Driver"] == "other"
    assert binds.parse_bind("/a:/b", "other").get("Driver") is None
    assert binds.parse_bind("/a:/b")["CreateSource"] is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("/foo:rw", "invalid volume specification: '/foo:rw'"),
        ("foo:/x:zz", "invalid mode: zz"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        ("/a:/b:,", "invalid mode: ,"),
        (
            "/:/",
            "invalid volume specification: '/:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            "foo:bar",
            "invalid volume specification: 'foo:bar': invalid mount config for type \"volume\": "
            "invalid mount path: 'bar' mount path must be absolute",
        ),
        (
            "a:/b:shared",
            "invalid volume specification: 'a:/b:shared': invalid mount config for type "
            '"volume": field BindOptions must not be specified',
        ),
        (
            "/tmp:/b:nocopy",
            "invalid volume specification: '/tmp:/b:nocopy': invalid mount config for type "
            '"bind": field VolumeOptions must not be specified',
        ),
    ],
)
def test_bad_binds(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        binds.parse_bind(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"Type": "bind", "Source": "/no/such", "Target": "/x"},
         "bind source path does not exist: /no/such"),
        ({"Type": "bind", "Target": "/x"}, "field Source must not be empty"),
        ({"Type": "bind", "Source": "rel", "Target": "/x"},
         "invalid mount path: 'rel' mount path must be absolute"),
        ({"Type": "bind", "Source": "/tmp"}, "field Target must not be empty"),
        ({"Type": "volume", "Target": "x"},
         "invalid mount path: 'x' mount path must be absolute"),
        ({"Type": "volume", "Target": "/x/.."},
         "invalid specification: destination can't be '/'"),
        ({"Type": "tmpfs", "Target": "/x", "Source": "/y"}, "field Source must not be specified"),
        ({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["suid"]]}},
         "invalid option: suid"),
        ({"Type": "foo", "Target": "/x"}, "mount type unknown"),
        ({"Type": "bind", "Source": "/tmp", "Target": "/x",
          "BindOptions": {"Propagation": "foo"}}, "invalid propagation mode: foo"),
        ({"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {"Subpath": "../x"}},
         "subpath must be a relative path within the volume"),
        ({"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {"Subpath": "/x"}},
         "subpath must be a relative path within the volume"),
        ({"Type": "volume", "Target": "/x", "VolumeOptions": {"Subpath": "x"}},
         "must not set Subpath when using anonymous volumes"),
        ({"Type": "bind", "Source": "/tmp", "Target": "/x",
          "BindOptions": {"ReadOnlyNonRecursive": True}},
         "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        ({"Type": "cluster", "Target": "/x"}, "mount type unknown"),
        ({"Type": "npipe", "Target": "/x"}, "mount type unknown"),
        ({"Type": "image", "Target": "/x"}, "field Source must not be empty"),
        ({"Type": "image", "Source": "i", "Target": "/x", "ImageOptions": {"Subpath": "../x"}},
         "subpath must be a relative path within the volume"),
        ({"Type": "tmpfs", "Target": "/x", "Chown": True}, "field Chown must not be specified"),
        ({"Type": "tmpfs", "Target": "/x", "IDMap": "uids=0-1-1;gids=0-1-1"},
         "field IDMap must not be specified"),
        ({"Type": "bind", "Source": "/tmp", "Target": "/x", "IDMap": "uids=0-1-1"},
         "invalid idmap 'uids=0-1-1': both uids and gids are needed"),
    ],
)  # fmt: skip
def test_bad_mounts(spec: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        binds.parse_mount(spec)
    prefix = f'invalid mount config for type "{spec["Type"]}": '
    assert str(caught.value) == prefix + message


def test_mounts(tmp_path: Path) -> None:
    point = binds.parse_mount({"Type": "bind", "Source": str(tmp_path), "Target": "/x/"})
    assert point["Source"] == str(tmp_path) and point["Destination"] == "/x"
    assert point["Propagation"] == "rprivate" and not point.get("CreateSource")
    point = binds.parse_mount(
        {
            "Type": "bind",
            "Source": str(tmp_path / "new"),
            "Target": "/x",
            "BindOptions": {"CreateMountpoint": True},
        }
    )
    assert point["CreateSource"] is True
    point = binds.parse_mount({"Type": "tmpfs", "Target": "/t", "ReadOnly": True})
    assert (point["Type"], point["RW"]) == ("tmpfs", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("c", ("c", "rw")), ("c:ro", ("c", "ro")), ("c:rw", ("c", "rw")), ("c:ro,z", ("c", "ro,z"))],
)
def test_volumes_from(text: str, expected: tuple[str, str]) -> None:
    assert binds.parse_volumes_from(text) == expected


@pytest.mark.parametrize("mode", ["zz", "shared", "nocopy", "ro,rw", "ro:rw"])
def test_bad_volumes_from(mode: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^invalid mode: {mode}$"):
        binds.parse_volumes_from(f"c:{mode}")


def test_empty_volumes_from() -> None:
    with pytest.raises(InvalidArgument, match="cannot be an empty string"):
        binds.parse_volumes_from("")


@given(st.text(alphabet=":/,.abrwoz\\ \0é-", max_size=40))
def test_any_text_gives_an_absolute_target_or_an_error(text: str) -> None:
    try:
        point = binds.parse_bind(text)
    except InvalidArgument:
        return
    target = point["Destination"]
    assert target.startswith("/") and target != "/" and ".." not in target.split("/")
    assert "\0" not in target + point["Source"]
    if point["Type"] == "bind":
        assert point["Source"].startswith("/")


@given(st.lists(st.sampled_from(["ro", "rw", "z", "Z", "shared", "rslave", "nocopy", "x"])))
def test_a_mode_says_each_thing_once(words: list[str]) -> None:
    kinds = {"ro": 0, "rw": 0, "z": 1, "Z": 1, "shared": 2, "rslave": 2, "nocopy": 3}
    seen = [kinds.get(word) for word in words]
    good = None not in seen and len(set(seen)) == len(seen)
    assert binds.valid_mode(",".join(words)) == good
