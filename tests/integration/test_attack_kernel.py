"""What root in a container asks of the kernel and does not get: rows 7, 8, 11 and 12 of the list of
attacks, and what the issue names besides."""

from __future__ import annotations

import json
import os
import socket
import tarfile
from pathlib import Path

import pytest

from jubako import Engine
from jubako.oci import runtime_defaults
from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import (
    OFF,
    device,
    image_with,
    probe,
    python,
    python_options,
)

# `attempt(name, call, ...)` notes the name of the errno, "" for success.
PRELUDE = """
import ctypes, errno, json, os, platform, socket, stat, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
arm = platform.machine() == "aarch64"
seen = {}

def attempt(name, call, *arguments):
    try:
        call(*arguments)
        seen[name] = ""
    except OSError as error:
        seen[name] = errno.errorcode[error.errno]

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")

def call(x86, generic, *arguments):
    number = generic if arm else x86
    if number is None:
        raise OSError(errno.ENOSYS, "")
    as_c = {bytes: ctypes.c_char_p, int: ctypes.c_long}
    check(libc.syscall(ctypes.c_long(number), *(as_c[type(item)](item) for item in arguments)))

def open_as(path, flags):
    os.close(os.open(path, flags | os.O_NONBLOCK))
"""

# name: number on x86-64, on the others, arguments.  What would change the host if it were allowed
# is called with a bad pointer or a command without effect.
SYSTEM_CALLS = """
calls = {
    "mount": (165, 40, b"none", b"/tmp", b"tmpfs", 0, 0),
    "mount bind": (165, 40, b"/", b"/tmp", 0, 4096, 0),
    "remount": (165, 40, 0, b"/proc/sys", 0, 4096 | 32, 0),
    "umount": (166, 39, b"/proc/kcore", 2),
    "pivot_root": (155, 41, b"/tmp", b"/tmp"),
    "open_tree": (428, 428, -100, b"/", 1),
    "move_mount": (429, 429, -100, b"/proc", -100, b"/tmp", 0),
    "fsopen": (430, 430, b"tmpfs", 0),
    "mount_setattr": (442, 442, -100, b"/proc/sys", 0, b"\\0" * 32, 32),
    "setns": (308, 268, 0, 0),
    "unshare user": (272, 97, 0x10000000),
    "unshare mount": (272, 97, 0x20000),
    "clone user": (56, 220, 0x10000011, 0, 0, 0, 0),
    "add_key": (248, 217, b"user", b"name", b"x", 1, -3),
    "request_key": (249, 218, b"user", b"name", 0, -3),
    "keyctl": (250, 219, 0, -3, 0),
    "bpf": (321, 280, 0, b"\\0" * 128, 72),
    "perf_event_open": (298, 241, b"\\0" * 128, 0, -1, -1, 0),
    "init_module": (175, 105, b"", 0, b""),
    "finit_module": (313, 273, -1, b"", 0),
    "delete_module": (176, 106, b"none", 0),
    "kexec_load": (246, 104, 0, 0, 0, 0),
    "reboot": (169, 142, 0xFEE1DEAD, 0x28121969, 0, 0),
    "swapon": (167, 224, b"/nothing", 0),
    "swapoff": (168, 225, b"/nothing"),
    "acct": (163, 89, b"/nothing"),
    "quotactl": (179, 60, 0, 0, 0, 0),
    "settimeofday": (164, 170, 1, 1),
    "clock_settime": (227, 112, 0, 1),
    "iopl": (172, None, 3),
    "ioperm": (173, None, 0x80, 1, 1),
    "syslog": (103, 116, 3, 0, 0),
    "open_by_handle_at": (304, 265, -100, 0, 0),
    "sethostname": (170, 161, b"other", 5),
    "setdomainname": (171, 162, b"other", 5),
    "io_uring_setup": (425, 425, 1, 0),
    "userfaultfd": (323, 282, 0),
    "fanotify_init": (300, 262, 0, 0),
    "personality": (135, 92, 0x40000),
    "lookup_dcookie": (212, 18, 0, 0, 0),
    "vhangup": (153, 58),
    "move_pages": (279, 239, 1, 0, 0, 0, 0, 0),
}
for name, (x86, generic, *arguments) in calls.items():
    attempt(name, call, x86, generic, *arguments)
attempt("clone3", call, 435, 435, 0, 0)
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close())
attempt("alg", lambda: socket.socket(38, 5).close())
attempt("lower nice", os.setpriority, 0, 0, -5)
attempt("kill the host's init", os.kill, 2, 0)
print(json.dumps(seen))
"""


