"""One of the two engines, and what /proc says of its processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from jubako.linux import ns

PREFIX = "jubako-bench"
BUSYBOX = f"{PREFIX}-busybox:latest"


class Side:
    """One of the engines: how to call it.

    registry_flags: what `pull` and `push` need for a registry without TLS on the loopback.
    network_of: a process in whose network namespace the commands run; None: in ours.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        *,
        registry_flags: tuple[str, ...] = (),
        network_of: int | None = None,
    ):
        self.name = name
        self.command = command
        self.registry_flags = registry_flags
        self._network_of = network_of
        self._env = {**os.environ, **env}
        # An installed program has its bytecode beside it; here the unmeasured round writes it.
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)

    def __call__(self, *args: str, stdin: Path | None = None, stdout: Path | None = None) -> str:
        """Run a command and return its output; RuntimeError says what it printed otherwise.

        stdout: where the output goes instead.
        """
        with open(stdin or os.devnull, "rb") as source, ExitStack() as stack:
            target = subprocess.PIPE if stdout is None else stack.enter_context(stdout.open("wb"))
            done = subprocess.run(
                [*self.command, *args],
                stdin=source,
                stdout=target,
                stderr=subprocess.PIPE,
                text=True,
                env=self._env,
                preexec_fn=self._enter_network,
            )
        if done.returncode:
            raise RuntimeError(f"{self.name} {' '.join(args)}: {done.returncode}\n{done.stderr}")
        return (done.stdout or "").strip()

    def _enter_network(self) -> None:
        if self._network_of is not None:
            enter_network_of(self._network_of)

    def timed(self, *args: str, stdin: Path | None = None, stdout: Path | None = None) -> float:
        """Run a command and return how long it took, in seconds."""
        started = time.perf_counter()
        self(*args, stdin=stdin, stdout=stdout)
        return time.perf_counter() - started

    def peak_bytes(self, *args: str) -> float:
        """Run a command and return the most memory that it had resident (getrusage(2))."""
        with open(os.devnull, "rb+") as null:
            process = subprocess.Popen(
                [*self.command, *args],
                stdin=null,
                stdout=null,
                stderr=null,
                env=self._env,
                preexec_fn=self._enter_network,
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.name} {' '.join(args)}: {process.returncode}")
        return usage.ru_maxrss * 1024.0

    def pid(self, container: str) -> int:
        """The PID of a container's init."""
        return int(self("inspect", "--format", "{{.State.Pid}}", container))


def enter_network_of(pid: int) -> None:
    """Go into the network namespace of a process, where its loopback is."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ns.setns(fd, ns.CLONE_NEWNET)
    finally:
        os.close(fd)


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def network_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def pss_bytes(pid: int) -> int:
    """The proportional set size: shared pages count by the share (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"no Pss in /proc/{pid}/smaps_rollup")


def daemon_pid(docker: list[str]) -> int:
    """The PID of the dockerd at the other end of Docker's socket (unix(7), SO_PEERCRED)."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    for before, word in zip(docker, docker[1:], strict=False):
        if before in ("-H", "--host"):
            host = word
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(host.removeprefix("unix://"))
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def engine_pids(side: Side) -> list[int]:
    """What the engine keeps running that is no container's and watches over none."""
    if side.name == "Jubako":
        ours = os.readlink("/proc/self/ns/net")
        return [pid for pid in processes() if pid != os.getpid() and network_of(pid) == ours]
    dockerd = daemon_pid(side.command)
    keeps = [dockerd, *(pid for pid in processes() if parent(pid) == dockerd)]
    return keeps + [pid for pid in processes() if command(pid) == "containerd" and pid not in keeps]
