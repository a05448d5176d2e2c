"""Docker's merging of a request with the image's defaults."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from jubako.containers.definition import config
from jubako.errors import InvalidArgument
from jubako.oci import runtime_defaults

IMAGE: dict[str, Any] = {
    "architecture": "amd64",
    "config": {
        "User": "al",
        "Env": ["PATH=/bin", "A=image", "B=image"],
        "Cmd": ["sh"],
        "WorkingDir": "/srv//x/",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"a": "image", "b": "image"},
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000},
        "Shell": ["/bin/bash", "-c"],
        "OnBuild": ["RUN x"],
    },
}
ID = "0123456789abcdef" * 4


def merged(
    request: dict[str, Any], host: dict[str, Any] | None = None, image: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    image = IMAGE if image is None else image
    result, result_host, warnings = config.merge(request, host or {}, image, container_id=ID)
    return dict(result), dict(result_host), warnings


def test_the_image_fills_what_was_not_given() -> None:
    result, _, warnings = merged({"Image": "x"})
    assert result["User"] == "al"
    assert result["Cmd"] == ["sh"] and result["Entrypoint"] is None
    assert result["Env"] == ["PATH=/bin", "A=image", "B=image"]
    assert result["WorkingDir"] == "/srv/x"
    assert result["ExposedPorts"] == {"80/tcp": {}} and result["Volumes"] == {"/data": {}}
    assert result["Labels"] == {"a": "image", "b": "image"}
    assert result["StopSignal"] == "SIGINT"
    assert result["Healthcheck"] == {"Test": ["CMD", "true"], "Interval": 5_000_000_000}
    assert result["Hostname"] == ID[:12]
    assert result["OnBuild"] is None  # it is for builds
    assert warnings == []


def test_the_request_wins_and_sets_unite() -> None:
    result, _, _ = merged(
        {
            "User": "0",
            "Env": ["A=own", "C=own", "D"],
            "ExposedPorts": {"90/udp": {}},
            "Volumes": {"/more": {}},
            "Labels": {"b": "own"},
            "Hostname": "name",
            "Healthcheck": {"Retries": 3},
        }
    )
    assert result["User"] == "0" and result["Hostname"] == "name"
    assert result["Env"] == ["A=own", "C=own", "D", "PATH=/bin", "B=image"]
    assert set(result["ExposedPorts"]) == {"80/tcp", "90/udp"}
    assert set(result["Volumes"]) == {"/data", "/more"}
    assert result["Labels"] == {"a": "image", "b": "own"}
    assert result["Healthcheck"]["Test"] == ["CMD", "true"]
    assert result["Healthcheck"]["Retries"] == 3


@pytest.mark.parametrize(
    ("image", "request_", "expected"),
    [
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {}, ["e", "c"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"Cmd": ["x"]}, ["e", "x"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"Entrypoint": ["y"]}, ["y"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"Entrypoint": ["y"], "Cmd": ["x"]}, ["y", "x"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"Entrypoint": [""], "Cmd": ["x"]}, ["x"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"Entrypoint": []}, ["c"]),
        ({"Cmd": ["c", "d"]}, {}, ["c", "d"]),
        ({}, {"Cmd": ["x"]}, ["x"]),
    ],
)
def test_command(image: dict[str, Any], request_: dict[str, Any], expected: list[str]) -> None:
    result, _, _ = config.merge(request_, {}, {"config": image})
    path, args = config.command(result)
    assert [path, *args] == expected


@pytest.mark.parametrize(
    ("image", "request_"),
    [({}, {}), ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"Entrypoint": [""]}), ({"Cmd": []}, {})],
)
def test_no_command(image: dict[str, Any], request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="^no command specified$"):
        config.merge(request_, {}, {"config": image})


def test_host_defaults() -> None:
    _, host, _ = merged({"Cmd": ["x"]})
    assert host["NetworkMode"] == "bridge"
    assert host["IpcMode"] == "private"
    assert host["CgroupnsMode"] in ("host", "private")
    assert host["ShmSize"] == 64 << 20
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["MaskedPaths"] == runtime_defaults.masked_paths()
    assert host["ReadonlyPaths"] == list(runtime_defaults.READONLY_PATHS)
    assert host["Runtime"] == config.DEFAULT_RUNTIME
    assert "Tmpfs" not in host and "Init" not in host and "Sysctls" not in host


def test_memory_swap_is_twice_the_memory() -> None:
    assert merged({}, {"Memory": 10 << 20})[1]["MemorySwap"] == 20 << 20
    assert merged({}, {"Memory": 10 << 20, "MemorySwap": -1})[1]["MemorySwap"] == -1


def test_privileged_has_no_masks_and_no_label() -> None:
    host = merged({}, {"Privileged": True})[1]
    assert host["MaskedPaths"] is None and host["ReadonlyPaths"] is None
    assert host["SecurityOpt"] == ["label=disable"]


def test_systempaths_unconfined() -> None:
    host = merged({}, {"SecurityOpt": ["systempaths=unconfined"]})[1]
    assert host["MaskedPaths"] == [] and host["ReadonlyPaths"] == []
    assert host["SecurityOpt"] is None


def test_hostname_of_the_host() -> None:
    assert merged({}, {"NetworkMode": "host"})[0]["Hostname"] == os.uname().nodename
    assert merged({}, {"UTSMode": "host"})[0]["Hostname"] == os.uname().nodename


def test_keys_are_in_dockers_order() -> None:
    result, host, _ = merged({"Cmd": ["x"], "StopTimeout": 0, "MacAddress": "02:42:00:00:00:01"})
    order = [name for name, _ in config._CONFIG]
    assert list(result) == [name for name in order if name in result]
    assert result["StopTimeout"] == 0
    order = [name for name, _ in config._HOST]
    assert list(host) == [name for name in order if name in host]


def test_nothing_of_the_callers_is_changed_or_shared() -> None:
    request = {"Env": ["C=1"], "Labels": {"x": "y"}, "Cmd": ["a"]}
    host: dict[str, Any] = {"SecurityOpt": ["label=disable"], "Binds": ["/a:/b"]}
    before = json.dumps([request, host, IMAGE])
    result, result_host, _ = merged(request, host)
    result["Env"].append("X=1")
    result["Labels"]["z"] = ""
    result_host["Binds"].append("/c:/d")
    assert json.dumps([request, host, IMAGE]) == before


@pytest.mark.parametrize(
    ("request_", "host", "name"),
    [
        ({"Cmd": "sh"}, {}, "Config.Cmd"),
        ({"Env": [1]}, {}, "Config.Env"),
        ({"Labels": {"a": 1}}, {}, "Config.Labels"),
        ({"Tty": "yes"}, {}, "Config.Tty"),
        ({"User": 0}, {}, "Config.User"),
        ({"StopTimeout": True}, {}, "Config.StopTimeout"),
        ({}, {"Memory": "1g"}, "HostConfig.Memory"),
        ({}, {"Devices": ["/dev/null"]}, "HostConfig.Devices"),
        ({}, {"ConsoleSize": [1]}, "HostConfig.ConsoleSize"),
        ({}, {"NetworkMode": ["host"]}, "HostConfig.NetworkMode"),
        ({}, {"Privileged": 1}, "HostConfig.Privileged"),
        ({}, {"PortBindings": []}, "HostConfig.PortBindings"),
    ],
)
def test_wrong_types_are_refused_by_name(
    request_: dict[str, Any], host: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"^invalid value of {name}: wrong type$"):
        config.merge(request_, host, IMAGE)


def test_unknown_keys_do_not_reach_the_record() -> None:
    result, host, _ = merged({"Nonsense": 1}, {"Hooks": ["x"]})
    assert "Nonsense" not in result and "Hooks" not in host


def test_warnings() -> None:
    _, _, warnings = merged({}, {"NetworkMode": "host", "PortBindings": {"80/tcp": []}})
    assert warnings == ["Published ports are discarded when using host network mode"]


def test_names_in_container_modes_become_ids() -> None:
    _, host, _ = config.merge(
        {}, {"PidMode": "container:web", "IpcMode": "host", "NetworkMode": "container:db"}, IMAGE
    )
    config.pin_namespaces(host, {"web": "1" * 64, "db": "2" * 64}.__getitem__)
    assert host["PidMode"] == f"container:{'1' * 64}"
    assert host["NetworkMode"] == f"container:{'2' * 64}"
    assert host["IpcMode"] == "host"