def test_system_calls_that_containers_do_not_have(jubako: Jubako, busybox: str) -> None:
    seen = probe(jubako, busybox, PRELUDE + SYSTEM_CALLS)
    assert seen.pop("clone3") == "ENOSYS"  # so that C libraries fall back to what can be filtered
    assert seen.pop("kill the host's init") == "ESRCH"
    assert seen.pop("lower nice") == "EACCES"
    others = {name: error for name, error in seen.items() if error not in ("EPERM", "ENOSYS")}
    assert others == {}
    # The probe tells the difference: without the filter some of these are allowed to everybody.
    free = probe(jubako, busybox, PRELUDE + SYSTEM_CALLS, "--security-opt", "seccomp=unconfined")
    assert free["unshare user"] == "" and free["personality"] == ""
    assert free["mount"] == free["sethostname"] == "EPERM"


WRITABLE = """
for top in ("/proc", "/sys"):
    for directory, names, files in os.walk(top):
        if directory == "/proc":
            names[:] = [name for name in names if not name.isdigit() and name != "self"
                        and name != "thread-self"]
        for name in files:
            path = f"{directory}/{name}"
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                    try:
                        os.write(opened, b"")  # EIO: it has no use for what is written
                        seen[path] = ""
                    except OSError as error:
                        if error.errno != errno.EIO:
                            seen[path] = errno.errorcode[error.errno]
                    finally:
                        os.close(opened)
            except OSError:
                pass
print(json.dumps(seen))
"""


@pytest.mark.parametrize("user", ["0", "1000"])
def test_no_file_of_the_kernel_can_be_written(user: str, jubako: Jubako, busybox: str) -> None:
    """All of /proc but the processes, all of /sys with its cgroups: what opens for writing."""
    seen = probe(jubako, busybox, PRELUDE + WRITABLE, "-u", user)
    # The kernel gives these to everybody: a trigger that tells its owner of pressure.
    assert {path for path in seen if not path.startswith("/proc/pressure/")} == set()


MASKED = """
masked, readonly = json.loads(sys.argv[1])
for path in masked:
    if not os.path.lexists(path):
        continue
    root = os.open("/proc/1/root", os.O_PATH)
    base = os.open(os.path.dirname(path), os.O_PATH)
    ways = (path, f"/proc/self/root{path}", f"/proc/1/root/proc/../{path}", f"/proc/self/cwd{path}",
            f"/proc/self/fd/{root}{path}", f"/proc/self/fd/{base}/{os.path.basename(path)}",
            f"/proc/thread-self/root{path}")
    for way in ways:
        info = os.stat(way)
        if stat.S_ISDIR(info.st_mode):
            content = os.listdir(way)
            attempt(f"make in {way}", lambda: os.mkdir(f"{way}/x"))
        else:
            assert info.st_rdev == os.makedev(1, 3), way
            content = open(way, "rb").read(100).decode()
        if content:
            seen[way] = "visible"
        attempt(f"rename {way}", os.rename, way, "/tmp/x")
        attempt(f"unlink {way}", os.unlink, way)
for path in readonly:
    if os.path.isfile(path):
        attempt(f"write {path}", open_as, path, os.O_WRONLY)
    for directory, _, files in os.walk(path):
        for name in files:
            attempt(f"write {directory}/{name}", open_as, f"{directory}/{name}", os.O_WRONLY)
seen["proc/self/attr"] = ""
for name in ("current", "exec", "fscreate", "keycreate", "sockcreate"):
    path = f"/proc/self/attr/{name}"
    attempt(f"attr {name}", lambda: os.write(os.open(path, os.O_WRONLY), b"unconfined"))
print(json.dumps(seen))
"""


def test_what_is_masked_is_hidden_on_every_way(
    jubako: Jubako, engine: Engine, busybox: str
) -> None:
    lists = [runtime_defaults.masked_paths(), list(runtime_defaults.READONLY_PATHS)]
    argv = python(PRELUDE + MASKED, json.dumps(lists))
    out = jubako.ok("run", "--rm", *OFF, *python_options(), busybox, *argv)
    seen = json.loads(out)
    seen.pop("proc/self/attr")
    assert sum(name.startswith("write ") for name in seen) > 100
    assert {error for name, error in seen.items() if name.startswith("write ")} <= {
        "EROFS", "EACCES", "EPERM"}  # fmt: skip
    assert [name for name, error in seen.items() if error in ("", "visible")] == []
    made = jubako.ok("create", *OFF, busybox)
    host = engine.containers.inspect(made)["HostConfig"]
    assert [host["MaskedPaths"], host["ReadonlyPaths"]] == lists


