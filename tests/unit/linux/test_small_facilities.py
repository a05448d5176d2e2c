"""caps, rlimit, fds, pidfd, pty, prctl, ns: what needs no privilege."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import caps, fds, mount, ns, pidfd, prctl, pty, rlimit, statfs, task
from tests.unit.linux.child import in_child


def test_capability_names_and_numbers() -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert caps.last_cap() == int(file.read())
    assert caps.number("CAP_SYS_ADMIN") == 21
    assert caps.number(caps.NAMES[-1]) == 40
    wanted = ["CAP_CHOWN", "CAP_KILL", "CAP_AUDIT_READ"]
    assert caps.names(caps.mask(wanted)) == wanted
    assert caps.mask(["CAP_OF_THE_FUTURE"]) == 0
    assert caps.names(1 << 60) == ["CAP_60"]
    with pytest.raises(InvalidArgument):
        caps.number("CHOWN")


def test_available_capabilities_are_those_of_the_bounding_set() -> None:
    with open("/proc/self/status") as file:
        (bounding,) = (int(line[7:], 16) for line in file if line.startswith("CapBnd:"))
    assert caps.available() == [name for name in caps.names(bounding) if name in caps.NAMES]


def test_capability_sets_agree_with_proc() -> None:
    status = caps.read()
    effective, permitted, inheritable = caps.get()
    assert effective == status["effective"]
    assert permitted == status["permitted"]
    assert inheritable == status["inheritable"]
    assert caps.bounding() == status["bounding"]
    assert set(status) == {"inheritable", "permitted", "effective", "bounding", "ambient"}


def test_limits() -> None:
    def run() -> tuple[int, int]:
        rlimit.set("RLIMIT_NOFILE", 64, 128)
        return rlimit.get("RLIMIT_NOFILE")

    assert in_child(run) == (64, 128)
    assert rlimit.number("RLIMIT_RTTIME") == 15
    with pytest.raises(InvalidArgument):
        rlimit.number("RLIMIT_NONE")


def test_no_limit_is_minus_one() -> None:
    def run() -> tuple[int, int]:
        _, hard = rlimit.get("RLIMIT_CORE")
        rlimit.set("RLIMIT_CORE", 0 if hard != rlimit.INFINITY else -1, hard)
        return rlimit.get("RLIMIT_CORE")

    soft, hard = in_child(run)
    assert soft in (0, rlimit.INFINITY)
    assert hard > 0 or soft == 0


def test_close_range_marks_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[list[bool], bool]:
        highest = 200
        os.dup2(1, highest)
        os.dup2(1, highest + 1)
        fds.set_cloexec_from(highest)
        marked = [os.get_inheritable(fd) for fd in (highest, highest + 1)]
        fds.close_range(highest + 1)
        try:
            os.fstat(highest + 1)
        except OSError as error:
            return marked, error.errno == errno.EBADF
        return marked, False

    assert in_child(run) == ([False, False], True)
    # and where the kernel has no such call
    monkeypatch.setattr(fds, "_close_range", lambda *args: -1)
    monkeypatch.setattr(fds, "get_errno", lambda: errno.ENOSYS)
    assert in_child(run) == ([False, False], True)


def test_an_owned_descriptor_is_closed_once() -> None:
    with fds.Fd(os.open("/", os.O_RDONLY)) as number:
        os.fstat(number)
    with pytest.raises(OSError):
        os.fstat(number)
    owner = fds.Fd(os.open("/", os.O_RDONLY))
    with owner:
        kept = owner.detach()
    high = fds.move(kept, 100)
    assert high >= 100
    assert not os.get_inheritable(high)
    os.close(high)


def test_a_process_descriptor() -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    fd = pidfd.open(pid)
    try:
        assert pidfd.wait(fd, block=False) is None
        assert not pidfd.has_ended(fd)
        pidfd.send_signal(fd, signal.SIGTERM)
        assert pidfd.wait(fd) == 128 + signal.SIGTERM
        assert pidfd.has_ended(fd)
        with pytest.raises(KernelError) as caught:
            pidfd.send_signal(fd, signal.SIGTERM)
        assert caught.value.errno == errno.ESRCH
        with pytest.raises(KernelError) as caught:
            pidfd.wait(fd)
        assert caught.value.errno == errno.ECHILD
    finally:
        os.close(fd)
    with pytest.raises(KernelError) as caught:
        pidfd.open(pid)
    assert caught.value.errno == errno.ESRCH


def test_exit_status_through_a_process_descriptor() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(42)
    with fds.Fd(pidfd.open(pid)) as fd:
        assert pidfd.wait(fd) == 42


def test_a_pseudo_terminal() -> None:
    master, slave, number = pty.open_pty()
    try:
        assert os.ttyname(slave) == f"/dev/pts/{number}"
        assert not os.get_inheritable(master)
        assert not os.get_inheritable(slave)
        pty.set_size(master, 132, 43)
        assert pty.get_size(slave) == (132, 43)
        pty.set_size(master, -1, 1 << 20)
        assert pty.get_size(slave) == (0, 65535)
        mode = pty.set_raw(slave)
        os.write(master, b"\x03\r")  # cooked this would be a signal and a newline
        assert os.read(slave, 1) + os.read(slave, 1) == b"\x03\r"
        pty.restore(slave, mode)
        os.write(master, b"x\r")
        assert os.read(slave, 10) == b"x\n"
    finally:
        os.close(master)
        os.close(slave)


def test_what_is_no_terminal() -> None:
    with open(os.devnull) as file:
        for call in (pty.get_size, pty.set_raw, pty.set_controlling):
            with pytest.raises(KernelError) as caught:
                call(file.fileno())
            assert caught.value.errno == errno.ENOTTY
        pty.restore(file.fileno(), [0, 0, 0, 0, 0, 0, [b""] * 32])


def test_a_controlling_terminal() -> None:
    master, slave, _ = pty.open_pty()

    def run() -> bool:
        os.setsid()
        pty.set_controlling(slave)
        os.close(os.open("/dev/tty", os.O_RDWR))
        return os.tcgetpgrp(slave) == os.getpid()

    try:
        assert in_child(run)
    finally:
        os.close(master)
        os.close(slave)


def test_process_attributes() -> None:
    def run() -> tuple[int, int, str]:
        prctl.set_dumpable(False)
        prctl.set_no_new_privs()
        prctl.set_name("a-name-longer-than-15")
        dumpable = prctl.prctl(prctl.PR_GET_DUMPABLE)
        no_new_privs = prctl.prctl(prctl.PR_GET_NO_NEW_PRIVS)
        prctl.set_dumpable(True)
        with open("/proc/self/comm") as file:
            return dumpable, no_new_privs, file.read()

    assert in_child(run) == (0, 1, "a-name-longer-t\n")
    with pytest.raises(KernelError) as caught:
        prctl.prctl(123456)
    assert caught.value.errno == errno.EINVAL


def test_a_child_dies_with_its_parent() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        grandchild = os.fork()
        if grandchild == 0:
            prctl.set_pdeathsig(signal.SIGKILL)
            os.write(write, b"x")
            time.sleep(60)
        os.read(read, 1)
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 1) == b""  # all writers are gone: so is the grandchild
    os.close(read)


def test_the_kind_of_a_file_system() -> None:
    with fds.Fd(os.open("/proc/self", os.O_PATH)) as fd:
        assert statfs.filesystem_type(fd) == statfs.PROC_SUPER_MAGIC
    with fds.Fd(ns.open_ns("self", "mount")) as fd:
        assert statfs.filesystem_type(fd) == statfs.NSFS_MAGIC
    with pytest.raises(KernelError) as caught:
        statfs.filesystem_type(-1)
    assert caught.value.errno == errno.EBADF


def test_attributes_of_a_task() -> None:
    def run() -> str:
        task.set_io_priority(task.IOPRIO_CLASS_IDLE, 7)
        task.set_personality(task.PER_LINUX32)
        return os.uname().machine

    assert in_child(run) != os.uname().machine
    with pytest.raises(KernelError) as caught:
        task.set_io_priority(5, 0)
    assert str(caught.value) == "ioprio_set (class 5, priority 0): Invalid argument"


def test_a_session_keyring() -> None:
    def run() -> tuple[int | None, bool]:
        before = _keyrings()
        try:
            task.join_session_keyring()
        except KernelError as error:
            return error.errno, False
        return None, _keyrings() != before

    number, changed = in_child(run)
    if os.path.exists("/proc/keys"):
        assert (number, changed) == (None, True)
    else:
        assert number == errno.ENOSYS  # a kernel without keys


def _keyrings() -> str:
    try:
        with open("/proc/keys") as file:
            return "".join(line for line in file if "_ses" in line)
    except FileNotFoundError:
        return ""


def test_namespaces_have_a_number() -> None:
    for kind in ns.KINDS:
        assert ns.inode("self", kind) == ns.inode(os.getpid(), kind) > 0
        with fds.Fd(ns.open_ns("self", kind)) as fd:
            assert os.fstat(fd).st_ino == ns.inode("self", kind)
    with pytest.raises(KernelError):
        ns.inode("0", "mount")


def test_errors_name_flags_and_data(tmp_path: object) -> None:
    with pytest.raises(KernelError) as caught:
        mount.mount("none", "/no/such/target", "tmpfs", mount.MS_NODEV | mount.MS_RDONLY, "size=1")
    text = str(caught.value)
    assert text.startswith("mount /no/such/target (none, tmpfs, MS_RDONLY|MS_NODEV, size=1): ")
    with pytest.raises(InvalidArgument):
        mount.mount("none", "/tmp\0x", "tmpfs")
