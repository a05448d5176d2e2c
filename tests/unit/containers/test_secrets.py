"""Secrets: what a request may say, and that no error repeats their content."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from jubako.cli.secret_options import parse_secret
from jubako.containers import secrets
from jubako.errors import InvalidArgument, JubakoError, PermissionDenied
from jubako.store import Store

MARKER = "marker-7f3a"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(MARKER)
    return str(path)


def test_defaults(file: str) -> None:
    found, contents = secrets.check([{"Name": "db", "File": file}])
    assert found == [
        {
            "Name": "db",
            "Target": "/run/secrets/db",
            "Uid": 0,
            "Gid": 0,
            "Mode": 0o444,
            "File": file,
        }
    ]
    assert contents == {}


def test_content_is_apart_from_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", MARKER)
    found, contents = secrets.check(
        [
            {"Name": "a", "Env": "TOKEN", "Target": "sub/a", "Uid": 5, "Gid": 6, "Mode": 0o400},
            {"Name": "b", "Content": MARKER.encode(), "Target": "/etc//b"},
        ]
    )
    assert [one["Target"] for one in found] == ["/run/secrets/sub/a", "/etc/b"]
    assert found[0]["Env"] == "TOKEN" and (found[0]["Uid"], found[0]["Gid"]) == (5, 6)
    assert list(contents.values()) == [MARKER.encode()] * 2
    assert list(contents) == [one["Kept"] for one in found]
    assert MARKER not in str(found)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"Name": ""}, "invalid secret name: ''"),
        ({"Name": "../x", "Content": b"x"}, "invalid secret name: '../x'"),
        ({"Name": "a/b", "Content": b"x"}, "invalid secret name: 'a/b'"),
        ({"Name": "a"}, "secret a: needs one source, a file or an environment variable"),
        ({"Name": "a", "File": "/x", "Content": b"y"}, "secret a: needs one source"),
        ({"Name": "a", "File": "x"}, "secret a: the source must be an absolute path"),
        ({"Name": "a", "File": "/no/such/file"}, "read secret a /no/such/file: No such file"),
        ({"Name": "a", "File": "/dev"}, "secret a: /dev is not a regular file"),
        ({"Name": "a", "File": "/dev/zero"}, "secret a: /dev/zero is not a regular file"),
        ({"Name": "a", "Env": "NOT_SET_HERE"}, "the environment variable NOT_SET_HERE is not set"),
        ({"Name": "a", "Content": b"x", "Color": "red"}, "secret a: unknown key Color"),
        ({"Name": "a", "Content": MARKER}, "secret a: its content must be bytes"),
        ({"Name": "a", "Content": b"x", "Target": "../x"}, "secret a: invalid target '../x'"),
        ({"Name": "a", "Content": b"x", "Target": "/"}, "secret a: invalid target '/'"),
        ({"Name": "a", "Content": b"x", "Target": "."}, "secret a: invalid target '.'"),
        ({"Name": "a", "Content": b"x", "Mode": 0o10000}, "secret a: invalid mode: 4096"),
        ({"Name": "a", "Content": b"x", "Uid": "root"}, "secret a: invalid uid: 'root'"),
        ({"Name": "a", "Content": b"x", "Gid": -1}, "secret a: invalid gid: -1"),
        ({"Name": "a", "Content": b"x" * 512001}, "512001 bytes are too many, 512000 are allowed"),
    ],
)
def test_refuses(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(JubakoError) as caught:
        secrets.check([request_])
    assert message in str(caught.value)
    assert MARKER not in str(caught.value)


def test_names_and_targets_are_unique() -> None:
    one = {"Name": "a", "Content": b"x"}
    with pytest.raises(InvalidArgument, match="secret a is given twice"):
        secrets.check([one, one])
    with pytest.raises(InvalidArgument, match="two secrets at /run/secrets/a"):
        secrets.check([one, {"Name": "b", "Content": b"x", "Target": "a"}])
    many = [{"Name": f"s{number}", "Content": b""} for number in range(129)]
    with pytest.raises(InvalidArgument, match="can have 128 secrets, not 129"):
        secrets.check(many)


def test_a_file_that_waits_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(InvalidArgument, match="is not a regular file"):
        secrets.check([{"Name": "a", "File": str(path)}])


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (secrets.MAX_BYTES + 1))
    with pytest.raises(InvalidArgument, match="has more than 512000 bytes"):
        secrets.check([{"Name": "a", "File": str(path)}])


def test_what_is_kept_is_private_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(secrets, "_places", lambda store: (f"{tmp_path}/secrets.",))
    monkeypatch.setattr(secrets, "_is_memory", lambda path: True)
    found, contents = secrets.check([{"Name": "a", "Content": b"x"}, {"Name": "b", "Content": b""}])
    secrets.keep(store, "c1", contents)
    directory = tmp_path / "secrets.c1"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert secrets.containers(store) == {"c1"}
    secrets.tidy(store, "c1", found[:1])
    assert [path.name for path in directory.iterdir()] == [found[0]["Kept"]]
    secrets.tidy(store, "c1")
    secrets.tidy(store, "c1")
    assert not directory.exists()
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(PermissionDenied, match="belongs to somebody else"):
        secrets.keep(store, "c1", contents)


def test_the_directory_is_bound_unless_something_else_is_there() -> None:
    record: Any = {
        "Mounts": [],
        "HostConfig": {},
        "Secrets": [{"Target": "/run/secrets/a"}, {"Target": "/run/secrets/b"}, {"Target": "/x/y"}],
    }
    shown = secrets._mounts(record, "/place")
    assert [(one["source"], one["destination"]) for one in shown] == [
        ("/place/run", "/run/secrets"),
        ("/place/elsewhere/x/y", "/x/y"),
    ]
    assert all("ro" in one["options"] and "bind" in one["options"] for one in shown)
    record["HostConfig"]["Tmpfs"] = {"/run/secrets": ""}
    shown = secrets._mounts(record, "/place")
    assert [one["destination"] for one in shown] == [
        "/run/secrets/a",
        "/run/secrets/b",
        "/x/y",
    ]
    record["HostConfig"]["Tmpfs"] = {"/run/secrets/deeper": ""}
    assert len(secrets._mounts(record, "/place")) == 3


def test_mounts_come_after_what_is_above_and_before_what_is_below() -> None:
    mounts = [{"destination": name} for name in ("/proc", "/run", "/run/secrets/x", "/tmp")]
    found = secrets.insert(mounts, [{"destination": "/run/secrets"}, {"destination": "/etc/s"}])
    assert [one["destination"] for one in found] == [
        "/proc",
        "/run",
        "/run/secrets",
        "/run/secrets/x",
        "/tmp",
        "/etc/s",
    ]


def test_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", MARKER)
    cwd = os.getcwd()
    for text, wanted in {
        "id=a,src=/f": {"Name": "a", "File": "/f"},
        "id=a,source=f": {"Name": "a", "File": f"{cwd}/f"},
        "id=a,env=B": {"Name": "a", "Env": "B"},
        "id=HERE": {"Name": "HERE", "Env": "HERE"},
        "HERE": {"Name": "HERE", "Env": "HERE"},
        "nowhere": {"Name": "nowhere", "File": f"{cwd}/nowhere"},
        "type=env,id=a": {"Name": "a", "Env": "a"},
        "type=env,id=a,src=B": {"Name": "a", "Env": "B"},
        "type=file,id=HERE": {"Name": "HERE", "File": f"{cwd}/HERE"},
        '"id=a","src=/x,y"': {"Name": "a", "File": "/x,y"},
        "id=a,env=B,target=t,uid=5,gid=6,mode=0400": {
            "Name": "a",
            "Env": "B",
            "Target": "t",
            "Uid": 5,
            "Gid": 6,
            "Mode": 0o400,
        },
    }.items():
        assert parse_secret(text) == wanted, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("src=/x", "secret id is required"),
        ("id=", "secret id is required"),
        ("id=a,readonly", "invalid field 'readonly' must be a key=value pair"),
        ("id=a,color=red", "unexpected key 'color' in 'color=red'"),
        ("id=a,mode=9", "invalid value for mode: 9"),
        ("id=a,uid=root", "invalid value for uid: root"),
        ("id=a,type=vault", "unsupported secret type vault"),
    ],
)
def test_flag_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_secret(text)
    assert str(caught.value) == message