UNMASK = """
masked = [path for path in json.loads(sys.argv[1]) if os.path.lexists(path)]
check(libc.unshare(0x10000000 | 0x20000 | 0x20000000))  # user, mount, PID
for path in masked + ["/proc/sys", "/proc", "/sys"]:
    attempt(f"umount {path}", lambda: check(libc.umount2(path.encode(), 2)))
null = ctypes.c_void_p()
mount = lambda *arguments: check(libc.mount(*arguments, null))
os.mkdir("/tmp/m")
attempt("bind proc", mount, b"/proc", b"/tmp/m", null, 4096)
attempt("remount sys", mount, null, b"/proc/sys", null, 4096 | 32)
attempt("open_tree", call, 428, 428, -100, b"/proc", 1)
attempt("open_tree masked", call, 428, 428, -100, masked[0].encode(), 1)
attempt("move mask", mount, masked[0].encode(), b"/tmp/m", null, 8192)
attempt("writable", call, 442, 442, -100, b"/proc/sys", 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)
attempt("new sysfs", mount, b"sysfs", b"/tmp/m", b"sysfs", 0)
pid = os.fork()
if pid == 0:
    attempt("new proc", mount, b"proc", b"/tmp/m", b"proc", 0)
    os.write(1, json.dumps(seen).encode())
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_masks_stay_in_a_user_namespace_of_the_container(jubako: Jubako, busybox: str) -> None:
    """Without a filter a container may make one, and is root with all capabilities in it."""
    argv = python(PRELUDE + UNMASK, json.dumps(runtime_defaults.masked_paths()))
    out = jubako.ok("run", "--rm", *OFF, "--security-opt", "seccomp=unconfined", "--tmpfs", "/tmp",
                    *python_options(), busybox, *argv)  # fmt: skip
    seen = json.loads(out)
    assert len(seen) > 8
    # A copy of one mask is allowed, it is nothing but the mask.
    assert seen.pop("open_tree masked") in ("", "EINVAL", "EPERM")
    assert {error for error in seen.values()} <= {"EPERM", "EINVAL", "EBUSY"}, seen


# --- devices -------------------------------------------------------------------------------------


def host_devices() -> dict[str, str]:
    """kind:major:minor of devices that would give the host away, and where they come from."""
    found = {"c:1:1": "mem", "c:1:4": "port", "c:1:11": "kmsg", "c:4:0": "tty0", "c:10:237": "loop",
             "c:10:232": "kvm", "c:10:229": "fuse", "c:10:235": "autofs"}  # fmt: skip
    for line in Path("/proc/partitions").read_text().splitlines()[2:]:
        major, minor, _, name = line.split()
        found[f"b:{major}:{minor}"] = name
    return found


DEVICES = """
for number in sys.argv[1:]:
    kind, major, minor = number.split(":")
    path = f"/tmp/{number}"
    mode = stat.S_IFBLK if kind == "b" else stat.S_IFCHR
    attempt(f"make {number}", os.mknod, path, mode | 0o666, os.makedev(int(major), int(minor)))
    for name, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY)):
        attempt(f"{name} {number}", open_as, path, flags)
    attempt(f"path {number}", lambda: os.close(os.open(path, os.O_PATH)))
    attempt(f"by fd {number}", lambda: open_as(f"/proc/self/fd/{os.open(path, os.O_PATH)}", 0))
