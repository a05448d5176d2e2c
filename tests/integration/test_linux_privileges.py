"""What a process gives up and keeps: namespaces, ID maps, capabilities, system calls."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

import pytest

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import caps, fds, idmap, ns, openat2, pidfd, prctl, seccomp, trampoline
from jubako.linux.clone import CLONE_PARENT, clone
from tests.unit.linux.child import in_child

NOBODY = 65534


def status_after_exec(prepare: Any) -> dict[str, int]:
    """The capability sets that a program has when `prepare` ran before the exec."""
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            os.dup2(out_write, 1)
            trampoline.exec_via_trampoline(
                "/bin/cat", ["cat", "/proc/self/status"], {}, error_write
            )
        finally:
            os._exit(99)
    os.close(out_write)
    os.close(error_write)
    with open(out_read) as file:
        text = file.read()
    number = trampoline.read_error(error_read)
    os.close(error_read)
    assert (number, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) == (0, 0)
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return {key: int(fields[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


def test_a_dropped_capability_does_not_come_back_with_exec() -> None:
    keep = caps.mask(["CAP_CHOWN", "CAP_KILL"])

    def prepare() -> None:
        caps.drop_bounding(keep)
        caps.set(keep, keep, 0)

    sets = status_after_exec(prepare)
    assert sets["CapBnd"] == sets["CapPrm"] == sets["CapEff"] == keep
    assert sets["CapInh"] == sets["CapAmb"] == 0


def test_an_ambient_capability_survives_for_an_ordinary_user() -> None:
    wanted = caps.mask(["CAP_NET_BIND_SERVICE"])

    def prepare() -> None:
        caps.drop_bounding(wanted)
        prctl.set_keepcaps(True)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        caps.set(wanted, wanted, wanted)
        caps.set_ambient(wanted)

    sets = status_after_exec(prepare)
    assert sets == dict.fromkeys(sets, wanted)


def test_an_ordinary_user_has_nothing_without_ambient() -> None:
    def prepare() -> None:
        os.setresuid(NOBODY, NOBODY, NOBODY)

    sets = status_after_exec(prepare)
    assert sets["CapPrm"] == sets["CapEff"] == 0


def test_dropping_without_the_right_to() -> None:
    def run() -> tuple[int | None, str | None]:
        caps.set(0, 0, 0)
        try:
            caps.drop_bounding(0)
        except KernelError as error:
            return error.errno, error.path
        return None, None

    assert in_child(run) == (errno.EPERM, "CAP_CHOWN")


def test_more_than_is_permitted() -> None:
    def run() -> int | None:
        caps.set(0, 0, 0)
        try:
            caps.set(1, 1, 0)
        except KernelError as error:
            return error.errno
        return None

    assert in_child(run) == errno.EPERM


@pytest.mark.parametrize("kind", [kind for kind in ns.KINDS if kind not in ("pid", "time")])
def test_a_new_namespace_of_each_kind(kind: str) -> None:
    before = ns.inode("self", kind)

    def run() -> tuple[int, int]:
        with fds.Fd(ns.open_ns("self", kind)) as back:
            ns.unshare(ns.KINDS[kind][0])
            new = ns.inode("self", kind)
            if kind not in ("user", "mount"):
                ns.setns(back, ns.KINDS[kind][0])
        return new, ns.inode("self", kind)

    new, after = in_child(run)
    assert new != before
    assert after == (new if kind in ("user", "mount") else before)


def test_several_namespaces_of_a_process_at_once() -> None:
    read, write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        ns.unshare(ns.CLONE_NEWUTS | ns.CLONE_NEWIPC)
        socket.sethostname("inside")
        os.write(write, b"x")
        os.read(go_read, 1)
        os._exit(0)
    os.read(read, 1)
    with fds.Fd(pidfd.open(pid)) as fd:

        def run() -> str:
            ns.setns(fd, ns.CLONE_NEWUTS | ns.CLONE_NEWIPC)
            return socket.gethostname()

        assert in_child(run) == "inside"
        assert socket.gethostname() != "inside"
    os.write(go_write, b"x")
    os.waitpid(pid, 0)
    for number in (read, write, go_read, go_write):
        os.close(number)


def test_clone_makes_namespaces_and_siblings() -> None:
    ours = ns.inode("self", "user")
    read, write = os.pipe()

    def run() -> None:
        # a new user namespace owns the PID namespace made with it
        answer = struct.pack("=QQ", ns.inode("self", "user"), os.getpid())
        os.write(write, answer)
        os._exit(0)

    pid = clone(ns.CLONE_NEWUSER | ns.CLONE_NEWPID)
    if pid == 0:
        run()
    assert os.waitpid(pid, 0) == (pid, 0)
    inode, inside = struct.unpack("=QQ", os.read(read, 16))
    assert inode != ours
    assert inside == 1

    middle = os.fork()
    if middle == 0:
        sibling = clone(CLONE_PARENT)
        if sibling == 0:
            os._exit(5)
        os.write(write, struct.pack("=Q", sibling))
        os._exit(0)
    os.waitpid(middle, 0)
    (sibling,) = struct.unpack("=Q", os.read(read, 8))
    assert os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]) == 5
    os.close(read)
    os.close(write)


def test_flags_have_names_in_errors() -> None:
    def run() -> str:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWUTS)
        except KernelError as error:
            return str(error)
        return ""

    assert in_child(run) == "unshare (uts|mount): Operation not permitted"


def test_id_maps() -> None:
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    out_read, out_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        ns.unshare(ns.CLONE_NEWUSER)
        os.write(ready_write, b"x")
        os.read(go_read, 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        with open("/proc/self/setgroups") as file:
            answer = f"{os.getuid()} {os.getgid()} {file.read().strip()}"
        os.write(out_write, answer.encode())
        os._exit(0)
    try:
        os.read(ready_read, 1)
        mapping = [
            {"containerID": 0, "hostID": 100000, "size": 65536},
            {"containerID": 70000, "hostID": 300000, "size": 1},
        ]
        idmap.write(pid, mapping, mapping[:1], deny_setgroups=True)
        os.write(go_write, b"x")
        assert os.read(out_read, 100) == b"0 0 deny"
        with open(f"/proc/{pid}/uid_map") as file:
            assert [line.split() for line in file] == [
                ["0", "100000", "65536"],
                ["70000", "300000", "1"],
            ]
    finally:
        os.waitpid(pid, 0)
        for number in (ready_read, ready_write, go_read, go_write, out_read, out_write):
            os.close(number)


def test_id_maps_that_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        idmap.write("self", [], [])
    with pytest.raises(KernelError) as caught:  # this namespace has its map
        one = [{"containerID": 0, "hostID": 0, "size": 1}]
        idmap.write("self", one, one)
    assert caught.value.errno == errno.EPERM
    assert "0 0 1" in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_paths_are_safe_where_openat2_is_refused(number: int, tmp_path: Any) -> None:
    """The fallback, forced by a filter as on an old kernel or inside another engine."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_text("inside")
    (tmp_path / "file").write_text("outside")
    (tmp_path / "root/link").symlink_to("../../file")
    deny = {"names": ["openat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": number}
    bpf = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny]})

    def run() -> tuple[bytes, bool, int | None, bool]:
        seccomp.load(bpf)
        root = os.open(tmp_path / "root", os.O_PATH)
        content = openat2.read_in_root(root, "link", 100)
        os.close(openat2.mkdir_in_root(root, "a/b"))
        try:
            openat2.openat2(root, "file", os.O_RDONLY, 0, openat2.RESOLVE_IN_ROOT)
        except KernelError as error:
            return content, (tmp_path / "root/a/b").is_dir(), error.errno, openat2._missing
        return content, False, None, False

    assert in_child(run) == (b"inside", True, number, number == errno.ENOSYS)


