"""`docker inspect`: keys, order and defaults as a real Docker 26.1 prints them."""

from __future__ import annotations

from typing import Any

from jubako.containers.definition import config
from jubako.containers.inspect import mount_points, network_settings, to_inspect

ENDPOINT: dict[str, Any] = {
    "NetworkID": "n" * 64,
    "EndpointID": "e" * 64,
    "Gateway": "172.17.0.1",
    "IPAddress": "172.17.0.2",
    "IPPrefixLen": 16,
    "MacAddress": "02:42:ac:11:00:02",
    "HostLink": "veth1",
    "Ports": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]},
}
RUNNING = {"Status": "running", "Pid": 42}


def record(host: dict[str, Any] | None = None, **request: Any) -> Any:
    merged, merged_host, _ = config.merge(
        {"Image": "box", "Cmd": ["sleep", "1"], **request}, host or {}, None, container_id="0" * 64
    )
    return {
        "Id": "0" * 64,
        "Name": "web",
        "Created": "2026-01-02T03:04:05.000000006Z",
        "ImageId": "sha256:" + "1" * 64,
        "ImageRef": "box",
        "Path": "sleep",
        "Args": ["1"],
        "Config": merged,
        "HostConfig": merged_host,
        "Mounts": [],
        "Driver": "overlay",
        "Platform": "linux",
        "LogPath": "/log",
    }


def test_keys_are_dockers() -> None:
    shown = to_inspect(record(), RUNNING, endpoint=ENDPOINT, directory="/c")
    assert list(shown) == [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Image",
        "ResolvConfPath",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "Name",
        "RestartCount",
        "Driver",
        "Platform",
        "MountLabel",
        "ProcessLabel",
        "AppArmorProfile",
        "ExecIDs",
        "HostConfig",
        "GraphDriver",
        "Mounts",
        "Config",
        "NetworkSettings",
    ]
    assert shown["Name"] == "/web" and shown["Image"].startswith("sha256:")
    assert shown["ExecIDs"] is None and shown["RestartCount"] == 0
    assert shown["GraphDriver"]["Data"]["UpperDir"] == "/c/upper"
    assert shown["Config"]["Image"] == "box" and shown["Config"]["Hostname"] == "0" * 12


def test_network_of_a_running_container() -> None:
    value = record(ExposedPorts={"99/tcp": {}, "80/tcp": {}})
    settings = network_settings(value["Config"], value["HostConfig"], ENDPOINT, pid=42)
    assert list(settings) == [
        "Bridge",
        "SandboxID",
        "SandboxKey",
        "Ports",
        "HairpinMode",
        "LinkLocalIPv6Address",
        "LinkLocalIPv6PrefixLen",
        "SecondaryIPAddresses",
        "SecondaryIPv6Addresses",
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
        "Networks",
    ]
    assert settings["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}],
        "99/tcp": None,
    }
    assert settings["IPAddress"] == "172.17.0.2"
    bridge = settings["Networks"]["bridge"]
    assert bridge["IPAddress"] == "172.17.0.2" and bridge["NetworkID"] == "n" * 64
    assert bridge["IPAMConfig"] is None and bridge["DNSNames"] is None
    assert "HostLink" not in bridge


def test_network_of_a_stopped_container() -> None:
    value = record(ExposedPorts={"80/tcp": {}})
    settings = network_settings(value["Config"], value["HostConfig"], {})
    assert settings["Ports"] == {} and settings["SandboxKey"] == ""
    assert settings["IPAddress"] == "" and settings["IPPrefixLen"] == 0
    assert settings["Networks"]["bridge"]["IPAddress"] == ""


def test_other_network_modes() -> None:
    for mode in ("none", "host"):
        value = record({"NetworkMode": mode}, ExposedPorts={"80/tcp": {}})
        settings = network_settings(value["Config"], value["HostConfig"], {}, pid=42)
        assert list(settings["Networks"]) == [mode] and settings["Ports"] == {}
        assert settings["IPAddress"] == ""
    value = record({"NetworkMode": "container:x"})
    settings = network_settings(value["Config"], value["HostConfig"], {}, pid=42)
    assert settings["Networks"] == {} and settings["SandboxKey"] == ""


def test_mount_points_show_what_docker_shows() -> None:
    points: Any = [
        {"Type": "volume", "Name": "v", "Source": "/v", "Destination": "/a", "Driver": "local",
         "Mode": "z", "RW": True, "Propagation": "", "CopyData": True, "Anonymous": True,
         "Spec": {}},
        {"Type": "bind", "Source": "/b", "Destination": "/b", "Mode": "ro", "RW": False,
         "Propagation": "rprivate", "CreateSource": True},
        {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True,
         "Propagation": ""},
    ]  # fmt: skip
    volume, bind, tmpfs = mount_points(points)
    assert list(volume) == [
        "Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation",
    ]  # fmt: skip
    assert list(bind) == ["Type", "Source", "Destination", "Mode", "RW", "Propagation"]
    assert bind["RW"] is False and bind["Mode"] == "ro"
    assert tmpfs["Source"] == "" and "Name" not in tmpfs


def test_the_record_is_not_shared() -> None:
    value = record()
    shown = to_inspect(value, RUNNING)
    shown["Config"]["Image"] = "other"
    shown["HostConfig"]["Privileged"] = True
    assert value["Config"]["Image"] == "box" and not value["HostConfig"]["Privileged"]
