"""Who a process in a container is, whatever its user is called and whoever starts it: rows 9 and 10
of the list of attacks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jubako import Engine
from jubako.linux import caps
from jubako.oci import runtime_defaults
from tests.fixtures.engine import COMMAND, Jubako
from tests.integration.attack_tools import OFF, file, image_with, status_of

DEFAULT_CAPABILITIES = caps.mask(runtime_defaults.CAPABILITIES)

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
1000:x:0:0::/numeric:/bin/sh
zero:x:x:0::/z:/bin/sh
big:x:99999999999:5::/b:/bin/sh
wrap:x:4294967296:0::/w:/bin/sh
minus:x:-1:-1::/m:/bin/sh
short:x:7
:x:0:0::/empty:/bin/sh
+daemon:x:3:3::/plus:/bin/sh
"""
GROUP = """\
root:x:0:
daemon:x:1:
nogroup:x:65534:
1001:x:0:
2000:x:5:root,daemon
extra:x:77:root,1000,daemon
bad:x:zz:daemon
minus:x:-5:daemon
"""

_RANGE = "uids and gids must be in range 0-2147483647"
_ROOT = "0 0 0,5,77 /root"
_DAEMON = "1 1 1,5,77 /usr/sbin"

# -u, and UID, GID, groups and HOME, or the end of the error.  As Docker, but for names that are
# numbers and for lines with malformed numbers, which it reads as root (CVE-2026-46680).
USERS = {
    "root": _ROOT,
    "0": _ROOT,
    "-0": _ROOT,
    "00": _ROOT,
    ":": _ROOT,
    "root:": _ROOT,
    "1": _DAEMON,
    "+1": _DAEMON,
    "1:": _DAEMON,
    "daemon": _DAEMON,
    "daemon:": _DAEMON,
    "daemon:0": "1 0 0 /usr/sbin",
    ":1": "0 1 1 /root",
    "root:nogroup": "0 65534 65534 /root",
    "root:65534": "0 65534 65534 /root",
    "1:2:3": "1 2 2 /usr/sbin",
    "1000": "1000 0 0 /",  # not the account of that name, which is root
    "1000:1001": "1000 1001 1001 /",
    "nobody:2000": "65534 2000 2000 /home",
    "nobody:extra": "65534 77 77 /home",
    "2147483647": "2147483647 0 0 /",
    "-1": _RANGE,
    "2147483648": _RANGE,
    "4294967295": _RANGE,
    "4294967296": _RANGE,
    "nobody:-1": _RANGE,
    "nobody:4294967295": _RANGE,
    "99999999999999999999": "unable to find user 99999999999999999999: no matching entries in "
    "passwd file",
    "+daemon": "3 3 3 /plus",
    "zero": "unable to find user zero: no matching entries in passwd file",
    "big": "unable to find user big: no matching entries in passwd file",
    "wrap": "unable to find user wrap: no matching entries in passwd file",
    "minus": "unable to find user minus: no matching entries in passwd file",
    "short": "unable to find user short: no matching entries in passwd file",
    "0x0": "unable to find user 0x0: no matching entries in passwd file",
    "1e3": "unable to find user 1e3: no matching entries in passwd file",
    "1_0": "unable to find user 1_0: no matching entries in passwd file",
    "٣": "unable to find user ٣: no matching entries in passwd file",
    "../root": "unable to find user ../root: no matching entries in passwd file",
    "root ; id": "unable to find user root ; id: no matching entries in passwd file",
    " root": "unable to find user  root: no matching entries in passwd file",
    "nobody:none": "unable to find group none: no matching entries in group file",
    "nobody:bad": "unable to find group bad: no matching entries in group file",
    "nobody:minus": "unable to find group minus: no matching entries in group file",
}
WHO = "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status; echo HOME: $HOME"


@pytest.fixture
def accounts(engine: Engine, busybox_tar: Path) -> str:
    """An image with strange accounts."""
    members = [file("etc/passwd", PASSWD), file("etc/group", GROUP)]
    return image_with(engine, busybox_tar, members, without=["etc/passwd", "etc/group"])


