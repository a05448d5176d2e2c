"""The defaults of a container."""

from __future__ import annotations

from jubako.linux import caps
from jubako.oci import runtime_defaults


def test_default_capabilities_exist() -> None:
    assert set(runtime_defaults.CAPABILITIES) < set(caps.NAMES)
    assert len(runtime_defaults.CAPABILITIES) == 14


def test_leaks_known_from_advisories_are_masked() -> None:
    paths = runtime_defaults.masked_paths()
    assert {
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    } <= set(paths)
    assert all(path.startswith(("/proc/", "/sys/")) for path in paths)


def test_results_belong_to_the_caller() -> None:
    runtime_defaults.mounts()[0]["options"].append("x")
    runtime_defaults.device_rules()[0]["allow"] = True
    runtime_defaults.masked_paths().clear()
    assert "x" not in runtime_defaults.mounts()[0]["options"]
    assert runtime_defaults.device_rules()[0] == {"allow": False, "access": "rwm"}
    assert runtime_defaults.masked_paths()