print(json.dumps(seen))
"""


def test_devices_of_the_host_can_be_made_and_not_opened(jubako: Jubako, busybox: str) -> None:
    numbers = list(host_devices())
    argv = python(PRELUDE + DEVICES, *numbers)
    seen = json.loads(jubako.ok("run", "--rm", *OFF, *python_options(), busybox, *argv))
    for number in numbers:
        assert seen[f"make {number}"] == "", "CAP_MKNOD is one of Docker's"
        for way in ("read", "write", "by fd"):
            assert seen[f"{way} {number}"] == "EPERM", (way, number)


def test_devices_of_images_and_binds_cannot_be_opened(
    engine: Engine, jubako: Jubako, busybox_tar: Path
) -> None:
    """The device cgroup decides, not who made the node."""
    numbers = list(host_devices())
    members = [
        device(
            f"dev-{number}", tarfile.BLKTYPE if number[0] == "b" else tarfile.CHRTYPE, number[2:]
        )
        for number in numbers
    ]
    image_with(engine, busybox_tar, members)
    nodes = [f"/dev-{number}" for number in numbers]
    binds: list[str] = []
    for name in ("kmsg", "loop-control", "fuse", *host_devices().values()):
        if Path("/dev", name).exists() and f"/bound-{name}" not in nodes:
            binds += ["-v", f"/dev/{name}:/bound-{name}"]
            nodes.append(f"/bound-{name}")
    script = f"for node in {' '.join(nodes)}; do test -e $node && head -c 1 $node; done"
    done = jubako("run", "--rm", *OFF, *binds, "evil", "sh", "-c", script)
    lines = done.stderr.splitlines()
    assert len(lines) == len(nodes) and done.stdout == ""
    assert all(line.endswith("Operation not permitted") for line in lines), lines


# --- other processes -----------------------------------------------------------------------------

OTHERS = """
target = int(sys.argv[1])
attempt("ptrace", lambda: check(libc.ptrace(16, target, 0, 0)))
attempt("read memory", lambda: call(310, 270, target, 0, 0, 0, 0, 0) or
        open(f"/proc/{target}/mem", "rb").read(1))
for name in ("root", "cwd", "exe", "ns/mnt", "ns/pid"):
    attempt(name, os.readlink, f"/proc/{target}/{name}")
for name in ("environ", "maps", "mem", "syscall", "stack", "auxv", "io"):
    attempt(name, lambda: open(f"/proc/{target}/{name}", "rb").read(1))
attempt("descriptor", os.readlink, f"/proc/{target}/fd/0")
attempt("host's files", os.listdir, f"/proc/{target}/root/etc")
attempt("steal a descriptor", lambda: call(438, 438, os.pidfd_open(target), 0, 0))
print(json.dumps(seen))
"""


def test_a_container_in_the_hosts_pid_namespace_cannot_look_into_its_processes(
    jubako: Jubako, busybox: str
) -> None:
    """It sees them, as --pid host says, and has less rights than they have."""
    argv = python(PRELUDE + OTHERS, str(os.getpid()))
    options = ("--rm", *OFF, "--pid", "host", *python_options(), busybox)
    seen = json.loads(jubako.ok("run", *options, *argv))
    assert {name for name, error in seen.items() if error not in ("EPERM", "EACCES")} == set()
    assert len(seen) == 17
    assert str(os.getpid()) in jubako.ok("run", *options, "ls", "/proc").split()


def test_a_container_sees_and_reaches_no_other(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "other", *OFF, busybox, "sleep", "61")
    script = """
    for pid in $(ls /proc | grep '^[0-9]'); do tr '\\0' ' ' < /proc/$pid/cmdline; done; echo
    stat -c %d:%i / /proc/1/root/. | uniq | tr -d '\\n'
    """
    out = jubako.ok("run", "--rm", *OFF, busybox, "sh", "-c", script)
    assert "sleep 61" not in out and "python" not in out
    assert out.splitlines()[-1].count(":") == 1  # one directory, not two


CHROOT = """
os.makedirs("/tmp/jail", exist_ok=True)
top = os.open("/", os.O_RDONLY)
before = sorted(os.listdir("/"))
os.chroot("/tmp/jail")
os.fchdir(top)
for _ in range(100):
    os.chdir("..")
os.chroot(".")
seen["same"] = sorted(os.listdir("/")) == before and "/" == os.getcwd()
print(json.dumps(seen))
"""


def test_leaving_a_chroot_leads_to_the_containers_root(jubako: Jubako, busybox: str) -> None:
    assert probe(jubako, busybox, PRELUDE + CHROOT) == {"same": True}


# --- network -------------------------------------------------------------------------------------

NETWORK = """
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[1]))
for address in sys.argv[2:]:
    def connect():
        with socket.socket() as handle:
            handle.settimeout(1)
            handle.connect((address, 9))
    try:
        attempt(address, connect)
    except TimeoutError:
        seen[address] = "timeout"
