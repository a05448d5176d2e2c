"""What a container sees, and what it must not reach: rows 1 to 3 and 6 to 10 of the attack list."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, StartError
from jubako.linux import pidfd
from jubako.runtime import Stdio
from jubako.runtime.process import leave_keyring
from tests.integration.runtime_tools import Box, box, in_child, read_terminal, rootfs

__all__ = ["box", "rootfs"]


def fields(text: str) -> dict[str, str]:
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in text.split("\n"))
    }


# --- row 1: the host's interpreter through /proc/PID/exe -----------------------------------------


def test_a_container_never_sees_the_interpreter(box: Box) -> None:
    """While processes enter by exec, root in the container looks at every /proc/PID/exe."""
    watch = (
        "while :; do for exe in /proc/[0-9]*/exe; do "
        "readlink $exe; (: < $exe) 2>/dev/null && echo opened $(readlink $exe); done; done >> /seen"
    )

    def scenario() -> None:
        box.start("sh", "-c", watch)
        for _ in range(60):
            assert box.exec("true").status == 0

    in_child(scenario)
    seen = set((box.rootfs / "seen").read_text().splitlines())
    assert "/bin/sh" in seen or "/bin/busybox" in seen
    assert not [line for line in seen if "python" in line], seen


def test_the_program_is_never_the_interpreter(box: Box) -> None:
    """`#!/proc/self/exe` makes the kernel run whatever executes the script."""
    interpreter = Path(os.path.realpath(sys.executable))
    before = hashlib.sha256(interpreter.read_bytes()).digest()
    script = box.rootfs / "bin/script"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    os.symlink("/proc/self/exe", box.rootfs / "bin/itself")

    def scenario() -> list[int]:
        codes = []
        for program in ("script", "itself", "/proc/self/exe"):
            try:
                codes.append(box.run(program).status)
            except StartError as error:
                codes.append(error.exit_code)
        return codes

    codes = in_child(scenario)
    assert all(code in (126, 127) for code in codes), codes
    assert hashlib.sha256(interpreter.read_bytes()).digest() == before


# --- row 2: descriptors and working directory ----------------------------------------------------


def test_no_descriptor_of_the_caller_arrives(box: Box) -> None:
    def scenario() -> None:
        for number in (5, 17, 99):
            os.dup2(os.open("/", os.O_RDONLY), number, inheritable=True)
        listing = box.run("sh", "-c", "cd /proc/self/fd; echo *", cwd="/")
        assert listing.output.split() in (["0", "1", "2"], ["0", "1", "2", "3"]), listing
        box.start("sleep", "1000")
        listing = box.exec("sh", "-c", "ls -l /proc/$$/fd; true")
        names = [line.split()[8] for line in listing.output.splitlines()[1:]]
        assert names == ["0", "1", "2"], listing

    in_child(scenario)


@pytest.mark.parametrize("number", [3, 5, 7, 8, 9, 10, 11, 12])
def test_a_descriptor_is_no_working_directory(number: int, box: Box) -> None:
    """CVE-2024-21626: the working directory /proc/self/fd/N of an open host directory."""
    cwd = f"/proc/self/fd/{number}"

    def scenario() -> None:
        host = os.open("/", os.O_RDONLY)
        os.dup2(host, number, inheritable=True)
        with pytest.raises(StartError, match="cwd"):
            box.run("pwd", cwd=cwd)
        os.symlink(cwd, box.rootfs / "link")
        with pytest.raises(StartError):
            box.run("ls", cwd="/link")
        box.start("sleep", "1000")
        for directory in (cwd, "/link", "/proc/1/root", "/proc/1/cwd"):
            with pytest.raises(StartError, match="chdir to cwd"):
                box.exec("ls", cwd=directory)

    in_child(scenario)


# --- row 3: nothing is loaded from the container -------------------------------------------------


@pytest.mark.parametrize("how", ["create", "exec"])
def test_nothing_is_imported_or_looked_up_inside(how: str, box: Box) -> None:
    """Audit hooks follow the fork: from the switch of roots on there is no import, and no open of
    anything but what the steps name."""
    poison = box.rootfs / "usr/lib" / f"python3.{sys.version_info.minor}"
    poison.mkdir(parents=True)
    for module in ("socket", "os", "pwd", "encodings"):
        (poison / f"{module}.py").write_text("raise SystemExit(66)\n")
    shared = mmap.mmap(-1, 1 << 20)  # shared with the fork

    def scenario() -> str:
        creator = os.getpid()
        inside = [False]

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if os.getpid() == creator:
                return
            if event == "os.chdir" and how == "create" or event == "os.fwalk":
                inside[0] = inside[0] or arguments[0] == "/"
            if how == "exec" and event == "os.chdir":
                inside[0] = True
            if inside[0] and event in ("import", "open", "ctypes.dlopen"):
                shared.write(f"{event} {arguments[0]}\n".encode())

        if how == "create":
            sys.addaudithook(audit)
            assert box.run("true").status == 0
        else:
            box.start("sleep", "1000")
            sys.addaudithook(audit)
            assert box.exec("true").status == 0
        return shared[: shared.tell()].decode()

    seen = in_child(scenario) or ""
    lines = shared[:].rstrip(b"\0").decode().splitlines()
    shared.close()
    assert not [line for line in lines if not line.startswith("open")], (seen, lines)
    assert lines == []


# --- rows 6 and 8: targets that are links --------------------------------------------------------


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/outside", "../../outside", "tmp", "{host}"])
def test_a_root_whose_proc_sys_or_dev_is_a_link_is_refused(
    name: str, target: str, box: Box, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (box.rootfs / name).rmdir()
    os.symlink(target.format(host=host), box.rootfs / name)

    def scenario() -> None:
        with pytest.raises(
            InvalidArgument, match=f"/{name} in the container's root must be a directory"
        ):
            box.run("true")

    in_child(scenario)
    assert list(host.iterdir()) == []
    assert not Path("/outside").exists()


def test_links_in_the_image_lead_mounts_to_places_in_the_image(box: Box, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    source = tmp_path / "source"
    source.write_text("content")
    os.symlink(canary, box.rootfs / "absolute")
    os.symlink("../" * 20 + str(canary).lstrip("/"), box.rootfs / "relative")
    os.symlink(canary / "file", box.rootfs / "dangling")

    def scenario() -> str:
        spec = box.spec("sh", "-c", "cat /absolute/a /relative/b /dangling; mount | grep -c canary")
        for path in ("/absolute/a", "/relative/b", "/dangling"):
            bind = {
                "destination": path,
                "type": "bind",
                "source": str(source),
                "options": ["rbind"],
            }
            spec["mounts"].append(bind)
        spec["mounts"].append({"destination": "/absolute/t", "type": "tmpfs", "source": "tmpfs"})
        return box.run(spec=spec).output

    assert in_child(scenario) == "contentcontentcontent4\n"
    assert list(canary.iterdir()) == []


def test_swapping_a_target_never_leads_out(box: Box, tmp_path: Path) -> None:
    """CVE-2021-30465: a volume's directory and a link change places while a mount is made."""
    volume, canary = tmp_path / "volume", tmp_path / "canary"
    canary.mkdir()
    (volume / "d").mkdir(parents=True)
    os.symlink("../" * 20 + str(canary).lstrip("/"), volume / "l")
    renameat2 = ctypes.CDLL(None).renameat2
    pid = os.fork()
    if pid == 0:
        try:
            one, two = os.fsencode(volume / "d"), os.fsencode(volume / "l")
            while True:
                renameat2(-100, one, -100, two, 2)  # RENAME_EXCHANGE
        finally:
            os._exit(0)

    def scenario() -> int:
        finished = 0
        for _ in range(40):
            spec = box.spec("sh", "-c", "mount | grep -c ' /.*canary'")
            spec["mounts"] += [
                {"destination": "/v", "type": "bind", "source": str(volume), "options": ["rbind"]},
                {"destination": "/v/d/inner", "type": "tmpfs", "source": "tmpfs"},
            ]
            try:
                box.run(spec=spec)
                finished += 1
            except StartError:
                continue  # seen and refused, which is just as good
        return finished

    try:
        in_child(scenario)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert list(canary.iterdir()) == []


