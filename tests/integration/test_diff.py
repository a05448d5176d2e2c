"""`diff`: what a container has changed, by Docker's measure; the lines are those of a real one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from jubako import Engine
from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import OFF, directory, file, image_with, link
from tests.integration.image_tools import seen

SCRIPT = r"""
rm /d/a; echo new > /d/new; echo x >> /d/sub/b; chmod 600 /tochmod
rm -r /e; rm -r /swap; echo f > /swap; rm /file; mkdir /file; touch /file/in
rm -r /re; mkdir /re; touch /re/q; mkdir -p /n1/n2; touch /n1/n2/f
touch /keep/.dot "/keep/a b" /keep/Z /keep/a-b /keep/a /keep/a.b; mkdir /keep/a-dir
touch /keep/a-dir/f; rm /lnk; ln -s other /lnk; mkfifo /fifo; mkdir /e2; chmod 700 /root
touch -d @0 /bin; touch /vol/q; echo a>/tmpfs/z; echo > /etc/hosts2; mkdir /D; touch /D.x /D/x
mv /usr /usr2; ln /etc/passwd /etc/passwd2; rm -r /bin/arp; touch /keep/$(printf 'n\377m')
"""
CHANGES = r"""
A /D|A /D/x|A /D.x|C /bin|D /bin/arp|C /d|D /d/a|A /d/new|C /d/sub|C /d/sub/b|D /e|A /e2|C /etc
A /etc/hosts2|A /etc/passwd2|A /fifo|C /file|A /file/in|C /keep|A /keep/.dot|A /keep/Z|A /keep/a
A /keep/a b|A /keep/a-b|A /keep/a-dir|A /keep/a-dir/f|A /keep/a.b|A /keep/nXm|C /lnk|A /n1
A /n1/n2|A /n1/n2/f|C /re|D /re/in|A /re/q|C /swap|A /tmpfs|C /tochmod|D /usr|A /usr2|A /usr2/bin
A /usr2/bin/env|A /usr2/sbin|A /vol
""".strip().replace("\n", "|").replace("nXm", "n\udcffm").split("|")  # fmt: skip
TREE = [
    *map(directory, ("d", "d/sub", "e", "e/x", "keep", "swap", "re", "re/in")),
    *(file(name, name) for name in ("d/a", "d/sub/b", "e/x/y", "swap/f", "file", "tochmod")),
    file("re/in/z", "7"),
    link("lnk", "file"),
]


def test_every_kind_of_change(engine: Engine, jubako: Jubako, busybox_tar: Path) -> None:
    image = image_with(engine, busybox_tar, TREE)
    jubako.ok("run", "--name", "box", *OFF, "--tmpfs", "/tmpfs", "-v", "/vol", image, "sh", "-ec",
              SCRIPT)  # fmt: skip
    assert jubako.ok("diff", "box").split("\n") == CHANGES
    kinds = {"C": 0, "A": 1, "D": 2}
    expected = [{"Path": line[2:], "Kind": kinds[line[0]]} for line in CHANGES]
    assert engine.containers.changes("box") == expected
    out = io.BytesIO()
    engine.containers.export("box", out)
    out.seek(0)
    with tarfile.open(fileobj=out, errors="surrogateescape") as tar:
        names = {f"/{name.removeprefix('./')}" for name in tar.getnames()}
    assert {line[2:] for line in CHANGES if line[0] != "D"} <= names
    assert not {line[2:] for line in CHANGES if line[0] == "D"} & names


def test_what_is_no_change(engine: Engine, jubako: Jubako, busybox_tar: Path) -> None:
    """Also of a container that runs: times of directories, the same again, made and removed."""
    image = image_with(engine, busybox_tar, TREE)
    jubako.ok("run", "-d", "--name", "box", *OFF, image, "sleep", "1000")
    assert jubako.ok("diff", "box") == ""  # neither /etc/hosts nor what else the engine mounts
    script = "touch /keep; chmod 755 /d; chown 0:0 /d/a; mkdir /x; rmdir /x; touch /y; rm /y"
    jubako.ok("exec", "box", "sh", "-c", script)
    assert jubako.ok("diff", "box") == ""
    jubako.ok("exec", "box", "sh", "-c", "touch /d/a; rm -r /d/sub; mkdir /d/sub; echo 2 >/d/sub/b")
    assert jubako.ok("diff", "box").split("\n") == ["C /d", "C /d/a", "C /d/sub", "C /d/sub/b"]


def test_the_command(jubako: Jubako) -> None:
    done = jubako("diff", "none")
    assert (done.status, done.stderr) == (1, "jubako: No such container: none\n")
    assert jubako("diff").stderr.startswith("jubako: 'jubako diff' requires 1 argument")


@pytest.mark.parametrize("running", [True, False])
def test_a_copy_is_a_change(running: bool, engine: Engine, busybox: str, tmp_path: Path) -> None:
    config = {"Image": busybox, "Cmd": ["sleep", "1000"]}
    engine.containers.create(config, {"NetworkMode": "none"}, name="box")
    if running:
        engine.containers.start("box")
    (tmp_path / "file").touch()
    engine.containers.copy_to("box", str(tmp_path / "file"), "/home")
    changes = engine.containers.changes("box")
    assert changes == [{"Path": "/home", "Kind": 0}, {"Path": "/home/file", "Kind": 1}]


def test_a_commit_has_what_diff_shows(engine: Engine, busybox: str, tmp_path: Path) -> None:
    """What a start makes for the engine's own mounts is no change, as with Docker."""
    before = len(engine.images.inspect(busybox)["RootFS"]["Layers"])
    for name, script, more in (("same", "true", 0), ("more", "echo x > /etc/mine", 1)):
        config = {"Image": busybox, "Cmd": ["sh", "-c", script]}
        engine.containers.create(config, {"NetworkMode": "none"}, name=name)
        engine.containers.start(name)
        engine.containers.wait(name)
        image = engine.containers.commit(name, f"{name}:1", author="A", message="M")
        shown = engine.images.inspect(image)
        assert len(shown["RootFS"]["Layers"]) == before + more
        assert (shown["Author"], shown["Comment"]) == ("A", "M")
    with seen(engine.images.layers, shown["RootFS"]["Layers"][-1]) as layer:
        assert [str(path.relative_to(layer)) for path in layer.rglob("*")] == ["etc", "etc/mine"]
    out = engine.containers.run("more:1", ["cat", "/etc/mine", "/etc/hostname"],
                                host_config={"NetworkMode": "none"})  # fmt: skip
    assert out.startswith(b"x\n") and len(out) > 10
