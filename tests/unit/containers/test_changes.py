"""An edit as data: what it makes of a configuration, and what differs."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.containers import changes
from jubako.containers.definition import defaults
from jubako.containers.definition.config import merge
from jubako.errors import InvalidArgument

ID = "0123456789abcdef" * 4
IMAGE: dict[str, Any] = {"config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Labels": {"maker": "us"}}}


def edited(
    config: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    *,
    had: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
    remove: dict[str, list[str]] | None = None,
    reset: tuple[str, ...] = (),
) -> tuple[Any, Any, list[str]]:
    """(Config, HostConfig, differences as text) after a change."""
    before, before_host, _ = merge({"Image": "box", **had[0]}, had[1], IMAGE, container_id=ID)
    plain, plain_host, _ = merge({"Image": "box"}, {}, IMAGE, container_id=ID)
    new, new_host = dict(before), dict(before_host)
    request = changes.Request(
        config or {},
        host or {},
        remove=remove or {},
        reset=reset,
        secrets=(),
        remove_secrets=(),
    )
    defaults.undo(new, new_host, ID)
    changes.apply(new, new_host, request, (dict(plain), dict(plain_host)))
    after, after_host, _ = merge(new, new_host, None, container_id=ID)
    found = changes.differences((before, before_host), (after, after_host))
    texts = [f"{one.path}: {changes.show(one.old)} -> {changes.show(one.new)}" for one in found]
    return after, after_host, texts


def test_nothing_asked_nothing_changes() -> None:
    had = {"Hostname": "h", "Env": ["A=b"]}, {"Memory": 64 << 20, "Privileged": True}
    assert edited(had=had)[2] == []


def test_variables_labels_and_ports_change_one_by_one() -> None:
    had = (
        {"Env": ["A=1", "B=2"], "Labels": {"x": "1"}, "ExposedPorts": {"80/tcp": {}}},
        {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}},
    )
    config, host, found = edited(
        {"Env": ["B=3", "C=4"], "Labels": {"y": "2"}, "ExposedPorts": {"81/tcp": {}}},
        {"PortBindings": {"81/tcp": [{"HostIp": "", "HostPort": "8081"}]}},
        had=had,
    )
    assert config["Env"] == ["A=1", "B=3", "PATH=/bin", "C=4"]
    assert config["Labels"] == {"maker": "us", "x": "1", "y": "2"}
    assert list(host["PortBindings"]) == ["80/tcp", "81/tcp"]
    assert found == [
        "Config.ExposedPorts.81/tcp: (none) -> true",
        'Config.Env.B: "2" -> "3"',
        'Config.Env.C: (none) -> "4"',
        'Config.Labels.y: (none) -> "2"',
        'HostConfig.PortBindings.81/tcp: (none) -> [{"HostIp": "", "HostPort": "8081"}]',
    ]


def test_names_are_taken_out_also_those_of_the_image() -> None:
    had = (
        {"Env": ["A=1"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/anon": {}}},
        {
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
            "Binds": ["v:/a", "/x:/b:ro"],
            "Mounts": [{"Type": "tmpfs", "Target": "/c"}],
            "Tmpfs": {"/d": ""},
        },
    )
    config, host, _ = edited(
        had=had,
        remove={
            "Env": ["PATH"],
            "Labels": ["maker"],
            "Ports": ["80"],
            "Mounts": ["/anon", "/a/", "/c", "/d"],
        },
    )
    assert config["Env"] == ["A=1"] and config["Labels"] == {}
    assert not config.get("ExposedPorts") and host["PortBindings"] == {}
    assert host["Binds"] == ["/x:/b:ro"]
    assert not config["Volumes"] and "Mounts" not in host and "Tmpfs" not in host


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("Env", "the container has no variable nope"),
        ("Labels", "the container has no label nope"),
        ("Ports", "the container has no published port nope"),
        ("Mounts", "the container has no mount nope"),
        ("Dns", "names can be removed from Env, Labels, Ports, Mounts, not from Dns"),
    ],
)
def test_what_is_not_there_cannot_be_removed(section: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        edited(remove={section: ["nope"]})


def test_a_mount_takes_the_place_of_another_at_its_target() -> None:
    had: Any = (
        {"Volumes": {"/data": {}}},
        {"Binds": ["/x:/b"], "Tmpfs": {"/t": ""}, "Mounts": [{"Type": "tmpfs", "Target": "/m"}]},
    )
    config, host, _ = edited(host={"Binds": ["v:/data", "/y:/b", "/z:/t", "/w:/m"]}, had=had)
    assert host["Binds"] == ["/y:/b", "v:/data", "/z:/t", "/w:/m"]
    assert not config["Volumes"] and "Tmpfs" not in host and "Mounts" not in host
    _, host, _ = edited(host={"Tmpfs": {"/b": "size=1m"}}, had=had)
    assert host["Tmpfs"] == {"/t": "", "/b": "size=1m"} and not host["Binds"]


def test_other_lists_and_values_are_replaced() -> None:
    had: Any = {"Cmd": ["a"]}, {"Dns": ["1.1.1.1"], "CapAdd": ["CHOWN"]}
    config, host, found = edited({"Cmd": ["b", "c"]}, {"Dns": ["2.2.2.2"], "CapAdd": None}, had=had)
    assert config["Cmd"] == ["b", "c"] and host["Dns"] == ["2.2.2.2"] and host["CapAdd"] is None
    assert found == [
        'Config.Cmd: ["a"] -> ["b", "c"]',
        'HostConfig.CapAdd: ["CHOWN"] -> (none)',
        'HostConfig.Dns: ["1.1.1.1"] -> ["2.2.2.2"]',
    ]


def test_log_options_stay_with_their_driver() -> None:
    had: Any = ({}, {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}})
    more = {"LogConfig": {"Type": "", "Config": {"max-file": "2"}}}
    _, host, _ = edited(host=more, had=had)
    wanted = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    assert host["LogConfig"] == wanted
    other = {"LogConfig": {"Type": "local", "Config": {}}}
    assert edited(host=other, had=had)[1]["LogConfig"] == {"Type": "local", "Config": {}}


def test_what_follows_from_a_value_follows_its_change() -> None:
    had: Any = ({}, {"Memory": 64 << 20})
    _, host, found = edited(host={"Memory": 128 << 20}, had=had)
    assert host["MemorySwap"] == 256 << 20 and len(found) == 2
    _, host, _ = edited(host={"Memory": 128 << 20}, had=({}, {**had[1], "MemorySwap": 200 << 20}))
    assert host["MemorySwap"] == 200 << 20, "it was chosen"
    config, _, _ = edited(host={"NetworkMode": "container:x"})
    assert config["Hostname"] == ID[:12]
    _, host, _ = edited(host={"Privileged": True})
    assert host["MaskedPaths"] is None and host["SecurityOpt"] == ["label=disable"]
    _, host, _ = edited(host={"Privileged": False}, had=({}, {"Privileged": True}))
    assert host["MaskedPaths"] and host["SecurityOpt"] is None


def test_keys_go_back_to_the_image_and_the_engine() -> None:
    had = {"Env": ["A=1", "PATH=/x"], "Cmd": ["y"], "Hostname": "h"}, {"Memory": 64 << 20}
    config, host, _ = edited(had=had, reset=("Env", "Config.Cmd", "Hostname", "HostConfig.Memory"))
    assert (config["Env"], config["Cmd"], config["Hostname"]) == (["PATH=/bin"], ["sh"], ID[:12])
    assert (host["Memory"], host["MemorySwap"]) == (0, 0)
    for name in ("Nothing", "HostConfig.Cmd", "Image", "Config.Image"):
        with pytest.raises(InvalidArgument, match=f"nothing that could be reset is called {name}"):
            edited(reset=(name,))


def test_where_it_came_from_cannot_be_edited() -> None:
    with pytest.raises(InvalidArgument, match="Config.Image of a container cannot be edited"):
        edited({"Image": "other"})


def test_what_a_running_container_can_have_at_once() -> None:
    def live(path: str, new: Any) -> bool:
        return changes.Difference(path, None, new).live

    assert live("HostConfig.Memory", 1) and live("HostConfig.RestartPolicy", {})
    assert live("Config.Labels.x", None) and live("Config.Labels.x", "y")
    assert not live("Config.Env.X", "1") and not live("HostConfig.Binds./x", "v:/x")
