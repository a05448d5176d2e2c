"""CDI: descriptions are found, checked and applied; what is wrong or hostile is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jubako.containers.definition import cdi, cdi_edits
from jubako.errors import InvalidArgument, Unsupported

KIND = "vendor.com/class"


def description(name: str = "one", edits: Any = None, **more: Any) -> dict[str, Any]:
    device = {"name": name, "containerEdits": edits or {"env": [f"DEVICE={name}"]}}
    return {"cdiVersion": "0.6.0", "kind": KIND, "devices": [device], **more}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o644)
    return path


def requested(directory: Path, *names: str) -> list[cdi.Device]:
    host: Any = {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": list(names)}]}
    return cdi.requested(host, [str(directory)])


def gpus(directory: Path, **request: Any) -> list[str]:
    host: Any = {"DeviceRequests": [{"Capabilities": [["gpu"]], **request}]}
    return [device.name for device in cdi.requested(host, [str(directory)])]


def spec() -> dict[str, Any]:
    return {
        "process": {
            "env": ["PATH=/bin", "A=1"],
            "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
        },
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []},
            {"destination": "/data/deep", "type": "bind", "source": "/x", "options": []},
        ],
        "linux": {"resources": {"devices": []}},
    }


def test_nothing_is_read_for_nothing() -> None:
    assert cdi.requested({"DeviceRequests": None}, ["/no/such"]) == []


def test_a_device_is_found_by_its_full_name(tmp_path: Path) -> None:
    write(tmp_path / "v.json", description(containerEdits={"env": ["ALL=1"]}))
    [device] = requested(tmp_path, f"{KIND}=one", f"{KIND}=one")
    assert device.own == {"env": ["DEVICE=one"]} and device.common == {"env": ["ALL=1"]}


@pytest.mark.parametrize("name", [f"{KIND}=two", "vendor.com/other=one", "one", f"{KIND}=../one"])
def test_unknown_devices(tmp_path: Path, name: str) -> None:
    write(tmp_path / "v.json", description())
    with pytest.raises(InvalidArgument) as caught:
        requested(tmp_path, name)
    assert str(caught.value) == f"CDI device injection failed: unresolvable CDI devices {name}"


def test_a_later_directory_goes_first(tmp_path: Path) -> None:
    write(tmp_path / "a" / "v.json", description(edits={"env": ["FROM=a"]}))
    write(tmp_path / "b" / "v.json", description(edits={"env": ["FROM=b"]}))
    host: Any = {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [f"{KIND}=one"]}]}
    [device] = cdi.requested(host, [str(tmp_path / "a"), str(tmp_path / "b"), "/no/such"])
    assert device.own == {"env": ["FROM=b"]}


def test_two_descriptions_of_a_device_beside_each_other_are_none(tmp_path: Path) -> None:
    write(tmp_path / "a.json", description())
    write(tmp_path / "b.json", description())
    with pytest.raises(InvalidArgument, match="unresolvable") as caught:
        requested(tmp_path, f"{KIND}=one")
    assert caught.value.hint and "a.json and in" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "recursion"),
        ('{"cdiVersion": "9"}', "unknown cdiVersion '9'"),
        (description(kind="noslash"), "invalid kind"),
        (description(kind="vendor.com/class=x"), "invalid kind"),
        (description(name="a b"), "invalid name of a device"),
        (description(name="../x"), "invalid name of a device"),
        ({**description(), "devices": []}, "describes no devices"),
        ({**description(), "devices": 5}, "describes no devices"),
        (description(edits={"env": ["no equals"]}), "is not NAME=value"),
        (description(edits={"env": ["A=\0"]}), "not a text"),
        (description(edits={"env": "A=1"}), "not a list"),
        (description(edits={"surprise": 1}), "surprise is not known here"),
        (description(edits={"deviceNodes": [{"path": "dev/x"}]}), "is not an absolute path"),
        (description(edits={"deviceNodes": [{"path": "/dev/../x"}]}), "is not an absolute path"),
        (description(edits={"deviceNodes": [{"path": "/dev/x", "type": "z"}]}), "unknown type"),
        (description(edits={"deviceNodes": [{"path": "/dev/x", "major": -1}]}), "not a number"),
        (description(edits={"deviceNodes": [{"path": "/dev/x", "permissions": "rwx"}]}),
         "permissions 'rwx'"),
        (description(edits={"mounts": [{"containerPath": "/x"}]}), "a mount without hostPath"),
        (description(edits={"mounts": [{"containerPath": "x", "hostPath": "/"}]}),
         "is not an absolute path"),
        (description(edits={"hooks": [{"hookName": "surprise", "path": "/x"}]}), "unknown hook"),
        (description(edits={"hooks": [{"hookName": "prestart", "path": "x"}]}),
         "is not an absolute path"),
        (description(edits={"additionalGids": [-1]}), "not a number"),
        (description(edits={"additionalGids": [True]}), "not a number"),
    ],
)  # fmt: skip
def test_wrong_descriptions(tmp_path: Path, content: object, reason: str) -> None:
    path = write(tmp_path / "v.json", content)
    write(tmp_path / "good.json", {**description("two"), "kind": "vendor.com/other"})
    with pytest.raises(InvalidArgument, match="unresolvable CDI devices") as caught:
        requested(tmp_path, f"{KIND}=one")
    assert caught.value.hint and f"CDI description {path}" in caught.value.hint
    assert reason in caught.value.hint
    assert requested(tmp_path, "vendor.com/other=two")  # the others are as good as before


def test_yaml_is_refused_in_words(tmp_path: Path) -> None:
    write(tmp_path / "v.yaml", "kind: x")
    with pytest.raises(InvalidArgument) as caught:
        requested(tmp_path, f"{KIND}=one")
    assert caught.value.hint and "write it as JSON" in caught.value.hint


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o602])
def test_what_others_may_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    write(tmp_path / "v.json", description()).chmod(mode)
    with pytest.raises(InvalidArgument) as caught:
        requested(tmp_path, f"{KIND}=one")
    assert caught.value.hint and "nobody else may have the right to write it" in caught.value.hint


def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "v.json")
    with pytest.raises(InvalidArgument) as caught:
        requested(tmp_path, f"{KIND}=one")
    assert caught.value.hint and "not a regular file" in caught.value.hint


def test_a_huge_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdi, "MAX_FILE_BYTES", 100)
    write(tmp_path / "v.json", description() | {"annotations": {"x": "y" * 200}})
    with pytest.raises(InvalidArgument) as caught:
        requested(tmp_path, f"{KIND}=one")
    assert caught.value.hint and "larger than 100 bytes" in caught.value.hint


def test_gpus(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r'^could not select device driver "" with capabilities: '
                                          r"\[\[gpu\]\]$"):  # fmt: skip
        gpus(tmp_path, Count=-1)
    devices: list[Any] = [
        {"name": name, "containerEdits": {}} for name in ("0", "1", "10", "all", "GPU-x")
    ]
    write(tmp_path / "n.json", description(kind="nvidia.com/gpu", devices=devices))
    assert gpus(tmp_path, Count=-1) == ["nvidia.com/gpu=all"]
    assert gpus(tmp_path, Count=2) == ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
    assert gpus(tmp_path, DeviceIDs=["10", "GPU-x"]) == [
        "nvidia.com/gpu=10",
        "nvidia.com/gpu=GPU-x",
    ]
    assert gpus(tmp_path, Driver="nvidia", Count=1) == ["nvidia.com/gpu=0"]
    with pytest.raises(InvalidArgument, match="4 GPUs are requested, and nvidia.com/gpu has 3"):
        gpus(tmp_path, Count=4)
    with pytest.raises(Unsupported, match='driver "amd"'):
        gpus(tmp_path, Driver="amd", Count=1)
    with pytest.raises(Unsupported, match='driver "other"'):
        gpus(tmp_path, Driver="other", Count=1)


@pytest.mark.parametrize("request_", [{"DeviceIDs": "x"}, {"DeviceIDs": [1]}, {"Driver": 5},
                                      {"Count": "x"}, {"Capabilities": [5]}])  # fmt: skip
def test_requests_of_the_wrong_type(tmp_path: Path, request_: dict[str, Any]) -> None:
    host: Any = {"DeviceRequests": [{"Driver": "cdi", **request_}]}
    with pytest.raises(InvalidArgument, match="wrong type"):
        cdi.requested(host, [str(tmp_path)])


def applied(edits: dict[str, Any], **options: bool) -> dict[str, Any]:
    document = spec()
    device = cdi.Device(f"{KIND}=one", "/x", cdi_edits.check(edits, "test"), {})
    cdi_edits.apply(document, [device], all_devices=options.get("all_devices", False))
    return document


def test_variables_replace(tmp_path: Path) -> None:
    assert applied({"env": ["A=2", "B=3"]})["process"]["env"] == ["PATH=/bin", "A=2", "B=3"]


def test_common_edits_come_once_and_first() -> None:
    document = spec()
    common = {"env": ["WHO=all"], "additionalGids": [5]}
    devices = [cdi.Device(f"{KIND}={n}", "/x", {"env": [f"{n}=1"]}, common) for n in "ab"]
    cdi_edits.apply(document, devices, all_devices=False)
    assert document["process"]["env"][2:] == ["WHO=all", "a=1", "b=1"]
    assert document["process"]["user"]["additionalGids"] == [0, 5]


def test_device_nodes_are_completed_from_the_host() -> None:
    linux = applied(
        {"deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "r"}]}
    )["linux"]
    [node] = linux["devices"]
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/mine", "c", 1, 3)
    assert linux["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}
    ]


def test_device_nodes_may_be_given_in_full() -> None:
    node = {"path": "/dev/x", "type": "b", "major": 8, "minor": 1, "fileMode": 0o600, "uid": 7}
    linux = applied({"deviceNodes": [node]}, all_devices=True)["linux"]
    assert linux["devices"] == [node]
    assert linux["resources"]["devices"] == []  # a privileged container may use all


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"path": "/dev/no-such"}, "no such file or directory"),
        ({"path": "/etc/passwd"}, "is not a device"),
        ({"path": "/dev/null", "type": "b"}, "is not a device of this type"),
    ],
)
def test_device_nodes_that_are_not_there(node: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        applied({"deviceNodes": [node]})


def test_mounts_stand_before_what_lies_below_them() -> None:
    edits = {
        "mounts": [
            {"hostPath": "/lib/driver", "containerPath": "/data", "options": ["ro", "bind"]},
            {"hostPath": "tmpfs", "containerPath": "/dev", "type": "tmpfs", "options": ["size=1m"]},
            {"hostPath": "/y", "containerPath": "/y"},
        ]
    }
    mounts = applied(edits)["mounts"]
    assert [mount["destination"] for mount in mounts] == ["/data", "/data/deep", "/dev", "/y"]
    assert mounts[0]["type"] == "bind" and mounts[0]["source"] == "/lib/driver"
    assert mounts[2]["type"] == "tmpfs"
    assert "bind" in mounts[3]["options"] and "ro" in mounts[3]["options"]


def test_hooks_and_groups() -> None:
    hook = {"hookName": "createContainer", "path": "/bin/x", "args": ["x"], "timeout": 3}
    document = applied({"hooks": [hook], "additionalGids": [0, 44]})
    assert document["hooks"] == {
        "createContainer": [{"path": "/bin/x", "args": ["x"], "timeout": 3}]
    }
    assert document["process"]["user"]["additionalGids"] == [0, 44]
