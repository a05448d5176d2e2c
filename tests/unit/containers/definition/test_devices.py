"""--device and --device-cgroup-rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.definition import devices
from jubako.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:r", ("/dev/a", "/dev/a", "r")),
        ("/dev/a:/dev/b:wm", ("/dev/a", "/dev/b", "wm")),
        ("/dev/a::m", ("/dev/a", "/dev/a", "m")),
    ],
)
def test_mappings(text: str, expected: tuple[str, str, str]) -> None:
    mapping = devices.parse_mapping(text)
    assert (
        mapping["PathOnHost"],
        mapping["PathInContainer"],
        mapping["CgroupPermissions"],
    ) == expected


@pytest.mark.parametrize("text", ["", ":/dev/b", "/a:/b:r:w", "/a:/b:rr", "/a:/b:x", "/a:/b:"])
def test_bad_mappings(text: str) -> None:
    with pytest.raises(InvalidArgument):
        devices.parse_mapping(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c 13:* rwm", {"allow": True, "type": "c", "major": 13, "access": "rwm"}),
        ("b *:7 r", {"allow": True, "type": "b", "minor": 7, "access": "r"}),
        ("a *:* m", {"allow": True, "type": "a", "access": "m"}),
    ],
)
def test_rules(text: str, expected: dict[str, object]) -> None:
    assert devices.parse_rule(text) == expected


@pytest.mark.parametrize("text", ["", "x", "c 1:3", "d 1:3 r", "c 1 r", "c 1:3 x", "c 1:3 r\n"])
def test_bad_rules(text: str) -> None:
    with pytest.raises(InvalidArgument, match="^invalid device cgroup rule format"):
        devices.parse_rule(text)


def test_a_node() -> None:
    (node,) = devices.from_path("/dev/null", "/dev/else")
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/else", "c", 1, 3)
    assert node["fileMode"] == 0o666
    assert devices.rule(node, "rw") == {
        "allow": True,
        "type": "c",
        "major": 1,
        "minor": 3,
        "access": "rw",
    }


def test_a_link_is_followed_on_the_host(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/zero")
    (node,) = devices.from_path(str(link), "/dev/z")
    assert (node["path"], node["minor"]) == ("/dev/z", 5)


def test_what_is_no_device(tmp_path: Path) -> None:
    start = 'error gathering device information while adding custom device "'
    with pytest.raises(InvalidArgument) as caught:
        devices.from_path("/no/such", "/dev/x")
    assert str(caught.value) == f'{start}/no/such": no such file or directory'
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(InvalidArgument) as caught:
            devices.from_path(str(path), "/dev/x")
        assert str(caught.value) == f'{start}{path}": not a device node'


def test_the_hosts_devices_have_no_terminals_of_others() -> None:
    paths = {node["path"] for node in devices.host_devices()}
    assert "/dev/null" in paths
    assert "/dev/console" not in paths
    assert not any(path.startswith(("/dev/pts/", "/dev/shm/")) for path in paths)


@pytest.mark.root
def test_a_directory_gives_all_nodes_below(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    os.mknod(tmp_path / "one", 0o20600, os.makedev(1, 3))
    os.mknod(tmp_path / "sub/two", 0o60640, os.makedev(7, 1))
    (tmp_path / "sub/file").touch()
    (tmp_path / "sub/link").symlink_to("/dev/zero")
    nodes = devices.from_path(str(tmp_path), "/dev/bus")
    found = {(node["path"], node["type"], node["major"], node["minor"]) for node in nodes}
    assert found == {("/dev/bus/one", "c", 1, 3), ("/dev/bus/sub/two", "b", 7, 1)}


@given(st.text(alphabet="/:rwmx ad", max_size=20))
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    try:
        mapping = devices.parse_mapping(text)
    except InvalidArgument:
        return
    assert mapping["PathOnHost"] and mapping["PathInContainer"]
    assert devices.valid_access(mapping["CgroupPermissions"])