def test_nothing_but_known_files_covers_a_part_of_proc(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("fake")
    os.symlink("/proc/sys", box.rootfs / "sneaky")

    def attempt(path: str) -> str:
        spec = box.spec("cat", path)
        options = ["rbind"]
        bind = {"destination": path, "type": "bind", "source": str(file), "options": options}
        spec["mounts"].append(bind)
        return box.run(spec=spec).output

    def scenario() -> None:
        assert attempt("/proc/meminfo") == "fake"
        for path in ("/proc/version", "/proc/self/attr/exec", "/sneaky/kernel/hostname"):
            with pytest.raises(InvalidArgument, match="inside /proc"):
                attempt(path)

    in_child(scenario)


# --- row 7: masked paths and the console ---------------------------------------------------------


def test_masked_paths_show_nothing_and_readonly_paths_stay(box: Box) -> None:
    script = """
    stat -c %t:%T /proc/timer_list; ls /proc/acpi /sys/firmware | wc -w
    echo x > /proc/sys/kernel/hostname; echo 1 > /proc/sysrq-trigger; touch /sys/x /proc/acpi/x
    wc -c < /proc/keys; echo b > /proc/sys/kernel/core_pattern
    """
    done = in_child(lambda: box.run("sh", "-c", script))
    lines = done.output.splitlines()
    assert "1:3" in lines  # the null device
    assert sum("ead-only file system" in line for line in lines) >= 4
    assert "0" in lines


def test_a_null_device_that_is_none_is_refused(box: Box) -> None:
    """CVE-2025-31133: the image's /dev/null is a link or another file."""
    secret = box.rootfs / "etc/secret"
    secret.write_text("secret")
    os.symlink("/etc/secret", box.rootfs / "dev/null")

    def scenario() -> None:
        spec = box.spec("true")
        spec["mounts"] = [m for m in spec["mounts"] if not m["destination"].startswith("/dev")]
        with pytest.raises(StartError, match="mknod null"):
            box.run(spec=spec)

    in_child(scenario)


def test_the_terminal_is_that_of_the_container(box: Box) -> None:
    def scenario() -> str:
        script = "tty; stty size; stat -c %t:%T:%u /dev/console; echo controlling > /dev/tty"
        size = {"width": 77, "height": 20}
        user = {"uid": 1000, "gid": 5}
        spec = box.spec("sh", "-c", script, terminal=True, consoleSize=size, user=user)
        made = box.create(spec)
        assert made.console is not None
        box.runtime.start("c")
        output = read_terminal(made.console)
        assert pidfd.wait(made.pidfd) == 0
        made.close()
        box.runtime.delete("c")
        return output

    lines = in_child(scenario).split("\r\n")
    assert lines == ["/dev/pts/0", "20 77", "88:0:1000", "controlling", ""]


def test_exec_has_a_terminal_of_the_container(box: Box) -> None:
    def scenario() -> str:
        box.start("sleep", "1000")
        process = {**box.runtime.record("c")["process"], "args": ["tty"], "terminal": True}
        made = box.runtime.exec("c", process, Stdio())
        assert made.console is not None
        output = read_terminal(made.console)
        assert pidfd.wait(made.pidfd) == 0
        made.close()
        return output

    assert in_child(scenario) == "/dev/pts/0\r\n"


def test_a_false_devpts_gives_no_terminal(box: Box) -> None:
    """CVE-2025-52565: something else is at /dev/pts."""

    def scenario() -> None:
        spec = box.spec("true", terminal=True)
        for mount in spec["mounts"]:
            if mount["type"] == "devpts":
                mount.update(type="tmpfs", source="tmpfs", options=[])
        with pytest.raises(StartError, match=r"open terminal /dev/pts \(not devpts\)"):
            box.create(spec)

    in_child(scenario)


# --- rows 9 and 10: who it is --------------------------------------------------------------------

IDENTITY = "cat /proc/self/status; umask"


@pytest.mark.parametrize("how", ["create", "exec"])
def test_user_groups_capabilities_and_umask_are_those_asked_for(how: str, box: Box) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o27}
    sets = {
        "bounding": ["CAP_KILL", "CAP_CHOWN"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }

    def scenario() -> str:
        process: dict[str, Any] = {"user": user, "capabilities": sets}
        if how == "create":
            return box.run("sh", "-c", IDENTITY, **process).output
        box.start("sleep", "1000")
        return box.exec("sh", "-c", IDENTITY, **process).output

    output = in_child(scenario)
    found = fields(output)
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["1001"] * 4
    assert found["Groups"].split() == ["7", "8"]
    kill, chown = 1 << 5, 1
    assert int(found["CapBnd"], 16) == kill | chown
    assert int(found["CapAmb"], 16) == kill
    assert int(found["CapInh"], 16) == kill
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == kill
    assert output.splitlines()[-1] == "0027"


@pytest.mark.parametrize("how", ["create", "exec"])
def test_nothing_is_kept_that_was_not_asked_for(how: str, box: Box) -> None:
    def scenario() -> str:
        os.setgroups([4, 20, 24])
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.umask(0)
        if how == "create":
            return box.run("sh", "-c", IDENTITY, capabilities=None).output
        box.start("sleep", "1000")
        empty: dict[str, list[str]] = {}
        return box.exec("sh", "-c", IDENTITY, capabilities=empty).output

    output = in_child(scenario)
    found = fields(output)
    assert found["Groups"].split() == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigIgn", "SigBlk"):
        assert int(found[name], 16) == 0, name
    assert output.splitlines()[-1] == "0022"


@pytest.mark.parametrize("kind", ["huge", "pipe", "link", "directory"])
def test_a_hostile_passwd_file_does_no_harm(kind: str, box: Box) -> None:
    """CVE-2026-47262: HOME comes from the image's file, of which at most a mebibyte is read."""
    path = box.rootfs / "etc/passwd"
    path.unlink()
    if kind == "huge":
        with open(path, "wb") as file:
            file.truncate(1 << 30)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        os.symlink("/proc/self/mem", path)
    else:
        path.mkdir()
    started = time.monotonic()
    assert in_child(lambda: box.run("sh", "-c", "echo $HOME")) == (0, "/\n")
    assert time.monotonic() - started < 5


def test_home_comes_from_the_image_unless_given(box: Box) -> None:
    user = {"uid": 33, "gid": 33}

    def scenario() -> list[str]:
        given = box.run("sh", "-c", "echo $HOME", env=["PATH=/bin", "HOME=/x"]).output
        return [box.run("sh", "-c", "echo $HOME", user=user).output, given]

    assert in_child(scenario) == ["/var/www\n", "/x\n"]


# --- privileges ----------------------------------------------------------------------------------


def test_what_needs_privileges_is_refused(box: Box) -> None:
    script = """
    mknod /tmp/sda b 8 0; mount -t tmpfs none /tmp; chroot / true; hostname x
    cat /proc/1/root/etc/shadow /dev/mem; head -c 1 /dev/kmsg; echo done
    """
    done = in_child(lambda: box.run("sh", "-c", script))
    lines = done.output.splitlines()
    refused = re.compile("not permitted|ermission denied|No such file|can't open")
    assert lines[-1] == "done"
    assert len(lines) == 8
    assert not [line for line in lines[:-1] if not refused.search(line)], done


def test_no_new_privileges_and_a_filter(box: Box) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }

    def scenario() -> list[str]:
        outputs = []
        for no_new_privs in (False, True):
            spec = box.spec(
                "sh",
                "-c",
                "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; mkdir /tmp/x",
                noNewPrivileges=no_new_privs,
            )
            spec["linux"]["seccomp"] = profile
            outputs.append(box.run(spec=spec).output)
        spec = box.spec("sleep", "1000")
        spec["linux"]["seccomp"] = profile
        box.create(spec)
        box.runtime.start("c")
        return [*outputs, box.exec("mkdir", "/tmp/y").output]

    first, second, third = in_child(scenario)
    assert fields(first)["NoNewPrivs"] == "0"
    assert fields(second)["NoNewPrivs"] == "1"
    for output in (first, second):
        assert fields(output)["Seccomp"] == "2"
    for output in (first, second, third):
        assert "Function not implemented" in output


def test_the_session_keyring_is_not_the_callers() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    keyctl = 219 if os.uname().machine == "aarch64" else 250

    def session() -> int:
        return int(libc.syscall(keyctl, 0, -3, 0))  # KEYCTL_GET_KEYRING_ID

    def scenario() -> tuple[int, int]:
        before = session()
        leave_keyring()
        return before, session()

    if in_child(session) < 0:
        pytest.skip("needs a kernel with keyrings")
    before, after = in_child(scenario)
    assert before != after
