"""What the flags of `run` do, seen from inside: cgroups, /proc, hosts, resolv.conf, devices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jubako.linux.cgroups import detect
from jubako.linux.cgroups.support import supports
from tests.fixtures.engine import Jubako

if TYPE_CHECKING:
    from jubako import Engine

pytestmark = pytest.mark.usefixtures("busybox")

V1 = "memory.limit_in_bytes"


def inside(jubako: Jubako, *flags: str, script: str) -> str:
    """The output of a script in a container with these flags and no network."""
    return jubako.ok("run", "--rm", "--network", "none", *flags, "busybox", "sh", "-c", script)


def read(jubako: Jubako, flags: str, *files: str) -> list[str]:
    """The words in the first of the container's cgroup files that is there (v1 or v2)."""
    paths = " ".join(f"/sys/fs/cgroup/{file}" for file in files)
    script = f"for f in {paths}; do [ -e $f ] && cat $f && exit; done"
    return inside(jubako, *flags.split(), script=script).split()


def version_of(controller: str) -> int:
    hierarchy = detect().find(controller) or detect().find("io")
    return 0 if hierarchy is None else hierarchy.version


def need(feature: str) -> None:
    if not supports(detect(), feature):
        pytest.skip(f"this kernel cannot limit {feature}")


def a_disk() -> tuple[str, str]:
    """(path, "major:minor") of a block device of this host."""
    for name in sorted(os.listdir("/sys/block"), key=lambda name: name.startswith("loop")):
        path = f"/dev/{name}"
        if os.path.exists(path):
            number = os.stat(path).st_rdev
            return path, f"{os.major(number)}:{os.minor(number)}"
    pytest.skip("needs a block device")


def test_memory(jubako: Jubako) -> None:
    need("reservation")
    assert read(jubako, "--memory-reservation 8m",
                "memory/memory.soft_limit_in_bytes", "memory.low") == [str(8 << 20)]  # fmt: skip


def test_swappiness(jubako: Jubako) -> None:
    need("swappiness")
    assert read(jubako, "--memory-swappiness 37", "memory/memory.swappiness") == ["37"]
    assert read(jubako, "--memory-swappiness 0", "memory/memory.swappiness") == ["0"]


def test_the_oom_killer_is_switched_off(jubako: Jubako) -> None:
    need("oom_kill_disable")
    found = read(jubako, "--oom-kill-disable -m 16m", "memory/memory.oom_control")
    assert found[:2] == ["oom_kill_disable", "1"]
    result = jubako("run", "--rm", "--network=none", "--oom-kill-disable", "busybox", "true")
    assert result.status == 0
    assert result.stderr == (
        "WARNING: OOM killer is disabled for the container, but no memory limit is set, "
        "this can result in the system running out of resources.\n"
    )


def test_oom_score(jubako: Jubako) -> None:
    script = "cat /proc/self/oom_score_adj"
    assert inside(jubako, "--oom-score-adj", "321", script=script) == "321"


def test_cpu(jubako: Jubako) -> None:
    if version_of("cpu") == 1:
        flags = "--cpu-period 50000 --cpu-quota 20000"
        assert read(jubako, flags, "cpu/cpu.cfs_period_us") == ["50000"]
        assert read(jubako, flags, "cpu/cpu.cfs_quota_us") == ["20000"]
    else:
        found = read(jubako, "--cpu-period 50000 --cpu-quota 20000", "cpu.max")
        assert found == ["20000", "50000"]


def test_memory_nodes(jubako: Jubako) -> None:
    need("cpuset")
    assert read(jubako, "--cpuset-mems 0", "cpuset/cpuset.mems", "cpuset.mems") == ["0"]