def check_user(user: str, expected: str, status: int, stdout: str, stderr: str) -> None:
    if not expected[0].isdigit():
        assert status != 0 and stderr.splitlines()[0].endswith(expected), (user, stderr)
        return
    assert status == 0, (user, stderr)
    found = status_of(stdout)
    uid, gid, groups, home = expected.split()
    assert found["Uid"].split() == [uid] * 4, user
    assert found["Gid"].split() == [gid] * 4, user
    assert found["Groups"].split() == groups.split(","), user
    assert found["HOME"] == home, user
    assert (int(found["CapEff"], 16) == 0) == (uid != "0"), user


def test_users_of_exec(jubako: Jubako, accounts: str) -> None:
    jubako.ok("run", "-d", "--name", "box", *OFF, accounts, "sleep", "60")
    for user, expected in USERS.items():
        done = jubako("exec", "-u", user, "box", "sh", "-c", WHO)
        check_user(user, expected, done.status, done.stdout, done.stderr)


def test_users_of_run(jubako: Jubako, accounts: str) -> None:
    for user in ("1", ":1", "1000", "-1", "zero", "wrap", "4294967295", "nobody:-1", "daemon:"):
        done = jubako("run", "--rm", *OFF, "-u", user, accounts, "sh", "-c", WHO)
        check_user(user, USERS[user], done.status, done.stdout, done.stderr)
    assert jubako.ok("ps", "-aq") == ""


def test_users_of_images(engine: Engine, jubako: Jubako, accounts: str) -> None:
    for number, user in enumerate(("1000", "zero", "-1", "wrap:wrap")):
        name = f"user{number}"
        jubako.ok("create", "--name", name, *OFF, accounts, "sh", "-c", WHO)
        jubako.ok("commit", "--change", f"USER {user}", name, name)
        done = jubako("run", "--rm", *OFF, name)
        expected = USERS.get(user, "unable to find user wrap: no matching entries in passwd file")
        check_user(user, expected, done.status, done.stdout, done.stderr)


@pytest.mark.parametrize("how", ["run", "exec"])
def test_what_the_caller_is_does_not_arrive(how: str, jubako: Jubako, busybox: str) -> None:
    """Groups, capabilities that survive exec (CVE-2022-24769), umask, signals, priority,
    environment, limits: of a caller that has all of them strange."""
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "60")
    what = (how, "box") if how == "exec" else (how, "--rm", *OFF, busybox)
    script = """
    umask 0; trap '' USR1 HUP PIPE; echo 300 > /proc/self/oom_score_adj
    exec "$@"
    """
    inside = "cat /proc/self/status /proc/self/oom_score_adj; umask; env; cat /proc/self/sessionid"
    done = subprocess.run(
        ["setpriv", "--inh-caps=+chown,+sys_admin", "--ambient-caps=+chown,+sys_admin",
         "--groups=4,20,24", "sh", "-c", script, "sh", COMMAND, *what, "sh", "-c", inside],
        env={**os.environ, **jubako.environment, "CANARY": "secret", "LD_LIBRARY_PATH": "/nowhere",
             "IFS": "x", "ENV": "/tmp/x"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = status_of(done.stdout)
    assert found["Groups"].split() == ["0", "10"]  # root's, by the image's /etc/group
    assert int(found["CapInh"], 16) == 0 and int(found["CapAmb"], 16) == 0
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[kind], 16) == DEFAULT_CAPABILITIES
    assert found["Seccomp"] == "2" and found["NoNewPrivs"] == "0" and found["TracerPid"] == "0"
    for kind in ("SigIgn", "SigBlk"):
        assert int(found[kind], 16) == 0, kind
    assert found["Umask"] == "0022"
    lines = done.stdout.splitlines()
    after = lines[lines.index("0022") - 1 :]
    assert after[0] == "0", "oom_score_adj"
    names = {line.partition("=")[0] for line in after if "=" in line}
    assert names == {"PATH", "HOSTNAME", "HOME", "SHLVL", "PWD"} & names | {"PATH", "HOME"}, names
    assert "secret" not in done.stdout
