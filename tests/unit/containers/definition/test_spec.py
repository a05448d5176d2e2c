"""The OCI spec; the expectations were read from the config.json of a real Docker 26.1."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.containers.definition import config, spec, validate
from jubako.errors import InvalidArgument
from jubako.linux import caps
from jubako.oci import runtime_defaults

ID = "b234fdd31b43" + "0" * 52
FILES = {name: f"/files/{name}" for name in ("hosts", "hostname", "resolv.conf")}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nal:x:1000:1000:Al:/home/al:/bin/sh\n"
GROUP = "root:x:0:\nal:x:1000:\nstaff:x:50:al\naudio:x:29:al\n"


class Maker:
    """Builds specs for containers of one root file system."""

    def __init__(self, path: Path):
        (path / "etc").mkdir()
        (path / "etc/passwd").write_text(PASSWD)
        (path / "etc/group").write_text(GROUP)
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY)

    def record(
        self,
        host: dict[str, Any] | None = None,
        *,
        image: dict[str, Any] | None = None,
        mounts: Any = (),
        **request: Any,
    ) -> Any:
        merged, merged_host, _ = config.merge(
            {"Cmd": ["sleep", "1000"], **request},
            host or {},
            {"config": image or {}},
            container_id=ID,
        )
        validate.check(merged, merged_host)
        path, args = config.command(merged)
        return {
            "Id": ID,
            "Path": path,
            "Args": args,
            "Config": merged,
            "HostConfig": merged_host,
            "Mounts": list(mounts),
        }

    def __call__(self, host: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
        options = {
            key: rest.pop(key)
            for key in ("shm", "namespaces", "network_ns", "sources", "init_program")
            if key in rest
        }
        return spec.build_spec(
            self.record(host, **rest),
            rootfs="/rootfs",
            rootfs_fd=self.fd,
            cgroup_path=f"/jubako/{ID}",
            files=FILES,
            **options,
        )


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    maker = Maker(tmp_path)
    yield maker
    os.close(maker.fd)


def mount_at(made: dict[str, Any], target: str) -> dict[str, Any]:
    (found,) = [mount for mount in made["mounts"] if mount["destination"] == target]
    return dict(found)


def test_default_container(make: Maker) -> None:
    made = make()
    assert made["ociVersion"] == "1.2.0"
    assert made["process"] == {
        "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
        "args": ["sleep", "1000"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"HOSTNAME={ID[:12]}",
            "HOME=/root",
        ],
        "cwd": "/",
        "capabilities": {
            kind: list(runtime_defaults.CAPABILITIES)
            for kind in ("bounding", "effective", "permitted")
        },
        "oomScoreAdj": 0,
    }
    assert made["root"] == {"path": "/rootfs"}
    assert made["hostname"] == ID[:12]
    assert [mount["destination"] for mount in made["mounts"]] == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/sys/fs/cgroup",
        "/dev/mqueue",
        "/dev/shm",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/hosts",
    ]
    assert mount_at(made, "/sys")["options"] == ["nosuid", "noexec", "nodev", "ro"]
    assert mount_at(made, "/dev/shm")["options"][-1] == "size=67108864"
    assert mount_at(made, "/etc/hosts") == {
        "destination": "/etc/hosts",
        "type": "bind",
        "source": "/files/hosts",
        "options": ["rbind", "rprivate"],
    }
    linux = made["linux"]
    assert linux["cgroupsPath"] == f"/jubako/{ID}"
    assert linux["resources"]["devices"] == runtime_defaults.device_rules()
    assert linux["resources"]["memory"] == {"disableOOMKiller": False}
    assert linux["maskedPaths"] == runtime_defaults.masked_paths()
    assert linux["readonlyPaths"] == list(runtime_defaults.READONLY_PATHS)
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert [space["type"] for space in linux["namespaces"]][:5] == [
        "mount",
        "network",
        "uts",
        "pid",
        "ipc",
    ]
    assert all("path" not in space for space in linux["namespaces"])
    assert linux["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert "hooks" not in made and "devices" not in linux


def test_many_options_at_once(make: Maker) -> None:
    made = make(
        {
            "Init": True,
            "Memory": 64 << 20,
            "NanoCpus": 500_000_000,
            "PidsLimit": 50,
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "Sysctls": {"net.ipv4.ip_forward": "1"},
            "ShmSize": 1 << 20,
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["MKNOD"],
            "SecurityOpt": ["no-new-privileges"],
            "Devices": [
                {
                    "PathOnHost": "/dev/null",
                    "PathInContainer": "/dev/foo",
                    "CgroupPermissions": "rw",
                }
            ],
            "GroupAdd": ["audio", "77"],
            "CgroupnsMode": "private",
            "ReadonlyRootfs": True,
            "Annotations": {"a": "b"},
        },
        image={"User": "al", "Env": ["A=1"], "WorkingDir": "/home/al"},
        Hostname="foo",
        Domainname="bar.baz",
        Tty=True,
        init_program="/usr/bin/some-init",
    )
    process = made["process"]
    assert process["terminal"] is True
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 50, 29, 29, 77]}
    assert process["args"] == ["/sbin/docker-init", "--", "sleep", "1000"]
    assert process["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=foo",
        "TERM=xterm",
        "A=1",
        "HOME=/home/al",
    ]
    assert process["cwd"] == "/home/al"
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 200, "soft": 100}]
    assert process["noNewPrivileges"] is True
    assert process["capabilities"]["bounding"][-1] == "CAP_NET_ADMIN"
    assert "CAP_MKNOD" not in process["capabilities"]["effective"]
    assert made["root"] == {"path": "/rootfs", "readonly": True}
    linux = made["linux"]
    assert linux["sysctl"]["kernel.domainname"] == "bar.baz"
    assert linux["sysctl"]["net.ipv4.ip_forward"] == "1"
    assert linux["resources"]["memory"] == {
        "limit": 67108864,
        "swap": 134217728,
        "disableOOMKiller": False,
    }
    assert linux["resources"]["cpu"] == {"quota": 50000, "period": 100000}
    assert linux["resources"]["pids"] == {"limit": 50}
    assert linux["resources"]["devices"][-1] == {
        "allow": True,
        "type": "c",
        "major": 1,
        "minor": 3,
        "access": "rw",
    }
    assert linux["devices"][0]["path"] == "/dev/foo"
    assert linux["namespaces"][-1] == {"type": "cgroup"}
    assert made["annotations"] == {"a": "b"}
    assert mount_at(made, "/sbin/docker-init") == {
        "destination": "/sbin/docker-init",
        "type": "bind",
        "source": "/usr/bin/some-init",
        "options": ["bind", "ro"],
    }
    # what is not the container's own is read-only with the root
    assert mount_at(made, "/etc/hosts")["options"] == ["rbind", "rro", "rprivate"]
    assert "ro" not in mount_at(made, "/dev")["options"]
    assert mount_at(made, "/dev/shm")["options"][-1] == "size=1048576"


def test_mount_points(make: Maker) -> None:
    made = make(
        {"Tmpfs": {"/t1": "size=1m,exec"}},
        mounts=[
            {"Type": "volume", "Name": "v", "Source": "/volumes/v/_data", "Destination": "/a/b/c",
             "RW": True, "Propagation": ""},
            {"Type": "bind", "Source": "/tmp", "Destination": "/b", "RW": False,
             "Propagation": "rprivate"},
            {"Type": "bind", "Source": "/tmp", "Destination": "/d", "RW": False,
             "Propagation": "rslave", "Spec": {"BindOptions": {"ReadOnlyNonRecursive": True,
                                                               "NonRecursive": True}}},
            {"Type": "tmpfs", "Source": "", "Destination": "/t2", "RW": True, "Propagation": "",
             "Spec": {"TmpfsOptions": {"SizeBytes": 2 << 20, "Mode": 0o1770}}},
            {"Type": "tmpfs", "Source": "", "Destination": "/t3", "RW": False, "Propagation": ""},
            {"Type": "bind", "Source": "/etc/hostname", "Destination": "/etc/hosts", "RW": True,
             "Propagation": "rprivate"},
        ],
        sources={"/b": "/staged/b"},
    )  # fmt: skip
    assert mount_at(made, "/a/b/c")["options"] == ["rbind"]
    assert mount_at(made, "/b") == {
        "destination": "/b",
        "type": "bind",
        "source": "/staged/b",
        "options": ["rbind", "rro", "rprivate"],
    }
    assert mount_at(made, "/d")["options"] == ["bind", "ro", "rslave"]
    assert made["linux"]["rootfsPropagation"] == "rslave"
    assert mount_at(made, "/t1")["options"] == ["nosuid", "nodev", "rprivate", "size=1m", "exec"]
    assert mount_at(made, "/t2")["options"][-2:] == ["mode=1770", "size=2m"]
    assert mount_at(made, "/t3")["options"][-1] == "ro"
    assert mount_at(made, "/etc/hosts")["source"] == "/etc/hostname"
    targets = [mount["destination"] for mount in made["mounts"]]
    assert targets.index("/b") < targets.index("/etc/hosts") < targets.index("/a/b/c")


def test_shared_binds_keep_the_root_shared(make: Maker) -> None:
    points = [
        {"Type": "bind", "Source": "/a", "Destination": "/a", "RW": True, "Propagation": mode}
        for mode in ("rshared", "rslave")
    ]
    assert make(mounts=points)["linux"]["rootfsPropagation"] == "shared"


def test_a_mount_of_the_user_replaces_a_default_one(make: Maker) -> None:
    point = {"Type": "bind", "Source": "/dev", "Destination": "/dev", "RW": True, "Propagation": ""}
    targets = [mount["destination"] for mount in make(mounts=[point])["mounts"]]
    assert targets.count("/dev") == 1
    assert not {"/dev/pts", "/dev/shm", "/dev/mqueue"} & set(targets)
    made = make({"Tmpfs": {"/dev/shm": "size=1m"}}, shm="/other")
    assert mount_at(made, "/dev/shm")["type"] == "tmpfs"


def test_privileged(make: Maker) -> None:
    made = make({"Privileged": True})
    linux = made["linux"]
    assert made["process"]["capabilities"]["bounding"] == caps.available()
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert {"/dev/null"} < {device["path"] for device in linux["devices"]}
    assert "seccomp" not in linux
    assert "maskedPaths" not in linux and "readonlyPaths" not in linux
    assert "ro" not in mount_at(made, "/sys")["options"]
    assert "ro" not in mount_at(made, "/sys/fs/cgroup")["options"]


def test_writable_cgroups(make: Maker) -> None:
    made = make({"SecurityOpt": ["writable-cgroups=true"]})
    assert "ro" not in mount_at(made, "/sys/fs/cgroup")["options"]
    made = make({"Privileged": True, "SecurityOpt": ["writable-cgroups=false"]})
    assert "ro" in mount_at(made, "/sys/fs/cgroup")["options"]


def test_host_namespaces(make: Maker) -> None:
    made = make(
        {
            "NetworkMode": "host",
            "PidMode": "host",
            "IpcMode": "host",
            "UTSMode": "host",
            "CgroupnsMode": "host",
        }
    )
    assert made["linux"]["namespaces"] == [{"type": "mount"}]
    assert "sysctl" not in made["linux"]
    assert "hostname" not in made
    assert mount_at(made, "/dev/shm")["source"] == "/dev/shm"


def test_namespaces_of_others(make: Maker) -> None:
    made = make(
        {"NetworkMode": "container:x", "PidMode": "container:x", "IpcMode": "container:x"},
        namespaces={kind: f"/proc/9/ns/{kind}" for kind in ("network", "pid", "ipc")},
        shm="/staged/shm",
    )
    spaces = {space["type"]: space.get("path") for space in made["linux"]["namespaces"]}
    assert spaces["network"] == "/proc/9/ns/network" and spaces["pid"] == "/proc/9/ns/pid"
    assert spaces["ipc"] == "/proc/9/ns/ipc" and spaces["uts"] is None
    assert mount_at(made, "/dev/shm")["source"] == "/staged/shm"
    with pytest.raises(InvalidArgument, match="the pid namespace of container:x is not there"):
        make({"PidMode": "container:x"})


def test_a_network_namespace_that_exists(make: Maker) -> None:
    made = make(network_ns="/proc/7/fd/5")
    assert {"type": "network", "path": "/proc/7/fd/5"} in made["linux"]["namespaces"]


def test_no_shm_without_ipc(make: Maker) -> None:
    targets = [mount["destination"] for mount in make({"IpcMode": "none"})["mounts"]]
    assert "/dev/shm" not in targets


def test_init_needs_an_own_pid_namespace(make: Maker) -> None:
    made = make({"Init": True, "PidMode": "host"}, init_program="/init")
    assert made["process"]["args"] == ["sleep", "1000"]
    assert made["process"]["args"][0] != spec.INIT_PATH


def test_missing_init_program(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "INIT_PROGRAMS", ("/no/such/init",))
    with pytest.raises(InvalidArgument, match="^no init program found on this host$"):
        make({"Init": True})


def test_unlimited_ulimits(make: Maker) -> None:
    made = make({"Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}]})
    assert made["process"]["rlimits"] == [
        {"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 2**64 - 1}
    ]


def test_systempaths_unconfined(make: Maker) -> None:
    linux = make({"MaskedPaths": [], "ReadonlyPaths": []})["linux"]
    assert "maskedPaths" not in linux and "readonlyPaths" not in linux
    linux = make({"MaskedPaths": ["/proc/kcore"]})["linux"]
    assert linux["maskedPaths"] == ["/proc/kcore"]


@pytest.mark.parametrize(
    ("defaults", "overrides", "expected"),
    [
        (["A=1", "B=2"], ["A=3", "C=4"], ["A=3", "B=2", "C=4"]),
        (["A=1", "B=2"], ["A"], ["B=2"]),
        (["A=1"], ["X"], ["A=1"]),
        ([], ["A=1", "A=2"], ["A=2"]),
        (["A=1"], ["A="], ["A="]),
        (["A=1"], ["A=x=y"], ["A=x=y"]),
    ],
)
def test_env(defaults: list[str], overrides: list[str], expected: list[str]) -> None:
    assert spec.merge_env(defaults, overrides) == expected


def test_home(make: Maker) -> None:
    assert "HOME=/mine" in make(Env=["HOME=/mine"])["process"]["env"]
    assert "HOME=/root" in make(Env=["HOME="])["process"]["env"]
    assert "HOME=/" in make(User="4242")["process"]["env"]


def test_image_metadata_does_not_reach_privilege(make: Maker) -> None:
    """Row 22 of the attacks: only the caller selects hooks, devices, mounts, annotations."""
    hostile = {
        "Labels": {
            "org.systemd.property.ExecStartPre": "x",
            "run.oci.handler": "krun",
            "cdi.k8s.io/x": "vendor.com/device=all",
            "io.katacontainers.config.runtime": "x",
        },
        "Env": ["NVIDIA_VISIBLE_DEVICES=all", "LD_PRELOAD=/evil.so", "PATH=/evil"],
        "Privileged": True,
        "HostConfig": {"Privileged": True},
        "Hooks": {"prestart": [{"path": "/bin/sh"}]},
        "Annotations": {"run.oci.hooks.stderr": "/x"},
        "SecurityOpt": ["seccomp=unconfined"],
        "MacAddress": "02:42:00:00:00:09",
    }
    plain, made = make(), make(image=hostile)
    made["process"]["env"] = plain["process"]["env"]
    assert json.dumps(made) == json.dumps(plain)


def test_exec_process(make: Maker) -> None:
    record = make.record(
        {"SecurityOpt": ["no-new-privileges"], "CapDrop": ["ALL"], "GroupAdd": ["77"]},
        image={"User": "al", "Env": ["A=1"], "WorkingDir": "/home/al"},
    )
    process = spec.exec_process(
        record, ["ls", "-l"], rootfs_fd=make.fd, env=["A=2", "B=3"], tty=True, console_size=[24, 80]
    )
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 50, 29, 77]}
    assert process["args"] == ["ls", "-l"] and process["cwd"] == "/home/al"
    assert "A=2" in process["env"] and "B=3" in process["env"] and "TERM=xterm" in process["env"]
    assert process["capabilities"]["bounding"] == []
    assert process["noNewPrivileges"] is True
    assert process["consoleSize"] == {"height": 24, "width": 80}
    other = spec.exec_process(record, ["id"], rootfs_fd=make.fd, user="0:0", workdir="/")
    assert other["user"] == {"uid": 0, "gid": 0, "additionalGids": [0, 77]}
    assert other["cwd"] == "/" and "HOME=/root" in other["env"] and "terminal" not in other


def test_exec_privileged(make: Maker) -> None:
    process = spec.exec_process(
        make.record({"CapDrop": ["ALL"]}), ["id"], rootfs_fd=make.fd, privileged=True
    )
    assert process["capabilities"]["effective"] == caps.available()


def test_exec_errors(make: Maker) -> None:
    with pytest.raises(InvalidArgument, match="the working directory 'x' is invalid"):
        spec.exec_process(make.record(), ["id"], rootfs_fd=make.fd, workdir="x")
    with pytest.raises(InvalidArgument, match="unable to find user nobody"):
        spec.exec_process(make.record(), ["id"], rootfs_fd=make.fd, user="nobody")
    with pytest.raises(InvalidArgument, match="no exec command"):
        spec.exec_process(make.record(), [], rootfs_fd=make.fd)


def test_the_spec_is_json(make: Maker) -> None:
    made = make({"Privileged": True})
    assert json.loads(json.dumps(made)) == made