def test_real_time_budget(jubako: Jubako, tmp_path: Path) -> None:
    need("cpu_realtime")
    hierarchy = detect().find("cpu")
    assert hierarchy is not None
    parent = f"{hierarchy.path}/jubako-rt-{os.getpid()}"
    flags = ("--cgroup-parent", os.path.basename(parent), "--cpu-rt-period", "500000")
    script = "cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us /sys/fs/cgroup/cpu/cpu.rt_period_us"
    os.mkdir(parent)
    try:
        result = jubako("run", "--rm", *flags, "--cpu-rt-runtime", "1000", "busybox", "true")
        assert result.status == 125 and "cpu.rt_runtime_us" in result.stderr
        assert f"write it to {parent}/cpu.rt_runtime_us" in result.stderr
        Path(parent, "cpu.rt_runtime_us").write_text("5000")
        found = inside(jubako, *flags, "--cpu-rt-runtime", "1000", script=script)
        assert found.split() == ["1000", "500000"]
    finally:
        for one in detect().v1:
            if os.path.isdir(f"{one.path}/{os.path.basename(parent)}"):
                os.rmdir(f"{one.path}/{os.path.basename(parent)}")


@pytest.mark.parametrize(
    ("flag", "file", "word"),
    [
        ("--device-read-bps", "read_bps_device", "rbps"),
        ("--device-write-bps", "write_bps_device", "wbps"),
        ("--device-read-iops", "read_iops_device", "riops"),
        ("--device-write-iops", "write_iops_device", "wiops"),
    ],
)
def test_disks_are_throttled(jubako: Jubako, flag: str, file: str, word: str) -> None:
    need(file.removesuffix("_device"))
    path, number = a_disk()
    found = read(jubako, f"{flag} {path}:1000", f"blkio/blkio.throttle.{file}", "io.max")
    assert found[0] == number
    assert "1000" in found or f"{word}=1000" in found


@pytest.mark.parametrize(
    ("flag", "feature", "files", "warning"),
    [
        ("--blkio-weight 300", "blkio_weight",
         ("blkio/blkio.weight", "blkio/blkio.bfq.weight", "io.bfq.weight", "io.weight"),
         "Block I/O weight or the cgroup is not mounted. Weight discarded."),
        ("--blkio-weight-device {disk}:300", "blkio_weight_device",
         ("blkio/blkio.weight_device", "blkio/blkio.bfq.weight_device", "io.bfq.weight"),
         "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."),
    ],
)  # fmt: skip
def test_weights_of_disks_are_set_or_discarded_with_a_warning(
    jubako: Jubako, flag: str, feature: str, files: tuple[str, ...], warning: str
) -> None:
    words = flag.format(disk=a_disk()[0])
    if supports(detect(), feature):
        assert read(jubako, words, *files)
    else:
        command = ("run", "--rm", "--network=none", *words.split(), "busybox", "true")
        result = jubako(*command)
        assert result.status == 0
        assert result.stderr == f"WARNING: Your kernel does not support {warning}\n"


def test_a_rule_opens_a_device(jubako: Jubako) -> None:
    script = "mknod /tmp/fuse c 10 229 && head -c 0 /tmp/fuse 2>&1"
    refused = jubako("run", "--rm", "--network=none", "busybox", "sh", "-c", script)
    assert "Operation not permitted" in refused.stdout
    rule = ("--device-cgroup-rule", "c 10:229 r")
    assert "Operation not permitted" not in inside(jubako, *rule, script=f"{script}; true")


@pytest.mark.parametrize("slash", ["", "/", "../../"])
def test_cgroup_parent(jubako: Jubako, slash: str) -> None:
    parent = f"jubako-parent-{os.getpid()}"
    script = "cat /proc/self/cgroup"
    try:
        lines = inside(jubako, "--cgroupns=host", "--cgroup-parent", slash + parent, script=script)
        paths = {line.partition(":")[2].partition(":")[2] for line in lines.splitlines()}
        assert {path.rpartition("/")[0] for path in paths} <= {f"/{parent}", "", "/"}
        assert any(path.startswith(f"/{parent}/") for path in paths)
    finally:
        for hierarchy in detect().all():
            if os.path.isdir(f"{hierarchy.path}/{parent}"):
                os.rmdir(f"{hierarchy.path}/{parent}")


def test_cgroup_namespaces(jubako: Jubako) -> None:
    script = "readlink /proc/self/ns/cgroup; cut -d: -f3 /proc/self/cgroup"
    own = os.readlink("/proc/self/ns/cgroup")
    namespace, *paths = inside(jubako, "--cgroupns", "private", script=script).split()
    assert namespace != own and "/" in paths
    namespace, *paths = inside(jubako, "--cgroupns", "host", script=script).split()
    assert namespace == own and any(path.startswith("/jubako-") for path in paths)


