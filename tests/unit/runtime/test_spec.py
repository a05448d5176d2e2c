"""What is refused before anything is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.runtime import spec
from jubako.runtime.default_spec import default_spec


def test_the_default_is_valid() -> None:
    spec.validate(default_spec())
    spec.validate(default_spec(rootless=True))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The default configuration with `a.b.c` set, or removed for None."""
    config = default_spec()
    *parents, last = path.split(".")
    inner = config
    for name in parents:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("ociVersion", None, "ociVersion"),
        ("ociVersion", "2.0.0", "ociVersion '2.0.0' is not 1.x"),
        ("root", None, "no root.path"),
        ("root", {}, "no root.path"),
        ("linux", None, "no linux section"),
        ("linux.namespaces", None, "no linux.namespaces"),
        ("process", None, "no process"),
        ("process.args", [], "process.args is empty"),
        ("process.cwd", "tmp", "must be an absolute path, not 'tmp'"),
        ("mounts", [{"type": "tmpfs"}], "a mount has no destination"),
        ("mounts", [{"destination": "/"}], "invalid mount destination"),
        ("mounts", [{"destination": "/x/.."}], "invalid mount destination"),
        ("linux.sysctl", {"kernel.core_pattern": "x"}, "not in a separate kernel namespace"),
        ("linux.sysctl", {"net.x/../../y": "x"}, "invalid sysctl"),
        ("linux.uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}], "no user namespace"),
        ("linux.timeOffsets", {"boottime": {"secs": 1}}, "timeOffsets need a new time namespace"),
    ],
)
def test_a_wrong_configuration(path: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        spec.validate(changed(path, value))


def test_a_namespace_of_the_host_cannot_be_changed() -> None:
    config = changed("linux.sysctl", {"net.ipv4.ip_forward": "1"})
    spec.validate(config)
    config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "uts"}]
    with pytest.raises(InvalidArgument, match="not allowed in host network namespace"):
        spec.validate(config)
    config = default_spec()
    config["linux"]["namespaces"] = [{"type": "mount"}]
    with pytest.raises(InvalidArgument, match="without a private UTS namespace"):
        spec.validate(config)


def test_what_we_cannot_do_is_said() -> None:
    with pytest.raises(Unsupported, match="linux.intelRdt"):
        spec.validate(changed("linux.intelRdt", {"closID": "x"}))
    with pytest.raises(Unsupported, match="is for systemd"):
        spec.cgroup_path(changed("linux.cgroupsPath", "system.slice:docker:x"), "c")


def test_cgroup_paths_stay_below_the_mount() -> None:
    assert spec.cgroup_path(default_spec(), "c") == "/c"
    for given, path in (("/a/b", "/a/b"), ("a/b", "/a/b"), ("/../../a", "/a"), ("//a/", "/a")):
        assert spec.cgroup_path(changed("linux.cgroupsPath", given), "c") == path


def test_the_default_devices_are_allowed_after_the_rules_of_the_spec() -> None:
    rules = spec.resources(default_spec())["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"} in rules
    assert "devices" not in spec.resources(changed("linux.resources", {}))


def test_loading(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="No such file"):
        spec.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument, match="config.json"):
        spec.load(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InvalidArgument, match="not a JSON object"):
        spec.load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(default_spec()))
    assert spec.load(str(tmp_path)) == default_spec()


def test_devices_are_made_unless_dev_is_the_hosts() -> None:
    assert spec.needs_devices(default_spec())
    bound = {"destination": "/dev/", "type": "none", "source": "/dev", "options": ["rbind"]}
    assert not spec.needs_devices(changed("mounts", [bound]))
