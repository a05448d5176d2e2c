"""What a container sees and gets hold of while a process enters it: rows 1 to 3 of the list of
attacks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import (
    OFF,
    PYTHON,
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