def test_names(jubako: Jubako) -> None:
    script = "cat /proc/sys/kernel/domainname; hostname -f; tail -1 /etc/hosts"
    out = jubako.ok("run", "--rm", "-h", "web", "--domainname", "example.org", "busybox",
                    "sh", "-c", script)  # fmt: skip
    domain, full, line = out.splitlines()
    assert (domain, full) == ("example.org", "web.example.org")
    assert line.split()[1:] == ["web.example.org", "web"]


def test_resolver(jubako: Jubako) -> None:
    flags = "--dns 192.0.2.1 --dns-search a.org --dns-search b.org --dns-opt ndots:3 --dns-option x"
    found = inside(jubako, *flags.split(), script="grep -v '^#' /etc/resolv.conf")
    lines = [line for line in found.splitlines() if line]
    assert lines == ["nameserver 192.0.2.1", "search a.org b.org", "options ndots:3 x"]
    found = inside(jubako, "--dns-search", ".", script="grep -c ^search /etc/resolv.conf; true")
    assert found == "0"


def test_addresses(jubako: Jubako) -> None:
    out = jubako.ok(
        *("run", "--rm", "--mac-address", "02:42:0a:0b:0c:0d", "--link-local-ip", "169.254.7.7"),
        *("busybox", "sh", "-c", "cat /sys/class/net/eth0/address; ip -4 -o addr show eth0"),
    )
    assert out.splitlines()[0] == "02:42:0a:0b:0c:0d"
    assert "169.254.7.7/16" in out


def test_what_is_asked_for_is_in_inspect(jubako: Jubako) -> None:
    jubako.ok(
        *("create", "--name", "one", "--annotation", "a=b", "--mac-address", "02:42:0a:0b:0c:0d"),
        *("--link-local-ip", "169.254.7.7", "--oom-score-adj", "5", "--cgroup-parent", "/p"),
        *("--dns-option", "x", "--userns", "host", "--isolation", "default", "busybox", "true"),
    )
    [document] = json.loads(jubako.ok("inspect", "one"))
    host = document["HostConfig"]
    assert host["Annotations"] == {"a": "b"} and host["DnsOptions"] == ["x"]
    assert (host["OomScoreAdj"], host["CgroupParent"]) == (5, "/p")
    assert (host["UsernsMode"], host["Isolation"]) == ("host", "default")
    assert document["Config"]["MacAddress"] == "02:42:0a:0b:0c:0d"
    network = document["NetworkSettings"]["Networks"]["bridge"]
    assert network["IPAMConfig"] == {"LinkLocalIPs": ["169.254.7.7"]}


