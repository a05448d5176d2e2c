"""What a container sees and gets hold of while a process enters it: rows 1 to 3 of the list of
attacks."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jubako import Engine
from tests.fixtures.engine import COMMAND, Jubako
from tests.integration.attack_tools import (
    OFF,
    PYTHON,
    file,
    image_with,
    link,
    pipe,
    python,
    python_options,
    wait_for,
)

# Looks at every process but itself, as fast as it can, and tries to get hold of what it is made of.
WATCH = """
import json, os
own = {name: open(f"/proc/self/{name}").read() for name in ("mountinfo", "net/unix")}
links = lambda text: sorted(line.split(":")[0].strip() for line in text.splitlines()[2:])
own_links = links(open("/proc/self/net/dev").read())
seen = {key: set() for key in ("exe", "opened", "cmdline", "mounts", "links", "held", "denied")}
open("/out/ready", "w").close()
while not os.path.exists("/out/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == "1":
            continue
        base = f"/proc/{pid}"
        try:
            seen["cmdline"].add(open(f"{base}/cmdline").read().replace("\\0", " ").strip())
            if open(f"{base}/mountinfo").read() != own["mountinfo"]:
                seen["mounts"].add(pid)
            if links(open(f"{base}/net/dev").read()) != own_links:
                seen["links"].add(pid)
        except OSError:
            pass
        for name in ("root", "cwd", "fd", "environ", "mem", "map_files", "exe"):
            try:
                if name in ("exe", "root", "cwd"):
                    what = os.readlink(f"{base}/{name}")
                elif name in ("fd", "map_files"):
                    what = str(len(os.listdir(f"{base}/{name}")))
                else:
                    what = "opened"
                    os.close(os.open(f"{base}/{name}", os.O_RDONLY))
                seen["exe" if name == "exe" else "held"].add(f"{name} {what}")
            except PermissionError:
                seen["denied"].add(name)
                continue
            except OSError:
                continue
            if name == "exe":
                for flags in (os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
                    try:
                        fd = os.open(f"{base}/exe", flags)
                        os.write(fd, b"#")
                        seen["opened"].add(what)
                    except OSError:
                        pass
with open("/out/result", "w") as file:
    json.dump({key: sorted(value) for key, value in seen.items()}, file)
"""


@pytest.mark.parametrize("how", ["exec", "run"])
def test_a_process_that_enters_shows_nothing_of_the_host(
    how: str, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    """CVE-2019-5736, and what /proc/PID tells about any process: mounts, network, command line."""
    out = tmp_path / "out"
    out.mkdir()
    interpreter = hashlib.sha256(Path(PYTHON).read_bytes()).digest()
    share = ("-v", f"{out}:/out", *python_options())
    jubako.ok("run", "-d", "--name", "watch", *share, busybox, *python(WATCH))
    wait_for((out / "ready").exists, "the watcher's start")
    for number in range(24):
        user = ("-u", "1000") if number % 3 == 0 else ()
        if how == "exec":
            jubako.ok("exec", *user, "-e", "TOKEN=canary", "watch", "/bin/true")
        elif number % 4 == 0:
            jubako.ok("run", "--rm", *OFF, *user, "-e", "TOKEN=canary", "--pid", "container:watch",
                      busybox, "/bin/true")  # fmt: skip
    (out / "stop").touch()
    jubako.ok("wait", "watch")
    seen = json.loads((out / "result").read_text())
    assert seen["denied"], "the watcher saw no process enter"
    assert not [line for line in seen["cmdline"] if "canary" in line or "jubako" in line], seen
    assert not [name for name in seen["exe"] if "python" in name], seen
    assert seen["opened"] == []
    # The memory and the descriptors are those of the program, once it runs.
    assert not [name for name in seen["held"] if name.split()[0] in ("root", "cwd")
                and name.split()[1] != "/"], seen  # fmt: skip
    if how == "exec":  # with `run` in the PID namespace of another the mounts are yet to be made
        assert seen["mounts"] == [] and seen["links"] == []
    assert hashlib.sha256(Path(PYTHON).read_bytes()).digest() == interpreter


def test_what_executes_a_script_is_never_the_interpreter(
    engine: Engine, jubako: Jubako, busybox_tar: Path
) -> None:
    """`/proc/self/exe` as program, and as interpreter of the program (CVE-2019-5736)."""
    members = [file("script", "#!/proc/self/exe\n", 0o755), link("itself", "/proc/self/exe")]
    poison = ["ENV LD_PRELOAD=/evil.so", "ENV PYTHONPATH=/evil", "ENV PYTHONINSPECT=1"]
    image_with(engine, busybox_tar, members, changes=poison)
    before = hashlib.sha256(Path(PYTHON).read_bytes()).digest()
    jubako.ok("run", "-d", "--name", "box", *OFF, "evil", "sleep", "60")
    for program in ("/script", "/itself", "/proc/self/exe", "/proc/1/../self/exe"):
        for command in (("run", "--rm", *OFF, "evil"), ("exec", "box")):
            done = jubako(*command, program, "-c", "print('python')")
            assert done.status in (126, 127), done
            assert "python" not in done.stdout
    assert hashlib.sha256(Path(PYTHON).read_bytes()).digest() == before


# --- row 2 ---------------------------------------------------------------------------------------


def with_descriptors(jubako: Jubako, *args: str, give: int, numbers: range) -> tuple[int, str]:
    """Run a command that inherits `give` under many numbers; its status and both outputs."""
    script = f"""
import os, sys
for number in range({numbers.start}, {numbers.stop}):
    os.dup2({give}, number)
os.execv(sys.argv[1], sys.argv[1:])
"""
    argv = [sys.executable, "-c", script]
    done = subprocess.run(
        [*argv, COMMAND, *args],
        env={**os.environ, **jubako.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        close_fds=False,
        timeout=60,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.fixture
def host_directory(tmp_path: Path) -> Iterator[int]:
    """A descriptor, to be inherited, of a directory of the host."""
    (tmp_path / "host-directory").mkdir()
    fd = os.open(tmp_path / "host-directory", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    yield fd
    os.close(fd)


LIST = "cd /proc/self/fd; for f in *; do echo $f $(readlink $f); done; readlink /proc/self/cwd"


@pytest.mark.parametrize("terminal", [False, True])
def test_descriptors_of_the_caller_reach_nobody(
    terminal: bool, jubako: Jubako, busybox: str, host_directory: int
) -> None:
    numbers = range(100, 120)
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "60")
    option = ("-t",) if terminal else ()
    for command in (("run", "--rm", *option, *OFF, busybox), ("exec", *option, "box")):
        status, output = with_descriptors(
            jubako, *command, "sh", "-c", LIST, give=host_directory, numbers=numbers
        )
        assert status == 0, output
        lines = [line.split() for line in output.splitlines()]
        assert lines.pop() == ["/proc/self/fd"] or lines  # the cd of the script
        opened = {line[0]: line[-1] for line in lines if line[0].isdigit()}
        # 3 and 10 are the shell's own, for the directory and its terminal
        assert set(opened) <= {"0", "1", "2", "3", "10"}, output
        assert "host-directory" not in output


def test_a_monitor_keeps_no_descriptor_of_its_caller(jubako: Jubako, busybox: str) -> None:
    """Else whoever waits for the other end of a pipe waits until the container ends."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        status, output = with_descriptors(
            jubako, "run", "-d", *OFF, busybox, "sleep", "60", give=write, numbers=range(50, 53)
        )
        assert status == 0, output
        os.close(write)
        write = -1
        os.set_blocking(read, False)
        assert os.read(read, 1) == b""  # the end, not EAGAIN
    finally:
        for fd in (read, write):
            if fd >= 0:
                os.close(fd)


def test_no_descriptor_is_a_working_directory(
    engine: Engine, jubako: Jubako, busybox_tar: Path, host_directory: int
) -> None:
    """CVE-2024-21626, by option and by an image's WORKDIR that is a link."""
    members = [link(f"wd{number}", f"/proc/self/fd/{number}") for number in range(3, 13)]
    image_with(engine, busybox_tar, members)
    numbers = range(3, 13)
    jubako.ok("run", "-d", "--name", "box", *OFF, "evil", "sleep", "60")
    for number in (*numbers, "1/root", "1/cwd"):
        path = f"/proc/self/fd/{number}" if isinstance(number, int) else f"/proc/{number}"
        directories = (path, f"/wd{number}") if number in (3, 7, 8) else (path,)
        for directory in directories:
            for command in (("run", "--rm", *OFF), ("exec",)):
                target = "evil" if command[0] == "run" else "box"
                status, output = with_descriptors(
                    jubako, *command, "-w", directory, target, "ls", "-la", ".",
                    give=host_directory, numbers=numbers,
                )  # fmt: skip
                assert status != 0 and "chdir to cwd" in output, (directory, output)


# --- row 3 ---------------------------------------------------------------------------------------


def test_nothing_of_an_image_is_loaded(
    engine: Engine, jubako: Jubako, busybox_tar: Path, tmp_path: Path
) -> None:
    """CVE-2019-14271: modules where the engine's Python looks for them, which leave a mark, and
    libraries and tables of the C library, which stop who opens them for ever."""
    search = {path.lstrip("/") for path in sys.path if path.startswith("/")}
    search |= {os.path.dirname(os.__file__).lstrip("/"), "usr/lib/python3/dist-packages"}
    mark = "open('/poisoned', 'a').write(__name__)\n"
    members = [
        file(f"{path}/{module}.py", mark)
        for path in search
        for module in ("pwd", "grp", "socket", "encodings/idna", "_strptime", "subprocess",
                       "ctypes/util", "json/decoder", "jubako/errors", "sitecustomize", "stat")
    ]  # fmt: skip
    multiarch = f"{os.uname().machine}-linux-gnu"
    names = ["nss_files.so.2", "nss_compat.so.2", "nss_dns.so.2", "c.so.6", "gcc_s.so.1"]
    members += [
        pipe(f"{lib}/{multiarch}/lib{name}") for lib in ("lib", "usr/lib") for name in names
    ]
    members += [pipe(f"etc/{name}") for name in ("nsswitch.conf", "ld.so.cache", "ld.so.preload",
                "localtime", "host.conf", "shadow", "gai.conf")]  # fmt: skip
    members += [pipe("usr/lib/locale/locale-archive"), pipe("etc/ssl/openssl.cnf")]
    image_with(engine, busybox_tar, members)
    jubako.ok("run", "-d", "--name", "box", "-u", "www-data", "evil", "sleep", "60")
    assert jubako.ok("exec", "-u", "mail:daemon", "box", "id", "-un") == "mail"
    terminal = jubako.terminal("exec", "-it", "box", "id", "-un")
    terminal.expect("www-data")
    assert terminal.wait() == 0
    jubako.ok("exec", "-d", "box", "true")
    jubako.ok("top", "box")
    jubako.ok("commit", "box", "committed")
    jubako.ok("export", "-o", str(tmp_path / "exported"), "box")
    jubako.ok("stop", "-t", "0", "box")
    jubako.ok("start", "box")
    assert jubako("exec", "box", "test", "-e", "/poisoned").status == 1


@contextmanager
def opens(path: str) -> Iterator[list[str]]:
    """Every file of the file system at `path` that anybody opens or executes (fanotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.fanotify_init(1 | 2, os.O_RDONLY | os.O_CLOEXEC)  # FAN_CLOEXEC, FAN_NONBLOCK
    if fd < 0:
        pytest.skip(f"needs fanotify ({os.strerror(ctypes.get_errno())})")
    found: list[str] = []
    try:
        mark = libc.fanotify_mark
        mark.argtypes = [
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint64,
            ctypes.c_int,
            ctypes.c_char_p,
        ]
        # FAN_MARK_ADD | FAN_MARK_FILESYSTEM; FAN_OPEN | FAN_OPEN_EXEC
        assert mark(fd, 0x101, 0x1020, -100, os.fsencode(path)) == 0, os.strerror(
            ctypes.get_errno()
        )
        yield found
        while True:
            try:
                data = os.read(fd, 4096)
            except BlockingIOError:
                break
            while data:
                length, _, _, _, _, opened, _ = struct.unpack_from("=IBBHQii", data)
                found.append(os.readlink(f"/proc/self/fd/{opened}"))
                os.close(opened)
                data = data[length:]
    finally:
        os.close(fd)


def test_exec_opens_the_program_and_the_accounts(
    engine: Engine, jubako: Jubako, busybox: str
) -> None:
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "60")
    pid = engine.containers.inspect("box")["State"]["Pid"]
    with opens(f"/proc/{pid}/root") as found:
        jubako.ok("exec", "-u", "mail", "box", "/bin/true")
    names = {path.rpartition("/")[2] for path in found}
    assert names <= {"passwd", "group", "true", "busybox"} and "passwd" in names, found


def test_exec_enters_the_containers_root_and_not_one_that_init_has_chosen(
    jubako: Jubako, busybox: str
) -> None:
    """A first process that calls chroot(2) must not decide which programs and accounts are used."""
    script = """
    mkdir -p /jail/bin /jail/etc; cp /bin/busybox /jail/bin/; echo "false" > /jail/where
    echo real > /where
    exec chroot /jail /bin/busybox sh -c 'echo > /ready; exec /bin/busybox sleep 60'
    """
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sh", "-c", script)
    wait_for(lambda: jubako("exec", "box", "test", "-e", "/jail/ready").status == 0, "the chroot")
    assert jubako.ok("exec", "box", "cat", "/where") == "real"
    terminal = jubako.terminal("exec", "-it", "box", "cat", "/where")
    terminal.expect("real")
    assert terminal.wait() == 0