def test_a_filter_holds_after_exec(tmp_path: Any) -> None:
    deny = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}
    bpf = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny]})
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.load(bpf)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            script = f"mkdir {tmp_path}/x; test ! -e {tmp_path}/x"
            trampoline.exec_via_trampoline("/bin/sh", ["sh", "-c", script], _path(), write)
        finally:
            os._exit(99)
    os.close(write)
    assert trampoline.read_error(read) == 0
    os.close(read)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_trampoline_where_execveat_is_refused() -> None:
    """A profile of a user's own may allow execve alone."""
    deny = {"names": ["execveat"], "action": "SCMP_ACT_ERRNO"}
    bpf = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny]})
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.load(bpf)
            trampoline.exec_via_trampoline("/no/such/program", ["x"], {}, write)
        finally:
            os._exit(99)
    os.close(write)
    assert trampoline.read_error(read) == errno.ENOENT
    os.close(read)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127


def test_the_memory_of_the_trampoline_is_not_python(tmp_path: Any) -> None:
    """CVE-2019-5736 from the attacker's side: who opens /proc/PID/exe gets the sealed copy."""
    read, write = os.pipe2(os.O_CLOEXEC)
    with open(read, "rb", buffering=0) as pipe:
        os.set_blocking(write, False)
        try:
            while True:
                os.write(write, bytes(4096))  # until the pipe is full: the trampoline waits in it
        except BlockingIOError:
            os.set_blocking(write, True)
        pid = os.fork()
        if pid == 0:
            try:
                trampoline.exec_via_trampoline("/no/such/program", ["x"], {}, write)
            finally:
                os._exit(99)
        os.close(write)
        while "jubako-exec" not in os.readlink(f"/proc/{pid}/exe"):
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        with fds.Fd(os.open(f"/proc/{pid}/exe", os.O_RDONLY)) as exe:
            assert os.read(exe, 4) == b"\x7fELF"
            assert os.fstat(exe).st_size < 300
        with open(f"/proc/{pid}/maps") as maps:
            assert "python" not in maps.read()
        data = b""
        while chunk := pipe.read(65536):
            data += chunk
        assert struct.unpack("<i", data[-4:]) == (errno.ENOENT,)
        os.waitpid(pid, 0)


def _path() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"}


def test_a_host_that_forbids_programs_in_memory() -> None:
    """vm.memfd_noexec belongs to a PID namespace, so that the test can set it."""
    sysctl = "/proc/sys/vm/memfd_noexec"
    if not os.path.exists(sysctl):
        pytest.skip("needs a kernel with vm.memfd_noexec (6.3)")

    def run() -> tuple[int | None, str | None]:
        ns.unshare(ns.CLONE_NEWPID)
        return in_child(forbid)

    def forbid() -> tuple[int | None, str | None]:
        with open(sysctl, "w") as file:
            file.write("2")
        try:
            os.close(trampoline.prepare(5))
        except KernelError as error:
            return error.errno, error.hint
        return None, None

    assert in_child(run) == (errno.EACCES, "the sysctl vm.memfd_noexec must be 0 or 1")
