"""What a container has of its own: namespaces, limits, mounts, devices, cgroups."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, KernelError, StartError, Unsupported
from jubako.linux import pidfd
from jubako.runtime import Stdio
from tests.integration.runtime_tools import Box, box, in_child, read_terminal, rootfs

__all__ = ["box", "rootfs"]


# --- views of its own ----------------------------------------------------------------------------


def test_namespaces_are_the_containers_own(box: Box) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    script = f"cd /proc/self/ns; for k in {' '.join(kinds)}; do readlink $k; done; hostname"
    script += "; ls /sys/class/net"
    lines = in_child(lambda: box.run("sh", "-c", script)).output.splitlines()
    ours = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    assert not set(lines) & set(ours)
    assert lines[-2:] == ["jubako", "lo"]


def test_a_user_namespace_maps_ids(box: Box) -> None:
    (box.directory / "volume").mkdir()
    os.chmod(box.directory, 0o700)  # root of the container could not search it

    def scenario() -> str:
        spec = box.spec(
            "sh",
            "-c",
            "id -u; cat /proc/self/uid_map; touch /v/x; ls -ln /dev/null; "
            "stat -c %u /dev/mqueue /dev/shm; echo x > /dev/null && echo written",
        )
        spec["linux"]["namespaces"].append({"type": "user"})
        maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec["linux"] |= {"uidMappings": maps, "gidMappings": maps}
        volume = str(box.directory / "volume")
        os.chown(volume, 100000, 100000)
        bind = {"destination": "/v", "type": "bind", "source": volume, "options": ["rbind"]}
        spec["mounts"].append(bind)
        return box.run(spec=spec).output

    os.chown(box.rootfs, 100000, 100000)
    for name in ("dev", "proc", "sys"):
        os.chown(box.rootfs / name, 100000, 100000)
    lines = in_child(scenario).splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == ["0", "100000", "65536"]
    assert "1,   3" in lines[2]
    assert lines[3:] == ["0", "0", "written"]
    assert (box.directory / "volume/x").stat().st_uid == 100000


def test_exec_enters_a_user_namespace_with_a_terminal(box: Box) -> None:
    def scenario() -> str:
        spec = box.spec("sleep", "1000")
        spec["linux"]["namespaces"].append({"type": "user"})
        maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec["linux"] |= {"uidMappings": maps, "gidMappings": maps}
        box.create(spec)
        box.runtime.start("c")
        assert box.exec("sh", "-c", "id -u; cut -c1-30 /proc/self/uid_map").output.startswith("0\n")
        process = {**spec["process"], "args": ["tty"], "terminal": True}
        made = box.runtime.exec("c", process, Stdio())
        assert made.console is not None
        output = read_terminal(made.console)
        pidfd.wait(made.pidfd)
        made.close()
        return output

    assert in_child(scenario) == "/dev/pts/0\r\n"


def test_a_time_namespace_has_its_own_clock(box: Box) -> None:
    if not os.path.exists("/proc/self/ns/time"):
        pytest.skip("needs a kernel with time namespaces")

    def scenario() -> float:
        spec = box.spec("cat", "/proc/uptime")
        spec["linux"]["namespaces"].append({"type": "time"})
        spec["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000, "nanosecs": 0}}
        return float(box.run(spec=spec).output.split()[0])

    assert in_child(scenario) - time.clock_gettime(time.CLOCK_BOOTTIME) > 900_000


def test_namespaces_are_joined_by_path(box: Box) -> None:
    def scenario() -> str:
        made = box.start("sh", "-c", "hostname shared; sleep 1000", name="one")
        spec = box.spec("sh", "-c", "readlink /proc/self/ns/net; ps | wc -l")
        del spec["hostname"]
        for entry in spec["linux"]["namespaces"]:
            names = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts"}
            if entry["type"] in names:
                entry["path"] = f"/proc/{made.pid}/ns/{names[entry['type']]}"
        output = box.run(spec=spec).output
        return output + os.readlink(f"/proc/{made.pid}/ns/net")

    lines = in_child(scenario).splitlines()
    assert lines[0] == lines[2]
    assert int(lines[1]) > 3  # the other's processes are seen


def test_sysctls_belong_to_the_container(box: Box) -> None:
    def scenario() -> str:
        spec = box.spec("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni")
        spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"}
        output = box.run(spec=spec).output
        spec["linux"]["sysctl"] = {"kernel.core_pattern": "|/bin/sh"}
        with pytest.raises(InvalidArgument, match="not in a separate kernel namespace"):
            box.run(spec=spec)
        spec["linux"]["sysctl"] = {"net.core.somaxconn": "1"}
        spec["linux"]["namespaces"] = [
            n for n in spec["linux"]["namespaces"] if n["type"] != "network"
        ]
        with pytest.raises(InvalidArgument, match="not allowed in host network namespace"):
            box.run(spec=spec)
        return output

    assert in_child(scenario) == "1\n77\n"


def test_limits_of_a_process(box: Box) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_AS", "soft": 64 << 20, "hard": 64 << 20},  # less than Python needs
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]

    def scenario() -> str:
        output = box.run("cat", "/proc/self/limits", rlimits=limits).output
        box.start("sleep", "1000", rlimits=limits)
        assert box.exec("cat", "/proc/self/limits").output == output
        return output

    table = {line[:25].strip(): line[25:].split()[:2] for line in in_child(scenario).splitlines()}
    assert table["Max open files"] == ["100", "200"]
    assert table["Max address space"] == [str(64 << 20)] * 2
    assert table["Max core file size"] == ["0", "0"]


def test_its_cgroups_are_all_it_sees(box: Box) -> None:
    script = "cat /proc/self/cgroup; find /sys/fs/cgroup -name 'jbk*'; touch /sys/fs/cgroup/x"

    def scenario() -> list[str]:
        outputs = []
        for own in (True, False):
            spec = box.spec("sh", "-c", script)
            if not own:
                spec["linux"]["namespaces"] = [
                    n for n in spec["linux"]["namespaces"] if n["type"] != "cgroup"
                ]
            outputs.append(box.run(spec=spec).output)
        return outputs

    with_namespace, without = in_child(scenario)
    assert box.parent not in with_namespace
    assert f"{box.parent}/c" in without
    for output in (with_namespace, without):
        assert "ead-only file system" in output


# --- mounts --------------------------------------------------------------------------------------


def test_the_options_of_mounts(box: Box, tmp_path: Path) -> None:
    for name in ("ro", "rw", "file"):
        (tmp_path / name).mkdir()
    (box.rootfs / "filled").mkdir()
    (box.rootfs / "filled/file").write_text("from the image")
    (box.rootfs / "filled/link").symlink_to("file")
    os.chown(box.rootfs / "filled/file", 12, 13)

    def bind(path: str, source: Path, *options: str) -> dict[str, Any]:
        return {
            "destination": path,
            "type": "bind",
            "source": str(source),
            "options": list(options),
        }

    def scenario() -> str:
        script = """
        touch /ro/x; touch /rw/y && echo written; cat /filled/link; stat -c %u:%g:%F /filled/file
        touch /x; touch /filled/new && echo new; grep -E ' /(ro|rw|filled) ' /proc/self/mountinfo
        """
        spec = box.spec("sh", "-c", script)
        spec["root"]["readonly"] = True
        spec["mounts"] += [
            bind("/ro", tmp_path / "ro", "rbind", "ro", "nosuid", "rprivate"),
            bind("/rw", tmp_path / "rw", "bind", "noexec", "nodev"),
            {
                "destination": "/filled",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["size=1m", "tmpcopyup", "nosuid"],
            },
        ]
        for path in ("ro", "rw"):
            (box.rootfs / path).mkdir()
        return box.run(spec=spec).output

    output = in_child(scenario)
    assert "touch: /ro/x: Read-only file system" in output
    assert "touch: /x: Read-only file system" in output
    assert "written" in output and "new" in output
    assert "from the image12:13:regular file" in output.replace("\n", "")
    mounts = {line.split()[4]: line.split()[5] for line in output.splitlines() if " - " in line}
    assert {"ro", "nosuid"} <= set(mounts["/ro"].split(","))
    assert {"rw", "noexec", "nodev"} <= set(mounts["/rw"].split(","))
    assert (tmp_path / "rw/y").exists()
    assert not (box.rootfs / "filled/new").exists()


def test_read_only_for_all_that_is_below(box: Box, tmp_path: Path) -> None:
    from jubako.linux import mount, ns

    (tmp_path / "tree/inner").mkdir(parents=True)

    def scenario() -> str:
        ns.unshare(ns.CLONE_NEWNS)
        mount.set_propagation("/", mount.MS_PRIVATE | mount.MS_REC)
        mount.mount("tmpfs", str(tmp_path / "tree/inner"), "tmpfs")
        outputs = []
        for option in ("ro", "rro"):
            spec = box.spec("sh", "-c", "touch /t/inner/x && echo written")
            spec["mounts"].append(
                {
                    "destination": "/t",
                    "type": "bind",
                    "source": str(tmp_path / "tree"),
                    "options": ["rbind", option],
                }
            )
            outputs.append(box.run(spec=spec).output)
        return "".join(outputs)

    assert in_child(scenario) == "written\ntouch: /t/inner/x: Read-only file system\n"


def test_an_id_mapped_mount_shows_other_owners(box: Box, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/x").touch()
    os.chown(tmp_path / "files/x", 1000, 1000)

    def scenario() -> str:
        spec = box.spec("stat", "-c", "%u", "/m/x")
        maps = [{"containerID": 1000, "hostID": 5000, "size": 1}]
        spec["mounts"].append(
            {
                "destination": "/m",
                "type": "bind",
                "source": str(tmp_path / "files"),
                "options": ["bind"],
                "uidMappings": maps,
                "gidMappings": maps,
            }
        )
        try:
            return box.run(spec=spec).output
        except KernelError as error:
            return f"skip {error}"

    output = in_child(scenario)
    if output.startswith("skip"):
        pytest.skip(f"needs ID-mapped mounts on the file system of {tmp_path}: {output[5:]}")
    assert output == "5000\n"


def test_mounts_of_the_host_arrive_only_when_asked_for(box: Box, tmp_path: Path) -> None:
    from jubako.linux import mount, ns

    (tmp_path / "shared").mkdir()

    def scenario() -> list[str]:
        ns.unshare(ns.CLONE_NEWNS)
        mount.set_propagation("/", mount.MS_PRIVATE | mount.MS_REC)
        shared = str(tmp_path / "shared")
        mount.bind(shared, shared)
        mount.set_propagation(shared, mount.MS_SHARED)
        os.mkdir(f"{shared}/late")
        seen = []
        for option in ("rprivate", "rslave"):
            spec = box.spec("sleep", "1000")
            options = ["rbind", option]
            bind = {"destination": "/s", "type": "bind", "source": shared, "options": options}
            spec["mounts"].append(bind)
            made = box.create(spec)
            box.runtime.start("c")
            mount.mount("tmpfs", f"{shared}/late", "tmpfs")
            seen.append(box.exec("grep", "-c", "/s/late", "/proc/self/mountinfo").output.strip())
            mount.umount2(f"{shared}/late", mount.MNT_DETACH)
            box.runtime.delete("c", force=True)
            made.close()
        return seen

    assert in_child(scenario) == ["0", "1"]


def test_devices_of_the_configuration(box: Box) -> None:
    def scenario() -> str:
        spec = box.spec(
            "sh", "-c", "stat -c '%A %t:%T %u:%g' /dev/fuse /dev/sub/x; head -c 3 /dev/sub/x"
        )
        spec["linux"]["devices"] = [
            {
                "path": "/dev/fuse",
                "type": "c",
                "major": 10,
                "minor": 229,
                "fileMode": 0o640,
                "uid": 3,
            },
            {"path": "/dev/sub/x", "type": "c", "major": 1, "minor": 5, "gid": 4},
        ]
        spec["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}]
        return box.run("", spec=spec).output[:200]

    lines = in_child(scenario).splitlines()
    assert lines[0] == "crw-r----- a:e5 3:0"
    assert lines[1] == "crw-rw-rw- 1:5 0:4"


def test_a_container_in_no_mount_namespace_of_its_own_is_refused(box: Box) -> None:
    def scenario() -> None:
        spec = box.spec("true")
        spec["linux"]["namespaces"] = [{"type": "pid"}]
        with pytest.raises(Unsupported, match="without a mount namespace"):
            box.create(spec)

    in_child(scenario)


def test_fixture_root_is_whole(box: Box) -> None:
    assert shutil.which("sh", path=str(box.rootfs / "bin"))


def test_a_user_namespace_is_shared_and_the_rest_is_not(box: Box) -> None:
    def scenario() -> str:
        maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec = box.spec("sleep", "1000", name="one")
        spec["linux"] |= {"uidMappings": maps, "gidMappings": maps}
        spec["linux"]["namespaces"].append({"type": "user"})
        made = box.create(spec, name="one")
        box.runtime.start("one")
        spec = box.spec(
            "sh", "-c", "id -u; echo $$; ps | grep -c sleep; readlink /proc/self/ns/user"
        )
        path = f"/proc/{made.pid}/ns/user"
        spec["linux"]["namespaces"].append({"type": "user", "path": path})
        return box.run(spec=spec).output + os.readlink(path)

    lines = in_child(scenario).splitlines()
    assert lines[:2] == ["0", "1"]
    assert lines[3] == lines[4]


def test_without_pivot_root_the_host_is_out_of_reach_too(box: Box) -> None:
    def scenario() -> str:
        with box.pipe() as (stdio, collect):
            script = "ls / | head -3; ls /proc/1/cwd/../.. | head -3; echo /proc/self/fd/*"
            made = box.create(box.spec("sh", "-c", script), stdio, no_pivot=True)
            box.runtime.start("c")
            os.close(stdio.stdout)
            output = str(collect())
            pidfd.wait(made.pidfd)
        made = box.create(box.spec("sleep", "1000", name="d"), name="d", no_pivot=True)
        box.runtime.start("d")
        process = {**box.runtime.record("d")["process"], "args": ["ls", "/"]}
        with box.pipe() as (stdio, collect):
            entered = box.runtime.exec("d", process, stdio)
            os.close(stdio.stdout)
            pidfd.wait(entered.pidfd)
            return output + str(collect())

    lines = in_child(scenario).splitlines()
    assert lines[:6] == ["bin", "dev", "etc"] * 2
    assert lines[7:10] == ["bin", "dev", "etc"]


def test_only_listed_devices_can_be_opened(box: Box) -> None:
    def scenario() -> list[str]:
        sets = ["CAP_MKNOD"]
        spec = box.spec(
            "sh",
            "-c",
            "mknod /dev/mine c 1 5 && head -c 1 /dev/mine | wc -c; "
            "mknod /dev/mem2 c 1 1 && head -c 1 /dev/mem2; head -c 1 /dev/full | wc -c",
            capabilities={kind: sets for kind in ("bounding", "effective", "permitted")},
        )
        return box.run(spec=spec).output.splitlines()

    assert in_child(scenario) == ["1", "head: /dev/mem2: Operation not permitted", "1"]


def test_priorities_and_personality(box: Box) -> None:
    def scenario() -> str:
        spec = box.spec(
            "sh",
            "-c",
            "uname -m; cut -d' ' -f19 /proc/self/stat; cat /proc/self/personality",
            scheduler={"policy": "SCHED_BATCH", "nice": 7},
            ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
        )
        spec["linux"]["personality"] = {"domain": "LINUX32"}
        return box.run(spec=spec).output

    lines = in_child(scenario).splitlines()
    assert lines[0] in ("i686", "armv8l")
    assert lines[1] == "7"


def test_a_profile_of_apparmor_is_set_or_refused(box: Box) -> None:
    def refused() -> None:
        with pytest.raises(Unsupported, match="this host has no AppArmor"):
            box.run("true", apparmorProfile="docker-default")

    def unknown() -> None:
        current = box.run("cat", "/proc/self/attr/current", apparmorProfile="unconfined").output
        assert current.startswith("unconfined")
        with pytest.raises(StartError, match="exec no-such-profile"):
            box.run("true", apparmorProfile="no-such-profile")

    in_child(unknown if os.path.isdir("/sys/kernel/security/apparmor") else refused)