def test_annotations_reach_the_runtime_and_labels_of_an_image_do_not(
    jubako: Jubako, root_dir: Path
) -> None:
    made = jubako.ok("create", "--label", "cdi.k8s.io/x=v.com/c=d", "busybox", "true")
    jubako.ok("commit", "-c", "LABEL cdi.k8s.io/y=v.com/c=d", made, "labelled")
    name = jubako.ok("run", "-d", "--network=none", "--annotation", "a=b", "labelled", "true")
    jubako.ok("wait", name)
    spec = json.loads((root_dir / "containers" / name / "config.json").read_text())
    assert spec["annotations"] == {"a": "b"}
    assert "v.com" not in json.dumps(spec)


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ("--oom-score-adj 2000", 125,
         "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ("--memory-reservation 1m", 125, "Minimum memory reservation allowed is 6MB"),
        ("--memory-reservation 8m -m 6m", 125,
         "Minimum memory limit can not be less than memory reservation limit, see usage"),
        ("--cpu-period 999", 125, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger "
         "than 1s (i.e. 1000000)"),
        ("--cpu-quota 999", 125, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ("--cpus 1 --cpu-period 5000", 125,
         "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ("--cpu-rt-period 5 --cpu-rt-runtime 6", 125,
         "cpu real-time runtime cannot be higher than cpu real-time period"),
        ("--cpuset-mems 700", 125, "Requested memory nodes are not available - requested 700"),
        ("--device-read-bps /dev/no-such:1", 125, "stat /dev/no-such: no such file or directory"),
        ("--annotation =b", 125, "invalid Annotations: the empty string is not permitted as an "
         "annotation key"),
        ("--mac-address foo", 125, "foo is not a valid mac address"),
        ("--ip 172.17.0.50", 125,
         "user specified IP address is supported on user defined networks"),
        ("--network-alias x", 125,
         "network-scoped aliases are only supported for user-defined networks"),
        ("--isolation hyperv", 125,
         "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        ("--storage-opt size=1g", 125,
         "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
        ("--storage-opt foo=1", 125, "Unknown option foo"),
        ("--pull never --platform linux/mips", 125, "image with reference busybox was found but "
         "does not match the specified platform: wanted linux/mips, actual: linux/"),
        ("--platform foo", 125, 'error parsing specified platform: "foo": unknown operating system '
         "or architecture: invalid argument"),
        ("--gpus all", 125, 'could not select device driver "" with capabilities: [[gpu]]'),
        ("--device vendor.com/class=none", 125,
         "CDI device injection failed: unresolvable CDI devices vendor.com/class=none"),
        ("--link nope", 125, "could not get container for nope: No such container: nope"),
        ("--link x --network host", 125, "conflicting options: host type networking can't be used "
         "with links. This would result in undefined behavior"),
        ("--link x --network container:x", 125, "conflicting options: container type network can't "
         "be used with links. This would result in undefined behavior"),
    ],
)  # fmt: skip
def test_refused_in_dockers_words(jubako: Jubako, flags: str, status: int, message: str) -> None:
    result = jubako("run", "--rm", *flags.split(), "busybox", "true")
    assert result.status == status, result.stderr
    assert message in result.stderr
    assert jubako.ok("ps", "-aq") == ""


def test_kernel_memory_is_discarded_with_a_warning(jubako: Jubako) -> None:
    result = jubako("run", "--rm", "--network=none", "--kernel-memory=1g", "busybox", "true")
    assert result.status == 0
    assert result.stderr.startswith("WARNING: Your kernel does not support kernel memory limit")


def test_the_platform_of_this_machine(jubako: Jubako) -> None:
    jubako.ok("run", "--rm", "--network=none", "--platform=linux", "busybox", "true")
    jubako.ok("run", "--rm", "--network=none", "--pull=never", "-q", "busybox", "true")


# devices that a description of this host defines


def describe(root_dir: Path, directory: Path, *devices: object, **more: object) -> None:
    directory.mkdir()
    document = {"cdiVersion": "0.6.0", "kind": "vendor.com/class", "devices": devices, **more}
    (directory / "v.json").write_text(json.dumps(document))
    (directory / "v.json").chmod(0o644)
    (root_dir / "config.json").write_text(json.dumps({"cdi-spec-dirs": [str(directory)]}))


def test_cdi_devices(jubako: Jubako, root_dir: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\ncat > {tmp_path}/state\necho "$WHO $1" > {tmp_path}/ran\n')
    hook.chmod(0o755)
    edits = {
        "env": ["DEVICE=one"],
        "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "rw"}],
        "mounts": [{"hostPath": str(tmp_path / "cdi"), "containerPath": "/lib/driver",
                    "options": ["ro", "nosuid", "bind"]}],
        "hooks": [{"hookName": "createRuntime", "path": str(hook), "args": ["hook", "word"],
                   "env": ["WHO=hook"]}],
        "additionalGids": [777],
    }  # fmt: skip
    fuse = {"path": "/dev/other", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}
    describe(
        root_dir,
        tmp_path / "cdi",
        {"name": "one", "containerEdits": edits},
        {"name": "two", "containerEdits": {"deviceNodes": [fuse]}},
        containerEdits={"env": ["COMMON=1"]},
    )
    script = (
        "echo $DEVICE $COMMON; echo x > /dev/mine && stat -c %t:%T /dev/mine; ls /lib/driver; "
        "touch /lib/driver/x 2>&1; id -G; head -c 0 /dev/other && echo opened"
    )
    out = inside(
        jubako, "--device=vendor.com/class=one", "--device=vendor.com/class=two", script=script
    )
    assert out.splitlines() == [
        *("one 1", "1:3", "v.json"),
        *("touch: /lib/driver/x: Read-only file system", "0 10 777", "opened"),
    ]
    assert (tmp_path / "ran").read_text() == "hook word\n"
    assert json.loads((tmp_path / "state").read_text())["status"] == "creating"


def test_a_cdi_device_that_has_gone_stops_the_start(
    jubako: Jubako, root_dir: Path, tmp_path: Path
) -> None:
    describe(root_dir, tmp_path / "cdi", {"name": "one", "containerEdits": {"env": ["A=1"]}})
    jubako.ok("create", "--name=one", "--network=none", "--device=vendor.com/class=one", "busybox",
              "true")  # fmt: skip
    (tmp_path / "cdi" / "v.json").unlink()
    result = jubako("start", "one")
    assert result.status == 1 and "unresolvable CDI devices vendor.com/class=one" in result.stderr


def test_gpus(jubako: Jubako, root_dir: Path, tmp_path: Path) -> None:
    devices = [{"name": n, "containerEdits": {"env": [f"GPU_{n}=1"]}} for n in ("0", "1", "all")]
    describe(root_dir, tmp_path / "cdi", *devices, kind="nvidia.com/gpu")
    script = "env | grep ^GPU | sort"
    assert inside(jubako, "--gpus", "all", script=script) == "GPU_all=1"
    assert inside(jubako, "--gpus", "2", script=script) == "GPU_0=1\nGPU_1=1"
    assert inside(jubako, "--gpus", "device=1", script=script) == "GPU_1=1"


# links


def test_links(jubako: Jubako, engine: Engine) -> None:
    jubako.ok("run", "-d", "--name=db", "-h", "dbhost", "-e", "A=1", "--expose=53/udp", "busybox",
              "sleep", "60")  # fmt: skip
    address = engine.containers.inspect("db")["NetworkSettings"]["IPAddress"]
    out = jubako.ok("run", "--rm", "--name=web", "--link", "db:al", "busybox", "sh", "-c",
                    "grep dbhost /etc/hosts; env | grep ^AL_ | sort; ping -c 1 -W 5 al >/dev/null"
                    " && echo reached")  # fmt: skip
    assert out.splitlines() == [
        f"{address}\tal dbhost db",
        "AL_ENV_A=1",
        "AL_NAME=/web/al",
        f"AL_PORT=udp://{address}:53",
        f"AL_PORT_53_UDP=udp://{address}:53",
        f"AL_PORT_53_UDP_ADDR={address}",
        "AL_PORT_53_UDP_PORT=53",
        "AL_PORT_53_UDP_PROTO=udp",
        "reached",
    ]


def test_a_link_follows_a_restart_and_a_new_name(jubako: Jubako, engine: Engine) -> None:
    jubako.ok("run", "-d", "--name=db", "busybox", "sleep", "60")
    jubako.ok("run", "-d", "--name=web", "--link=db", "busybox", "sleep", "60")
    jubako.ok("stop", "-t0", "db")
    jubako.ok("run", "-d", "--name=other", "busybox", "sleep", "60")  # takes its address
    jubako.ok("start", "db")
    address = engine.containers.inspect("db")["NetworkSettings"]["IPAddress"]
    assert f"{address}\tdb " in jubako.ok("exec", "web", "cat", "/etc/hosts")
    assert "DB_NAME=/web/db" in jubako.ok("exec", "web", "env").splitlines()
    jubako.ok("rename", "db", "data")
    assert engine.containers.inspect("web")["HostConfig"]["Links"] == ["/data:/web/db"]


def test_a_link_needs_the_other_to_run(jubako: Jubako, engine: Engine) -> None:
    jubako.ok("create", "--name=db", "busybox", "sleep", "60")
    jubako.ok("create", "--name=web", "--link=db:d", "busybox", "true")
    result = jubako("start", "web")
    assert result.status == 1
    assert "Cannot link to a non running container: /db AS /web/d" in result.stderr
    assert jubako.ok("rm", "--link", "web/d") == "web/d"
    assert engine.containers.inspect("web")["HostConfig"]["Links"] is None
    jubako.ok("start", "web")
    result = jubako("rm", "--link", "web/d")
    assert result.status == 1 and "No such container: web/d" in result.stderr
