"""Lists, inspect and images through the command line on a real root."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.fixtures.engine import Jubako

OFF = ("--network", "none")


def test_ps_shows_what_runs(jubako: Jubako, busybox: str) -> None:
    first = jubako.ok("run", "-d", "--name", "one", *OFF, busybox, "sleep", "1000")
    jubako.ok("run", "--name", "two", *OFF, busybox, "true")
    header, row = jubako.ok("ps").split("\n")
    assert re.split(r"\s{2,}", header) == [
        *("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
    ]
    assert row.startswith(first[:12]) and '"sleep 1000"' in row and row.endswith("   one")
    assert re.search(r"Up (Less than a second|\d+ seconds?) ", row)
    assert jubako.ok("ps", "-a", "--format", "{{.Names}}") == "two\none"
    assert jubako.ok("ps", "-a", "-f", "status=exited", "--format", "{{.Names}}") == "two"
    assert jubako.ok("ps", "-lq") == jubako.ok("ps", "-aq").split("\n")[0]
    assert jubako.ok("ps", "-q", "--no-trunc") == first
    assert jubako.ok("container", "ls", "-q") == first[:12]
    shown = json.loads(jubako.ok("ps", "--format", "json"))
    assert shown["Names"] == "one" and shown["State"] == "running"
    assert "virtual" in jubako.ok("ps", "-s")
    found = jubako("ps", "-f", "nonsense=1")
    assert found.status == 1 and "invalid filter 'nonsense'" in found.stderr
    jubako.ok("pause", "one")
    assert "(Paused)" in jubako.ok("ps")
    jubako.ok("unpause", "one")
    assert jubako.ok("rename", "one", "uno") == ""
    assert jubako.ok("top", "uno").split("\n")[1].endswith("sleep 1000")
    assert jubako.ok("kill", "uno") == "uno"
    assert jubako.ok("wait", "uno") == "137"
    assert jubako.ok("container", "prune", "-f").startswith("Deleted Containers:\n")


def test_inspect(jubako: Jubako, busybox: str) -> None:
    container = jubako.ok("create", "--name", "box", "-e", "A=1", busybox, "echo", "hi")
    document = json.loads(jubako.ok("inspect", "box"))
    assert document[0]["Id"] == container and document[0]["Name"] == "/box"
    assert jubako.ok("inspect", "-f", "{{.ID}} {{.State.Status}}", "box") == f"{container} created"
    assert jubako.ok("inspect", "-f", "{{index .Args 0}}", container[:10]) == "hi"
    assert json.loads(jubako.ok("container", "inspect", "-f", "json", "box"))[0]["Path"] == "echo"
    size = jubako.ok("inspect", "-s", "-f", "{{.SizeRw}}", "box")
    assert size.isdigit()
    assert jubako("inspect", "box", "nope") == (
        1,
        jubako.ok("inspect", "box") + "\n",
        "jubako: No such object: nope\n",
    )
    assert jubako("inspect", "--type", "image", "box").status == 1
    image = json.loads(jubako.ok("image", "inspect", busybox))[0]
    assert image["Id"] == document[0]["Image"]
    network = json.loads(jubako.ok("network", "inspect", "bridge"))[0]
    assert network["Name"] == "bridge" and network["Driver"] == "bridge"
    names = jubako.ok("network", "ls", "--format", "{{.Name}} {{.Driver}}")
    assert names == "bridge bridge\nhost host\nnone null"


def test_images(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    jubako.ok("tag", busybox, "other:2")
    rows = jubako.ok("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").split("\n")
    assert {row.split()[0] for row in rows} == {busybox, "other:2"}
    assert len({row.split()[1] for row in rows}) == 1
    assert jubako.ok("images", "-q", "other") == rows[0].split()[1]
    assert jubako.ok("image", "ls", "--format", "{{.Tag}}", "other:*") == "2"
    archive = tmp_path / "image.tar"
    jubako.ok("save", "-o", str(archive), "other:2")
    assert archive.stat().st_mode & 0o777 == 0o600
    assert jubako.ok("rmi", "other:2") == "Untagged: other:2"
    assert jubako.ok("load", "-i", str(archive)) == "Loaded image: other:2"
    assert jubako.ok("load", stdin=archive.read_bytes()) == "Loaded image: other:2"
    assert "IMAGE          CREATED" in jubako.ok("history", "other:2")
    found = jubako("save", "-o", str(tmp_path / "no.tar"), "nope")
    assert found.status == 1 and not list(tmp_path.glob("*no.tar*"))
    found = jubako("load", "-i", str(tmp_path / "none"))
    assert found.status == 1 and "none: no such file or directory" in found.stderr
    terminal = jubako.terminal("save", busybox)
    terminal.expect("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    assert terminal.wait() == 1
    terminal = jubako.terminal("load")
    terminal.expect("requested load from stdin, but stdin is empty")
    assert terminal.wait() == 1


def test_commit_and_export(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    jubako.ok("run", "--name", "box", *OFF, busybox, "sh", "-c", "echo new > /file")
    image = jubako.ok("commit", "-m", "note", "-c", 'CMD ["cat", "/file"]', "box", "made:1")
    assert image.startswith("sha256:")
    assert jubako.ok("run", "--rm", *OFF, "made:1") == "new"
    assert "note" in jubako.ok("history", "made:1")
    archive = tmp_path / "box.tar"
    jubako.ok("export", "-o", str(archive), "box")
    assert jubako.ok("import", "-c", "CMD cat /file", str(archive), "flat:1").startswith("sha256:")
    assert jubako.ok("run", "--rm", *OFF, "flat:1") == "new"
    found = jubako("import", str(archive), "Bad:Name")
    assert found.status == 1 and "must be lowercase" in found.stderr


def test_volumes(jubako: Jubako, busybox: str) -> None:
    assert jubako.ok("volume", "create", "--label", "a=b", "data") == "data"
    assert (
        jubako.ok("run", "--rm", "-v", "data:/d", *OFF, busybox, "sh", "-c", "echo x > /d/f") == ""
    )
    assert jubako.ok("run", "--rm", "-v", "data:/d:ro", *OFF, busybox, "cat", "/d/f") == "x"
    assert jubako.ok("volume", "ls") == "DRIVER    VOLUME NAME\nlocal     data"
    assert jubako.ok("volume", "ls", "-q", "-f", "label=a=c") == ""
    point = jubako.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "data")
    assert Path(point, "f").read_text() == "x\n"
    assert jubako("volume", "inspect", "nope") == (1, "[]\n", "jubako: get nope: no such volume\n")
    jubako.ok("create", "--name", "box", "-v", "data:/d", busybox)
    found = jubako("volume", "rm", "data")
    assert found.status == 1 and "volume is in use" in found.stderr
    jubako.ok("rm", "box")
    assert "Total reclaimed space: 0B" in jubako.ok("volume", "prune", "-f")
    assert jubako.ok("volume", "prune", "-f", "-a").startswith("Deleted Volumes:\ndata\n")


def test_published_ports_are_listed(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", "-p", "127.0.0.1:18080:80", busybox, "sleep", "1000")
    assert jubako.ok("port", "box") == "80/tcp -> 127.0.0.1:18080"
    assert jubako.ok("port", "box", "80") == "127.0.0.1:18080"
    assert jubako.ok("ps", "--format", "{{.Ports}}") == "127.0.0.1:18080->80/tcp"
    found = jubako("port", "box", "81")
    assert found == (1, "", "jubako: No public port '81' published for box\n")


def test_version_and_info(jubako: Jubako, root_dir: Path) -> None:
    assert jubako.ok("version").startswith("Client:\n Version:")
    version = json.loads(jubako.ok("version", "-f", "json"))
    assert version["Client"]["Version"] == version["Server"]["Version"]
    assert jubako.ok("version", "-f", "{{.Server.APIVersion}}").startswith("1.")
    assert f" Docker Root Dir: {root_dir}" in jubako.ok("info")
    assert jubako.ok("info", "-f", "{{.DockerRootDir}}") == str(root_dir)
    assert json.loads(jubako.ok("info", "-f", "json"))["OSType"] == "linux"
