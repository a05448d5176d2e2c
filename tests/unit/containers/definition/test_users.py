"""Users and groups, as Docker reads them; row 9 of the attacks that broke other engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jubako.containers.definition import users
from jubako.errors import InvalidArgument, JubakoError

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a remark
al:x:1000:1000:Al:/home/al:/bin/sh
al:x:0:0:a second line of the same name:/root:/bin/sh
1001:x:0:0:a numeric name:/root:/bin/sh
broken:x:zero:0::/:/bin/sh
negative:x:-5:0::/:/bin/sh
huge:x:4294967296:0::/:/bin/sh
short:x:7
bare:x:1002:1002
"""
GROUP = """\
root:x:0:
al:x:1000:
staff:x:50:al,bo
audio:x:29:al
77:x:0:
broken:x:nan:al
minimal:x:88
"""


class Root:
    """A root file system with the two files."""

    def __init__(self, path: Path):
        self.path = path
        (path / "etc").mkdir()
        (path / "etc/passwd").write_text(PASSWD)
        (path / "etc/group").write_text(GROUP)
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY)

    def resolve(self, user: str, *groups: str) -> tuple[int, int, tuple[int, ...], str]:
        found = users.resolve_user(self.fd, user, groups)
        return found.uid, found.gid, found.groups, found.home


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    os.close(made.fd)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("root", (0, 0, (0,), "/root")),
        ("0", (0, 0, (0,), "/root")),
        ("al", (1000, 1000, (1000, 50, 29), "/home/al")),
        ("1000", (1000, 1000, (1000, 50, 29), "/home/al")),
        ("al:staff", (1000, 50, (50,), "/home/al")),
        ("al:7", (1000, 7, (7,), "/home/al")),
        ("12:34", (12, 34, (34,), "/")),
        ("12", (12, 0, (0,), "/")),
        (":staff", (0, 50, (50,), "/root")),
        ("al:", (1000, 1000, (1000, 50, 29), "/home/al")),
        ("bare", (1002, 1002, (1002,), "/")),
        ("al:minimal", (1000, 88, (88,), "/home/al")),
        # a number is a UID even where an account has it as its name
        ("1001", (1001, 0, (0,), "/")),
        ("al:77", (1000, 77, (77,), "/home/al")),
        ("+1000", (1000, 1000, (1000, 50, 29), "/home/al")),
    ],
)
def test_users(root: Root, user: str, expected: tuple[object, ...]) -> None:
    assert root.resolve(user) == expected


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("broken", "unable to find user broken: no matching entries in passwd file"),
        ("negative", "unable to find user negative: no matching entries in passwd file"),
        ("huge", "unable to find user huge: no matching entries in passwd file"),
        ("short", "unable to find user short: no matching entries in passwd file"),
        ("# a remark", "unable to find user # a remark: no matching entries in passwd file"),
        ("al:nogroup", "unable to find group nogroup: no matching entries in group file"),
        ("al:broken", "unable to find group broken: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("0:-1", "uids and gids must be in range 0-2147483647"),
        ("4294967295", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("-u 1", "unable to find user -u 1: no matching entries in passwd file"),
        ("1 ", "unable to find user 1 : no matching entries in passwd file"),
        ("٣", "unable to find user ٣: no matching entries in passwd file"),
        ("9" * 30, f"unable to find user {'9' * 30}: no matching entries in passwd file"),
    ],
)
def test_a_user_that_is_none_is_refused_and_never_root(root: Root, user: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        root.resolve(user)
    assert str(caught.value) == message


def test_more_groups(root: Root) -> None:
    assert root.resolve("al", "audio", "99") == (1000, 1000, (1000, 50, 29, 29, 99), "/home/al")
    with pytest.raises(InvalidArgument, match="^Unable to find group nope: no matching entries"):
        root.resolve("al", "nope")
    with pytest.raises(InvalidArgument, match="must be in range"):
        root.resolve("al", "-4")


def test_without_files_numbers_still_work(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        found = users.resolve_user(fd, "5:6")
        assert (found.uid, found.gid, found.home) == (5, 6, "/")
        assert users.resolve_user(fd, "").uid == 0
        with pytest.raises(InvalidArgument):
            users.resolve_user(fd, "al")
    finally:
        os.close(fd)


def test_the_hosts_files_are_never_read(root: Root) -> None:
    passwd = root.path / "etc/passwd"
    passwd.unlink()
    passwd.symlink_to("/etc/passwd")  # inside the image that is the link itself
    with pytest.raises(InvalidArgument):
        root.resolve("daemon")
    passwd.unlink()
    passwd.symlink_to("../../../../../../etc/passwd")
    with pytest.raises(InvalidArgument):
        root.resolve("daemon")
    passwd.unlink()
    passwd.symlink_to("/proc/self/root/etc/passwd")
    with pytest.raises(InvalidArgument):
        root.resolve("daemon")


def test_a_pipe_does_not_block(root: Root) -> None:
    (root.path / "etc/group").unlink()
    os.mkfifo(root.path / "etc/group")
    with pytest.raises(InvalidArgument, match="/etc/group of the image: not a regular file"):
        root.resolve("al")


def test_an_endless_file_is_refused(root: Root) -> None:
    with open(root.path / "etc/group", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InvalidArgument, match="/etc/group of the image: more than"):
        root.resolve("al")


def test_names_need_not_be_utf8(root: Root) -> None:
    (root.path / "etc/passwd").write_bytes(b"caf\xe9:x:5:6::/h\xf6:/bin/sh\n")
    assert root.resolve("caf\udce9") == (5, 6, (6,), "/h\udcf6")


def test_home_of_a_number(root: Root) -> None:
    assert users.home_of(root.fd, 1000) == "/home/al"
    assert users.home_of(root.fd, 4242) == "/"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(user=st.text(max_size=30), passwd=st.binary(max_size=300), group=st.binary(max_size=300))
def test_any_files_and_any_user(root: Root, user: str, passwd: bytes, group: bytes) -> None:
    (root.path / "etc/passwd").write_bytes(passwd)
    (root.path / "etc/group").write_bytes(group)
    try:
        uid, gid, groups, _ = root.resolve(user)
    except JubakoError:
        return
    assert all(0 <= number <= users.MAX_ID for number in (uid, gid, *groups))
    name = user.partition(":")[0]
    if uid == 0 and name:  # root only by its number, or by a line that says so
        assert name.lstrip("+-").strip("0") == "" or b":0:" in passwd
