"""What the options of a container do to its processes, seen from inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import ContainerFailed, InvalidArgument, JubakoError
from jubako.linux import caps
from jubako.oci import runtime_defaults

DEFAULT_CAPABILITIES = sum(1 << caps.NAMES.index(name) for name in runtime_defaults.CAPABILITIES)


def run(engine: Engine, script: str, config: dict[str, Any] | None = None, **host: Any) -> str:
    """The output of a shell script in a busybox container without a network."""
    output = engine.containers.run(
        "busybox",
        ["sh", "-c", script],
        config=config,
        host_config={"NetworkMode": "none", **host},
    )
    return output.decode()


def status(engine: Engine, config: dict[str, Any] | None = None, **host: Any) -> dict[str, str]:
    """/proc/self/status of a process in the container."""
    text = run(engine, "cat /proc/self/status", config, **host)
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


pytestmark = pytest.mark.usefixtures("busybox")


def test_default_process(engine: Engine) -> None:
    found = status(engine)
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[kind], 16) == DEFAULT_CAPABILITIES
    assert int(found["CapInh"], 16) == 0 and int(found["CapAmb"], 16) == 0
    assert found["Seccomp"] == "2" and found["NoNewPrivs"] == "0"
    assert found["Uid"].split() == ["0"] * 4 and found["Gid"].split() == ["0"] * 4


def test_environment_and_directory(engine: Engine) -> None:
    out = run(engine, "env; pwd", {"Env": ["A=1", "PATH=/bin"], "Hostname": "name"})
    assert set(out.splitlines()) >= {"A=1", "PATH=/bin", "HOSTNAME=name", "HOME=/root", "/"}
    assert run(engine, "pwd", {"WorkingDir": "/new/place"}) == "/new/place\n"
    assert "TERM=xterm" not in out


def test_users_and_groups(engine: Engine) -> None:
    found = status(engine, {"User": "www-data"}, GroupAdd=["audio", "777"])
    assert found["Uid"].split() == ["33"] * 4 and found["Gid"].split() == ["33"] * 4
    assert sorted(map(int, found["Groups"].split())) == [29, 33, 777]
    assert int(found["CapEff"], 16) == 0 and int(found["CapPrm"], 16) == 0
    found = status(engine, {"User": "12:34"})
    assert found["Uid"].split()[0] == "12" and found["Groups"].split() == ["34"]
    with pytest.raises(InvalidArgument, match="^unable to find user nobody2: no matching entries"):
        run(engine, "true", {"User": "nobody2"})
    assert engine.containers.list(all=True) == []


def test_capabilities(engine: Engine) -> None:
    found = status(engine, CapDrop=["ALL"], CapAdd=["NET_ADMIN"])
    assert int(found["CapBnd"], 16) == 1 << 12 == int(found["CapEff"], 16)
    with pytest.raises(ContainerFailed):
        run(engine, "chown 5 /tmp", CapDrop=["CHOWN"])


def test_no_new_privileges(engine: Engine) -> None:
    assert status(engine, SecurityOpt=["no-new-privileges"])["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs x /tmp",
        "unshare -U true",
        "unshare -m true",
        "mknod /tmp/disk b 8 0 && dd if=/tmp/disk of=/dev/null count=1",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /proc/sysrq-trigger",
        "mount -o remount,rw /sys",
        "dmesg -c",
        "chroot /proc/1/root/.. true && umount /proc",
        "ls /sys/firmware/x || cat /proc/kcore | head -c 1 | grep -q .",
        "swapoff -a && swapon /dev/null",
        "hostname other",
    ],
)
def test_a_default_container_cannot(engine: Engine, script: str) -> None:
    with pytest.raises(ContainerFailed):
        run(engine, script)


def test_seccomp_unconfined_and_own_profile(engine: Engine) -> None:
    assert status(engine, SecurityOpt=["seccomp=unconfined"])["Seccomp"] == "0"
    assert run(engine, "unshare -U echo ok", SecurityOpt=["seccomp=unconfined"]) == "ok\n"
    profile = (
        '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":'
        '[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}'
    )
    with pytest.raises(ContainerFailed) as failed:
        run(engine, "mkdir /x", SecurityOpt=[f"seccomp={profile}"])
    assert b"Function not implemented" in failed.value.stderr


def test_masked_and_read_only_paths(engine: Engine) -> None:
    script = "wc -c < /proc/keys; ls -A /sys/firmware; echo 1 > /proc/sys/kernel/panic"
    with pytest.raises(ContainerFailed) as failed:
        run(engine, script)
    assert failed.value.stdout.startswith(b"0\n")
    assert b"Read-only file system" in failed.value.stderr
    open_paths = run(engine, "cat /proc/interrupts | wc -l", MaskedPaths=[], ReadonlyPaths=[])
    assert int(open_paths) > 1
    assert run(engine, "cat /proc/interrupts | wc -l") == "0\n"


def test_read_only_root(engine: Engine) -> None:
    script = "touch /x 2>/dev/null || touch /tmp/x && touch /dev/shm/x && echo ok"
    assert run(engine, script, ReadonlyRootfs=True, Tmpfs={"/tmp": ""}) == "ok\n"
    with pytest.raises(ContainerFailed):
        run(engine, "echo x >> /etc/hosts", ReadonlyRootfs=True)


def test_privileged(engine: Engine) -> None:
    script = (
        "grep -E '^(CapEff|Seccomp)' /proc/self/status; mount -t tmpfs x /tmp && echo mounted; "
        "ls /dev | wc -l; echo $(cat /proc/sys/kernel/panic) > /proc/sys/kernel/panic && echo wrote"
    )
    lines = run(engine, script, Privileged=True).splitlines()
    every = sum(1 << caps.NAMES.index(name) for name in caps.available())
    assert int(lines[0].split()[1], 16) == every
    assert "Seccomp:\t0" in lines and "mounted" in lines and "wrote" in lines


def test_devices(engine: Engine) -> None:
    mapping = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/x/y", "CgroupPermissions": "rw"}
    assert run(engine, "echo x > /dev/x/y; stat -c %t:%T /dev/x/y", Devices=[mapping]) == "1:3\n"
    with pytest.raises(InvalidArgument, match="error gathering device information"):
        run(engine, "true", Devices=[{"PathOnHost": "/no/such", "PathInContainer": "/x"}])


def test_device_rules(engine: Engine) -> None:
    """A node that may be made but not be opened, until a rule allows it."""
    script = "mknod /tmp/fuse c 10 229 && head -c 0 /tmp/fuse 2>&1; true"
    refused = "Operation not permitted"
    assert refused in run(engine, script)
    assert refused not in run(engine, script, DeviceCgroupRules=["c 10:229 r"])


def test_ulimits_and_sysctls(engine: Engine) -> None:
    limits = [{"Name": "nofile", "Soft": 100, "Hard": 200}]
    assert run(engine, "ulimit -Sn; ulimit -Hn", Ulimits=limits) == "100\n200\n"
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni"
    settings = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"}
    assert run(engine, script, Sysctls=settings) == "1\n77\n"


def test_shm(engine: Engine) -> None:
    script = "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2"
    assert run(engine, script) == "65536\n"
    assert run(engine, script, ShmSize=1 << 20) == "1024\n"
    assert run(engine, "grep -c ' /dev/shm ' /proc/mounts || true", IpcMode="none") == "0\n"


def test_names(engine: Engine) -> None:
    script = "hostname; cat /etc/hostname /proc/sys/kernel/domainname"
    config = {"Hostname": "web", "Domainname": "example.org"}
    assert run(engine, script, config) == "web\nweb\nexample.org\n"
    assert run(engine, "hostname", UTSMode="host").strip() == os.uname().nodename


def namespace(engine: Engine, kind: str, **host: Any) -> str:
    return run(engine, f"readlink /proc/self/ns/{kind}", **host).strip()


@pytest.mark.parametrize(
    ("kind", "key"), [("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode"),
                      ("net", "NetworkMode"), ("cgroup", "CgroupnsMode")],
)  # fmt: skip
def test_host_namespaces(engine: Engine, kind: str, key: str) -> None:
    own = os.readlink(f"/proc/self/ns/{kind}")
    assert namespace(engine, kind, **{key: "host"}) == own
    private = "private" if kind in ("ipc", "cgroup") else "none" if kind == "net" else ""
    assert namespace(engine, kind, **{key: private}) != own


def test_namespaces_of_another_container(engine: Engine) -> None:
    config: Any = {"Image": "busybox", "Cmd": ["sh", "-c", "echo hi > /dev/shm/x; sleep 60"]}
    host: Any = {"NetworkMode": "none", "IpcMode": "shareable"}
    made = engine.containers.create(config, host)["Id"]
    engine.containers.start(made)
    pid = engine.containers.inspect(made)["State"]["Pid"]
    for kind, key in (("pid", "PidMode"), ("ipc", "IpcMode"), ("net", "NetworkMode")):
        theirs = os.readlink(f"/proc/{pid}/ns/{kind}")
        assert namespace(engine, kind, **{key: f"container:{made}"}) == theirs
    script = "for i in $(seq 100); do [ -e /dev/shm/x ] && break; sleep 0.05; done; cat /dev/shm/x"
    assert run(engine, script, IpcMode=f"container:{made[:12]}") == "hi\n"
    assert "sleep 60" in run(engine, "ps -o args", PidMode=f"container:{made}")


def test_joining_a_container_that_does_not_run(engine: Engine) -> None:
    config: Any = {"Image": "busybox", "Cmd": ["true"]}
    made = engine.containers.create(config, {"NetworkMode": "none"})["Id"]
    message = "^failed to join PID namespace: container .* is not running"
    with pytest.raises(JubakoError, match=message):
        run(engine, "true", PidMode=f"container:{made}")


def test_init_is_the_first_process(engine: Engine) -> None:
    from jubako.containers.definition import spec

    if not any(Path(path).exists() for path in spec.INIT_PROGRAMS):
        pytest.skip("needs an init program (Debian package tini)")
    out = run(engine, "cat /proc/1/cmdline | tr '\\0' ' '; touch /sbin/docker-init || echo ro",
              Init=True)  # fmt: skip
    assert out.startswith("/sbin/docker-init -- sh -c ") and out.endswith("ro\n")


def test_limits_are_in_the_cgroup(engine: Engine) -> None:
    script = (
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; "
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true"
    )
    assert run(engine, script, Memory=32 << 20, PidsLimit=77).split() == [str(32 << 20), "77"]


def test_cgroups_are_read_only(engine: Engine) -> None:
    script = (
        "find /sys/fs/cgroup -type f | while read f; do (echo 1 >> $f) 2>/dev/null && echo $f; "
        "done; true"
    )
    assert run(engine, script) == ""


def test_exec_has_the_containers_limits(engine: Engine, jubako: Any) -> None:
    config: Any = {"Image": "busybox", "Cmd": ["sleep", "60"], "User": "www-data", "Env": ["A=1"]}
    host: Any = {"NetworkMode": "none", "CapDrop": ["ALL"], "GroupAdd": ["777"],
                 "SecurityOpt": ["no-new-privileges"]}  # fmt: skip
    engine.containers.create(config, host, name="one")
    engine.containers.start("one")
    out = jubako.ok("exec", "-e", "B=2", "one", "sh", "-c", "cat /proc/self/status; env")
    found = dict(line.split(":", 1) for line in out.splitlines() if ":\t" in line)
    assert found["Uid"].split()[0] == "33" and found["NoNewPrivs"].strip() == "1"
    assert found["Groups"].split() == ["33", "777"] and found["Seccomp"].strip() == "2"
    assert int(found["CapBnd"], 16) == 0 and int(found["CapInh"], 16) == 0
    assert "A=1" in out and "B=2" in out and "HOME=/var/www" in out
    out = jubako.ok("exec", "-u", "0", "--privileged", "one", "cat", "/proc/self/status")
    found = dict(line.split(":", 1) for line in out.splitlines() if ":\t" in line)
    assert int(found["CapEff"], 16).bit_count() == len(caps.available())
