"""trampoline: the last step before a container's program."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux import trace, trampoline


def start(path: str, argv: list[str], env: dict[str, str] | None = None) -> tuple[int, int, str]:
    """errno as the parent reads it, exit status, and what the program printed."""
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(out_write, 1)
            trampoline.exec_via_trampoline(path, argv, env or {}, error_write)
        finally:
            os._exit(99)
    os.close(error_write)
    os.close(out_write)
    try:
        number = trampoline.read_error(error_read)
        with open(out_read) as file:
            output = file.read()
    finally:
        os.close(error_read)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return number, status, output


def test_the_program_gets_its_arguments_and_environment() -> None:
    script = 'printf "%s|" "$0" "$@" "$A"; exit 5'
    assert start("/bin/sh", ["sh", "-c", script, "zero", "", "b c"], {"A": "ü"}) == (
        0,
        5,
        "zero||b c|ü|",
    )


def test_many_and_long_arguments() -> None:
    argv = ["sh", "-c", 'echo "$#"', "x", *(str(n) * 50 for n in range(2000))]
    assert start("/bin/sh", argv) == (0, 0, "2000\n")


def test_argv0_is_free() -> None:
    _, _, name = start("/bin/sh", ["another name", "-c", 'echo "$0"'])
    assert name == "another name\n"


@pytest.mark.parametrize(
    ("path", "number"),
    [("/no/such/program", errno.ENOENT), ("/etc/passwd", errno.EACCES), ("/etc", errno.EACCES)],
)
def test_failures_reach_the_parent_as_errno(path: str, number: int) -> None:
    assert start(path, ["x"]) == (number, 127, "")


def test_a_program_of_unknown_format(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no format\n")
    path.chmod(0o755)
    assert start(str(path), ["x"]) == (errno.ENOEXEC, 127, "")


def test_a_missing_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    assert start(str(path), ["x"]) == (errno.ENOENT, 127, "")


def test_the_error_descriptor_does_not_reach_the_program() -> None:
    _, _, listed = start("/bin/sh", ["sh", "-c", "readlink /proc/$$/fd/*"])
    # standard output is a pipe too; the error pipe would be a second one, for writing
    own = [line for line in listed.splitlines() if line.startswith("pipe:")]
    inherited = {
        os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _survives(fd)
    }
    assert len(set(own) - inherited) == 1


def _survives(fd: str) -> bool:
    try:
        return not fcntl.fcntl(int(fd), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    except OSError:
        return False


def test_proc_self_exe_as_program_ends_and_does_not_loop() -> None:
    """CVE-2019-5736: the trampoline is what runs again; it finds no error descriptor and ends."""
    assert start("/proc/self/exe", ["x", "y"]) == (0, 127, "")


def test_proc_self_exe_as_interpreter_is_not_python(tmp_path: Path) -> None:
    """CVE-2019-5736: a script `#!/proc/self/exe` would make the host's Python run the container's
    words.  Were Python still there, it would print; the trampoline ends with 127."""
    path = tmp_path / "script"
    path.write_text("#!/proc/self/exe\nprint('python ran this')\n")
    path.chmod(0o755)
    assert start(str(path), ["x"]) == (0, 127, "")
    # without it the script is read by Python: this test can tell the difference
    done = subprocess.run([str(path)], stdout=subprocess.PIPE, check=False)
    assert done.stdout == b"python ran this\n"


def test_the_running_program_is_a_sealed_memfd() -> None:
    """While the trampoline runs, /proc/PID/exe is the memfd: nobody can write to it."""
    read, write = os.pipe2(os.O_CLOEXEC)
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    fifo_full = os.write(write, b"")  # nothing: the pipe below is filled by the child
    assert fifo_full == 0
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"\0" * 4096)  # so the trampoline blocks in write(error_fd)
    pid = os.fork()
    if pid == 0:
        try:
            trampoline.exec_via_trampoline("/no/such/program", ["x"], {}, write)
        finally:
            os._exit(99)
    os.close(gate_read)
    os.close(gate_write)
    try:
        while "jubako-exec" not in os.readlink(f"/proc/{pid}/exe"):
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        with pytest.raises(OSError) as caught:
            os.close(os.open(f"/proc/{pid}/exe", os.O_WRONLY))
        # ETXTBSY or EPERM on open; where the open succeeds the seals refuse the write
        assert caught.value.errno in (errno.ETXTBSY, errno.EPERM, errno.EACCES)
    finally:
        assert len(os.read(read, 4096)) == 4096
        assert struct.unpack("<i", os.read(read, 4)) == (errno.ENOENT,)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
        os.close(read)
        os.close(write)


def test_the_trace_shows_the_exec_before_it_happens() -> None:
    events: list[trace.Event] = []
    with trace.to(events.append), pytest.raises(KernelError):
        trampoline.execute(-1, "/bin/sh", ["sh", "-c", "echo a b"], {})
    assert [event.shell for event in events] == ["exec -a sh /bin/sh -c 'echo a b'"]


def test_the_memfd_is_sealed() -> None:
    fd = trampoline.prepare(5)
    try:
        assert not os.get_inheritable(fd)
        for change in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 1)):
            with pytest.raises(OSError) as caught:
                change()
            assert caught.value.errno == errno.EPERM
    finally:
        os.close(fd)


def test_a_nul_byte_is_refused() -> None:
    memfd = trampoline.prepare(5)
    try:
        with pytest.raises(InvalidArgument):
            trampoline.execute(memfd, "/bin/true", ["true\0x"], {})
    finally:
        os.close(memfd)


def test_limits_of_the_image() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(trampoline.image(3, machine)) < 300
        assert trampoline.image(3, machine) != trampoline.image(0xFFFF, machine)
    with pytest.raises(Unsupported):
        trampoline.image(3, "vax")
    with pytest.raises(KernelError):
        trampoline.image(1 << 16)


def test_the_image_for_the_other_machine(tmp_path: Path) -> None:
    """Under user-mode emulation, where it is installed."""
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("needs qemu-aarch64-static")
    path = tmp_path / "trampoline"
    read, write = os.pipe2(os.O_CLOEXEC)
    path.write_bytes(trampoline.image(write, "aarch64"))
    path.chmod(0o755)

    def run(*argv: str) -> int:
        command = [emulator, "-0", argv[0], str(path), *argv[1:]]
        return subprocess.run(command, pass_fds=(write,), check=False).returncode

    assert run("/bin/sh", "sh", "-c", "exit $1", "x", "5") == 5
    assert run("/no/such/program", "x") == 127
    assert struct.unpack("<i", os.read(read, 4)) == (errno.ENOENT,)
    os.close(write)
    os.close(read)
