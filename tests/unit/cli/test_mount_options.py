"""`--mount`."""

from __future__ import annotations

import csv
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.cli.mount_options import parse_mount, split_fields


def _mount(kind: str, source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"Type": kind, "Source": source, "Target": target, "ReadOnly": False, **more}


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("dst=/x", _mount("volume", "", "/x")),
        ("type=bind,src=/a,dst=/b", _mount("bind", "/a", "/b")),
        ("TYPE=Bind,Source=/a,Target=/b,ro", _mount("bind", "/a", "/b") | {"ReadOnly": True}),
        ("type=bind,src=./a,dst=/b", _mount("bind", os.path.abspath("a"), "/b")),
        (
            "type=bind,src=/a,dst=/b,readonly=1,bind-propagation=rprivate,bind-recursive=readonly",
            _mount(
                "bind",
                "/a",
                "/b",
                BindOptions={"Propagation": "rprivate", "ReadOnlyForceRecursive": True},
            )
            | {"ReadOnly": True},
        ),
        (
            'src=v,dst=/b,volume-nocopy,volume-label=a=b,volume-driver=local,"volume-opt=o=x,y"',
            _mount(
                "volume",
                "v",
                "/b",
                VolumeOptions={
                    "DriverConfig": {"Name": "local", "Options": {"o": "x,y"}},
                    "NoCopy": True,
                    "Labels": {"a": "b"},
                },
            ),
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
            _mount("tmpfs", "", "/t", TmpfsOptions={"SizeBytes": 1 << 20, "Mode": 0o1770}),
        ),
        (
            "type=image,src=busybox,dst=/i,image-subpath=etc",
            _mount("image", "busybox", "/i", ImageOptions={"Subpath": "etc"}),
        ),
        ("src=v,dst=/b,U", _mount("volume", "v", "/b", Chown=True)),
        ("src=v,dst=/b,chown=true", _mount("volume", "v", "/b", Chown=True)),
        ("src=v,dst=/b,U=false", _mount("volume", "v", "/b", Chown=False)),
        (
            "type=bind,src=/a,dst=/b,idmap=uids=0-1-1#5-6-7;gids=0-1-1",
            _mount("bind", "/a", "/b", IDMap="uids=0-1-1#5-6-7;gids=0-1-1"),
        ),
    ],
)
def test_parse(text: str, mount: dict[str, Any]) -> None:
    assert parse_mount(text) == mount


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bind", "target is required"),
        ("type=,dst=/x", "type is required"),
        ("dst=/x,foo", "invalid field 'foo' must be a key=value pair"),
        ("dst=/x,foo=1", "unexpected key 'foo' in 'foo=1'"),
        ("dst=/x,ro=maybe", "invalid value for ro: maybe"),
        ("dst=/x,tmpfs-size=x", "invalid value for tmpfs-size: x"),
        ("dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("dst=/x,tmpfs-mode=700", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
        (
            "type=tmpfs,dst=/x,volume-nocopy",
            "cannot mix 'volume-*' options with mount type 'tmpfs'",
        ),
        (
            "type=bind,src=/a,dst=/x,bind-recursive=x",
            "invalid value for bind-recursive: x "
            '(must be "enabled", "disabled", "writable", or "readonly")',
        ),
        (
            "type=bind,src=/a,dst=/x,bind-recursive=writable",
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
        ),
        (
            "type=bind,src=/a,dst=/x,ro,bind-recursive=readonly",
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified"
            " in conjunction",
        ),
        ("dst=/x,U=maybe", "invalid value for u: maybe"),
        ("dst=/x,idmap", "idmap needs its ranges: idmap=uids=0-1000-1;gids=0-1000-1"),
        (
            "type=image,src=i,dst=/x,bind-nonrecursive",
            "cannot mix 'bind-*' options with mount type 'image'",
        ),
        ("", "EOF"),
        ('dst="/x"', 'parse error on line 1, column 5: bare " in non-quoted-field'),
        ('"dst=/x', 'parse error on line 1, column 8: extraneous or missing " in quoted-field'),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_mount(text)
    assert str(caught.value) == message


@given(st.lists(st.text(alphabet='ab=,"/ '), min_size=1))
def test_fields_round_trip(fields: list[str]) -> None:
    text = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert split_fields(text) == fields
    assert next(csv.reader([text])) == fields


@given(st.text(alphabet='ab=,"./-type bndsrcvolumei', max_size=40))
def test_any_text_gives_a_mount_or_an_error(text: str) -> None:
    try:
        assert parse_mount(text)["Target"]
    except ValueError:
        pass
