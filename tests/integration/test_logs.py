"""Log drivers around real containers, and clients of attach that are slow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.containers.streams import frames
from jubako.errors import StartError, Unsupported
from tests.fixtures.engine import Jubako
from tests.integration.fault_tools import init_pid, parent, wait_for

OFF = ("--network", "none")
REFUSED = "connect: connection refused"


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.settimeout(10)
        yield sock


def port(sock: socket.socket) -> int:
    number: int = sock.getsockname()[1]
    return number


def options(driver: str, **values: str) -> tuple[str, ...]:
    pairs = (f"{name.replace('_', '-')}={value}" for name, value in values.items())
    return ("--log-driver", driver, *(word for pair in pairs for word in ("--log-opt", pair)))


def read_lines(connection: socket.socket, count: int) -> list[bytes]:
    """So many lines at least, from a connection that a log driver made."""
    data = b""
    connection.settimeout(10)
    while data.count(b"\n") < count:
        data += connection.recv(1 << 16)
    return data.splitlines()


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def has_socket(pid: int) -> bool:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry).startswith("socket:"):
                return True
        except FileNotFoundError:
            continue  # closed meanwhile
    return False


def is_small(pid: int) -> bool:
    """Whether a monitor has replaced itself by its small program."""
    return b"-I" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


# drivers


def test_messages_reach_the_server_and_logs(
    jubako: Jubako, busybox: str, udp: socket.socket
) -> None:
    chosen = options("syslog", syslog_address=f"udp://127.0.0.1:{port(udp)}", tag="{{.Name}}")
    jubako.ok("run", "--name", "box", *OFF, *chosen, busybox, "sh", "-c", "echo hi; printf half")
    assert udp.recv(1000).endswith(b"]: hi\n")
    message = udp.recv(1000)
    assert b" box[" in message and message.endswith(b"]: half\n")
    assert jubako.ok("logs", "box") == "hi\nhalf"
    assert (
        jubako.ok("inspect", "-f", "{{.HostConfig.LogConfig.Type}}{{.LogPath}}", "box") == "syslog"
    )


def test_a_connection_survives_the_monitors_new_program(
    jubako: Jubako, busybox: str, tcp: socket.socket
) -> None:
    chosen = options("syslog", syslog_address=f"tcp://127.0.0.1:{port(tcp)}")
    script = "n=0; while read line; do echo $line; done"
    jubako.ok("run", "-di", "--name", "box", *OFF, *chosen, busybox, "sh", "-c", script)
    monitor = parent(init_pid(jubako, "box"))
    connection, _ = tcp.accept()
    with connection:
        wait_for(lambda: is_small(monitor))
        jubako("attach", "box", stdin="one\ntwo\n")
        lines = read_lines(connection, 2)
        assert [line.rpartition(b": ")[2] for line in lines] == [b"one", b"two"]
        jubako.ok("rm", "-f", "box")


def test_a_server_that_has_to_be_there(engine: Engine, jubako: Jubako, busybox: str) -> None:
    chosen = options("fluentd", fluentd_address="127.0.0.1:1")
    ran = jubako("run", "--name", "box", *OFF, *chosen, busybox, "true")
    assert ran.status == 125
    assert ran.stderr.splitlines()[0] == (
        "jubako: failed to create task for container: failed to initialize logging driver: "
        f"dial tcp 127.0.0.1:1: {REFUSED}"
    )
    state = engine.containers.inspect("box")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    with pytest.raises(StartError, match=REFUSED):
        engine.containers.start("box")


def test_a_dead_server_holds_nobody_up_in_non_blocking_mode(
    jubako: Jubako, busybox: str, tcp: socket.socket
) -> None:
    chosen = options("syslog", syslog_address=f"tcp://127.0.0.1:{port(tcp)}", mode="non-blocking")
    script = "yes 'some words of a log' | head -n 300000; echo end"
    jubako.ok("run", "-d", "--name", "box", *OFF, *chosen, busybox, "sh", "-c", script)
    connection, _ = tcp.accept()  # and never read
    with connection:
        assert jubako.ok("wait", "box") == "0"
        wait_for(lambda: "end" in jubako.ok("logs", "-n", "2", "box"))
        tcp.close()  # nobody to come back to
    wait_for(lambda: "messages did not reach" in jubako("logs", "-n", "1", "box").stderr)
    wait_for(lambda: "log driver `syslog` could not take them" in jubako.ok("why", "box"))


def test_a_slow_server_holds_the_container_up_in_blocking_mode(
    jubako: Jubako, busybox: str, tcp: socket.socket
) -> None:
    chosen = options("syslog", syslog_address=f"tcp://127.0.0.1:{port(tcp)}")
    script = "yes 'some words of a log' | head -n 100000"
    jubako.ok("run", "-d", "--name", "box", *OFF, *chosen, busybox, "sh", "-c", script)
    connection, _ = tcp.accept()
    with connection:
        assert jubako.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert len(read_lines(connection, 100_000)) == 100_000
    assert jubako.ok("wait", "box") == "0"


def test_without_a_copy_there_is_nothing_to_show(
    engine: Engine, busybox: str, udp: socket.socket
) -> None:
    log = {
        "Type": "gelf",
        "Config": {"gelf-address": f"udp://127.0.0.1:{port(udp)}", "cache-disabled": "true"},
    }
    body: dict[str, Any] = {"Image": busybox, "Cmd": ["echo", "hi"]}
    made = engine.containers.create(body, {"NetworkMode": "none", "LogConfig": log})
    engine.containers.start(made["Id"])
    engine.containers.wait(made["Id"])
    assert udp.recv(2000)
    with pytest.raises(Unsupported, match="does not support reading"):
        engine.containers.logs(made["Id"])


def test_the_settings_choose_the_driver(jubako: Jubako, busybox: str, root_dir: Path) -> None:
    (root_dir / "config.json").write_text(
        '{"log-driver": "local", "log-opts": {"max-size": "10m"}}'
    )
    jubako.ok("run", "--name", "box", *OFF, busybox, "echo", "hi")
    assert jubako.ok("inspect", "-f", "{{json .HostConfig.LogConfig}}", "box") == (
        '{"Type":"local","Config":{"max-size":"10m"}}'
    )
    assert jubako.ok("logs", "box") == "hi"
    assert jubako.ok("info", "-f", "{{.LoggingDriver}} {{.Plugins.Log}}") == (
        "local [fluentd gelf journald json-file local none syslog]"
    )


def test_details_are_what_the_options_chose(jubako: Jubako, busybox: str) -> None:
    chosen = options("json-file", labels="color", env="FOO", tag="{{.ImageName}}")
    about = ("--label", "color=dark red", "-e", "FOO=1")
    jubako.ok("run", "--name", "box", *OFF, *chosen, *about, busybox, "echo", "hi")
    assert jubako.ok("logs", "--details", "box") == "FOO=1,color=dark+red,tag=busybox%3Alatest hi"


def test_following_across_rotation_and_compression(jubako: Jubako, busybox: str) -> None:
    chosen = options("local", max_size="20k", max_file="200")
    script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"
    jubako.ok("create", "--name", "box", *OFF, *chosen, busybox, "sh", "-c", f"sleep 0.3; {script}")
    jubako.ok("start", "box")
    followed = jubako.ok("logs", "-f", "box")
    expected = [f"line {number}" for number in range(5000)]
    assert followed.splitlines() == expected
    assert jubako.ok("logs", "box").splitlines() == expected
    assert jubako.ok("logs", "-n", "2500", "box").splitlines() == expected[-2500:]


def test_a_log_on_a_full_disk_goes_on_when_there_is_room(
    root_dir: Path, jubako: Jubako, busybox_tar: Path
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tests", root_dir], check=True)
    try:
        jubako.ok("import", str(busybox_tar), "busybox")
        script = "while read line; do yes $line | head -n 40000; echo done; done"
        jubako.ok("run", "-di", "--name", "box", *OFF, "busybox", "sh", "-c", script)
        filler = root_dir / "filler"
        with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        reader = jubako.start("attach", "box", stdin=subprocess.PIPE)
        assert reader.stdin and reader.stdout
        reader.stdin.write("lost\n")
        reader.stdin.flush()
        while reader.stdout.readline() != "done\n":
            pass  # all of it: the container was not held up
        shown = jubako.ok("logs", "box").splitlines()
        assert len(shown) < 40_000 and set(shown) <= {"lost", "done"}
        filler.unlink()
        reader.stdin.write("kept\n")
        reader.stdin.flush()
        wait_for(lambda: jubako.ok("logs", "box").count("kept") == 40_000)
        found = jubako("logs", "box")
        told = sum(int(line.split()[1]) for line in found.stderr.splitlines())
        assert told > 30_000
        assert len(found.stdout.splitlines()) + told == 2 * 40_001
        jubako.ok("rm", "-f", "box")
    finally:
        subprocess.run(["umount", "-l", root_dir], check=True)


# attach


def attach(root: Path, engine: Engine, reference: str) -> socket.socket:
    """A client of the attach socket that reads when the test does."""
    identity = engine.containers.inspect(reference)["Id"]
    client = socket.socket(socket.AF_UNIX)
    directory = os.open(f"{engine.store.run_dir}/{identity}", os.O_PATH | os.O_DIRECTORY)
    client.connect(f"/proc/self/fd/{directory}/attach.sock")
    os.close(directory)
    client.sendall(frames.encode_json(frames.HELLO, {"stdin": False, "output": True}))
    return client


def test_a_client_that_never_reads_stalls_nobody(
    jubako: Jubako, engine: Engine, busybox: str, root_dir: Path
) -> None:
    script = "read go; yes 'some words of a log' | head -n 500000; echo end; read go"
    jubako.ok("run", "-di", "--name", "box", *OFF, busybox, "sh", "-c", script)
    with attach(root_dir, engine, "box") as dead:
        feeder = jubako.start("attach", "box", stdin=subprocess.PIPE)
        assert feeder.stdin and feeder.stdout
        feeder.stdin.write("go\n")
        feeder.stdin.flush()
        out = 0
        while feeder.stdout.readline() != "end\n":
            out += 1
        assert out == 500_000
        wait_for(lambda: jubako.ok("logs", "-n", "1", "box") == "end")
        assert dead.fileno() >= 0
    jubako.ok("rm", "-f", "box")


def test_a_slow_client_gets_the_end_after_the_end(
    jubako: Jubako, engine: Engine, busybox: str, root_dir: Path
) -> None:
    script = "read go; yes 'some words of a log' | head -n 200000; echo end"
    jubako.ok("run", "-di", "--name", "box", *OFF, busybox, "sh", "-c", script)
    with attach(root_dir, engine, "box") as slow:
        jubako("attach", "box", stdin="go\n")
        jubako.ok("wait", "box")
        jubako.ok("rm", "box")  # nothing depends on the reader
        slow.settimeout(10)
        decoder, data, kinds = frames.Decoder(), b"", []
        while piece := slow.recv(1 << 20):
            for kind, payload in decoder.feed(piece):
                kinds.append(kind)
                data += payload if kind == frames.STDOUT else b""
    assert kinds[-2:] == [frames.EXITED, frames.GONE]
    assert data.count(b"\n") == 200_001 and data.endswith(b"end\n")


def test_detach_and_attach_again_with_other_keys(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-dit", "--name", "box", *OFF, busybox, "sh")
    first = jubako.terminal("attach", "--detach-keys", "ctrl-a,d", "box")
    first.send("echo $((1+1))two\n")
    first.expect("2two")
    first.send("\x01d")
    first.expect("read escape sequence")
    assert first.wait() == 1
    second, third = jubako.terminal("attach", "box"), jubako.terminal("attach", "box")
    for client in (second, third):  # each is there when it sees its own
        client.send("echo $((1+2))three\n")
        client.expect("3three")
    second.send("echo $((2+2))four\n")
    second.expect("4four")
    third.expect("4four")
    second.send("exit 3\n")
    assert (second.wait(), third.wait()) == (3, 3)


def test_attach_without_stdin_and_without_signals(jubako: Jubako, busybox: str) -> None:
    script = "trap 'echo caught' INT; echo ready; while :; do sleep 0.05; done"
    jubako.ok("run", "-di", "--name", "box", *OFF, busybox, "sh", "-c", script)
    proxied = jubako.start("attach", "--no-stdin", "box")
    assert proxied.stdout is not None
    wait_for(lambda: "ready" in jubako.ok("logs", "box"))
    wait_for(lambda: catches(proxied.pid, signal.SIGTERM))
    proxied.send_signal(signal.SIGINT)
    assert proxied.stdout.readline() == "caught\n"
    alone = jubako.start("attach", "--no-stdin", "--sig-proxy=false", "box")
    wait_for(lambda: has_socket(alone.pid))
    alone.send_signal(signal.SIGINT)
    assert alone.wait(10) != 0
    assert jubako.ok("logs", "box").count("caught") == 1
    jubako.ok("rm", "-f", "box")