seen["links"] = sorted(name for _, name in socket.if_nameindex())
seen["routes"] = len(open("/proc/net/route").read().splitlines()) - 1
print(json.dumps(seen))
"""


def test_network_none_leads_nowhere_and_abstract_sockets_stay_the_hosts(
    jubako: Jubako, busybox: str
) -> None:
    name = f"jbk-canary-{os.getpid()}"
    addresses = ("192.0.2.1", "10.0.0.1", "172.17.0.1", "169.254.169.254")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        for network in ("none", "bridge", "host"):
            given = addresses if network == "none" else ()
            argv = python(PRELUDE + NETWORK, name, *given)
            options = ("--rm", "--network", network, *python_options())
            seen = json.loads(jubako.ok("run", *options, busybox, *argv))
            # --network host shares what belongs to the network namespace, as with Docker.
            assert seen["abstract"] == ("" if network == "host" else "ECONNREFUSED"), network
            if network == "none":
                assert seen["links"] == ["lo"] and seen["routes"] == 0
                assert {seen[address] for address in addresses} == {"ENETUNREACH"}


# --- what is asked for ---------------------------------------------------------------------------


def test_shared_namespaces_are_what_they_say(jubako: Jubako, busybox: str) -> None:
    """--ipc host reaches the host's shared memory and no more; --uts host cannot rename it."""
    mark = Path(f"/dev/shm/jbk-{os.getpid()}")
    mark.write_text("shared")
    try:
        script = f"cat {mark}; hostname; hostname other || echo refused"
        out = jubako.ok("run", "--rm", *OFF, "--ipc", "host", "--uts", "host", busybox, "sh", "-c",
                        script)  # fmt: skip
        assert out.splitlines() == [f"shared{os.uname().nodename}", "refused"]
        out = jubako.ok("run", "--rm", *OFF, busybox, "sh", "-c", f"test -e {mark} || echo no")
        assert out == "no"
    finally:
        mark.unlink()
    assert os.uname().nodename != "other"


PRIVILEGED = """
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
seen["status"] = {key: status[key].strip() for key in ("Seccomp", "CapEff", "CapBnd", "CapInh",
                                                       "CapAmb", "NoNewPrivs")}
attempt("mount", lambda: check(libc.mount(b"x", b"/tmp", b"tmpfs", 0, None)))
attempt("sysctl", open_as, "/proc/sys/kernel/panic", os.O_WRONLY)
attempt("kcore", open_as, "/proc/kcore", os.O_RDONLY)
attempt("sys", open_as, "/sys/kernel/mm/transparent_hugepage/enabled", os.O_WRONLY)
attempt("hostname", lambda: check(libc.sethostname(b"other", 5)))
attempt("unshare", lambda: check(libc.unshare(0x10000000)))
attempt("personality", lambda: check(libc.personality(0x40000)))
seen["devices"] = sorted(os.listdir("/dev"))
groups = [line.split() for line in open("/proc/self/mountinfo")]
seen["cgroups"] = sorted({fields[5].split(",")[0] for fields in groups
                          if fields[4].startswith("/sys/fs/cgroup/")})
seen["host"] = os.path.exists("/proc/1/root/" + sys.argv[1])
print(json.dumps(seen))
"""


def test_privileged_is_everything_that_docker_gives(
    jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    argv = python(PRELUDE + PRIVILEGED, str(tmp_path))
    options = ("--rm", *OFF, "--privileged", *python_options(), busybox)
    seen = json.loads(jubako.ok("run", *options, *argv))
    for name in ("mount", "sysctl", "kcore", "hostname", "unshare", "personality"):
        assert seen[name] in ("", "ENOENT"), name
    assert seen["sys"] in ("", "ENOENT")
    assert seen["cgroups"] in (["rw"], [])
    ours = int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
                    if line.startswith("CapBnd")), 16)  # fmt: skip
    for kind in ("CapEff", "CapBnd"):
        assert int(seen["status"][kind], 16) == ours
    assert seen["status"]["CapInh"] == seen["status"]["CapAmb"] == "0" * 16
    assert seen["status"]["Seccomp"] == "0" and seen["status"]["NoNewPrivs"] == "0"
    nodes = {path.name for path in Path("/dev").iterdir() if not path.is_symlink()
             and (path.is_char_device() or path.is_block_device())}  # fmt: skip
    assert nodes - {"console", "ptmx"} <= set(seen["devices"])
    assert not seen["host"]  # the files are still those of the image
    assert os.uname().nodename != "other"
