"""From the flags of `run` to the API's Config and HostConfig."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jubako.cli import run_options
from jubako.cli.commands.create import COMMAND as CREATE
from jubako.cli.commands.run import COMMAND
from jubako.cli.flags import Call, OptionError, Refused, UsageError, parse
from jubako.cli.help import visible


def _call(*words: str) -> Call:
    return parse(COMMAND.flags, words, interspersed=False)


def _build(*words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config, host = run_options.build(_call(*words, "image", "cmd", "-x"))
    return dict(config), dict(host)


def test_without_flags_nothing_but_the_defaults() -> None:
    config, host = _build()
    assert config == {
        "Image": "image",
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": [],
        "Labels": {},
        "Cmd": ["cmd", "-x"],
    }
    policy = {"Name": "no", "MaximumRetryCount": 0}
    assert host == {"NetworkMode": "default", "RestartPolicy": policy}


def test_no_command_leaves_the_image_its_own() -> None:
    config, _ = run_options.build(_call("image"))
    assert config["Cmd"] is None
    assert "Entrypoint" not in config


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["-it"], {"Tty": True, "OpenStdin": True, "AttachStdin": True, "StdinOnce": True}),
        (["-a", "STDIN"], {"AttachStdin": True, "AttachStdout": False, "AttachStderr": False}),
        (["-a", "stdout", "-a", "stderr"], {"AttachStdout": True, "AttachStderr": True}),
        (["--entrypoint", "/x"], {"Entrypoint": ["/x"]}),
        (["--entrypoint="], {"Entrypoint": [""]}),
        (["-h", "box", "--domainname", "d"], {"Hostname": "box", "Domainname": "d"}),
        (["--mac-address", "02:42:ac:11:00:09"], {"MacAddress": "02:42:ac:11:00:09"}),
        (["-u", "1:2", "-w", "/w"], {"User": "1:2", "WorkingDir": "/w"}),
        (["-l", "a=b", "--label", "c"], {"Labels": {"a": "b", "c": ""}}),
        (["--stop-signal", "INT", "--stop-timeout", "0"], {"StopSignal": "INT", "StopTimeout": 0}),
        (["-e", "A=1", "-e", "UNSET_NAME"], {"Env": ["A=1", "UNSET_NAME"]}),
        (["-v", "/data", "-v", "/data"], {"Volumes": {"/data": {}}}),
        (
            ["--expose", "80", "--expose", "90-91/udp"],
            {"ExposedPorts": {"80/tcp": {}, "90/udp": {}, "91/udp": {}}},
        ),
    ],
)
def test_config(words: list[str], config: dict[str, Any]) -> None:
    found, _ = _build(*words)
    assert {key: found[key] for key in config} == config


@pytest.mark.parametrize(
    ("words", "host"),
    [
        (["--rm"], {"AutoRemove": True}),
        (["--init"], {"Init": True}),
        (["--init=false"], {"Init": False}),
        (
            ["--privileged", "--read-only", "-P"],
            {"Privileged": True, "ReadonlyRootfs": True, "PublishAllPorts": True},
        ),
        (["-m", "64m", "--memory-swap", "-1"], {"Memory": 64 << 20, "MemorySwap": -1}),
        (
            ["--cpus", "1.5", "-c", "512", "--cpuset-cpus", "0-1"],
            {"NanoCpus": 1_500_000_000, "CpuShares": 512, "CpusetCpus": "0-1"},
        ),
        (["--pids-limit", "-1", "--shm-size", "1g"], {"PidsLimit": -1, "ShmSize": 1 << 30}),
        (
            ["--ulimit", "nofile=5:6", "--ulimit", "core=1", "--ulimit", "core=2"],
            {
                "Ulimits": [
                    {"Name": "core", "Soft": 2, "Hard": 2},
                    {"Name": "nofile", "Soft": 5, "Hard": 6},
                ]
            },
        ),
        (
            ["--sysctl", "net.a=1", "--sysctl", "kernel.sem=2 3"],
            {"Sysctls": {"net.a": "1", "kernel.sem": "2 3"}},
        ),
        (
            ["--cap-add", "NET_ADMIN", "--cap-drop", "ALL"],
            {"CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["ALL"]},
        ),
        (
            ["--cap-add", "kill", "--cap-add", "CAP_KILL", "--cap-drop", "kill"],
            {"CapAdd": ["CAP_KILL"], "CapDrop": None},
        ),
        (
            ["--add-host", "a:1.2.3.4", "--add-host", "b=[::1]", "--add-host", "c:host-gateway"],
            {"ExtraHosts": ["a:1.2.3.4", "b:::1", "c:host-gateway"]},
        ),
        (["--dns", " 8.8.8.8", "--dns", "0:0:0:0:0:0:0:1"], {"Dns": ["8.8.8.8", "::1"]}),
        (["--tmpfs", "/a", "--tmpfs", "/b:size=1m,ro"], {"Tmpfs": {"/a": "", "/b": "size=1m,ro"}}),
        (
            ["-v", "/a:/b:ro", "-v", "vol:/c", "-v", "./x:/d"],
            {"Binds": ["/a:/b:ro", "vol:/c", f"{os.path.abspath('x')}:/d"]},
        ),
        (["--volumes-from", "c:ro"], {"VolumesFrom": ["c:ro"]}),
        (
            ["--mount", "type=tmpfs,dst=/t"],
            {"Mounts": [{"Type": "tmpfs", "Source": "", "Target": "/t", "ReadOnly": False}]},
        ),
        (["--network", "none"], {"NetworkMode": "none"}),
        (["--net=host"], {"NetworkMode": "host"}),
        (["--network", "name=bridge"], {"NetworkMode": "bridge"}),
        (["--network", "container:x"], {"NetworkMode": "container:x"}),
        (
            ["--pid", "host", "--ipc", "shareable", "--uts", "host"],
            {"PidMode": "host", "IpcMode": "shareable", "UTSMode": "host"},
        ),
        (["--pid", "container:x"], {"PidMode": "container:x"}),
        (
            [
                "--device",
                "/dev/a",
                "--device",
                "/dev/a:rw",
                "--device",
                "/dev/a:/dev/b",
                "--device",
                "/dev/a:/dev/b:m",
            ],
            {
                "Devices": [
                    {
                        "PathOnHost": "/dev/a",
                        "PathInContainer": "/dev/a",
                        "CgroupPermissions": "rwm",
                    },
                    {
                        "PathOnHost": "/dev/a",
                        "PathInContainer": "/dev/a",
                        "CgroupPermissions": "rw",
                    },
                    {
                        "PathOnHost": "/dev/a",
                        "PathInContainer": "/dev/b",
                        "CgroupPermissions": "rwm",
                    },
                    {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "m"},
                ]
            },
        ),
        (
            ["--log-driver", "local", "--log-opt", "max-size=1m"],
            {"LogConfig": {"Type": "local", "Config": {"max-size": "1m"}}},
        ),
        (["--group-add", "5", "--runtime", "crun"], {"GroupAdd": ["5"], "Runtime": "crun"}),
        (
            [
                "--security-opt",
                "no-new-privileges",
                "--security-opt",
                "label:disable",
                "--security-opt",
                "seccomp=unconfined",
            ],
            {"SecurityOpt": ["no-new-privileges", "label:disable", "seccomp=unconfined"]},
        ),
        (["--security-opt", "systempaths=unconfined"], {"MaskedPaths": [], "ReadonlyPaths": []}),
        (
            ["-p", "8080:80", "-p", "published=9090,target=90,protocol=udp"],
            {
                "PortBindings": {
                    "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
                    "90/udp": [{"HostIp": "", "HostPort": "9090"}],
                }
            },
        ),
        (["--restart", "no", "--pull", "missing", "--platform", "linux"], {}),
        (
            ["--oom-kill-disable", "--oom-score-adj", "7", "--memory-swappiness", "0"],
            {"OomKillDisable": True, "OomScoreAdj": 7, "MemorySwappiness": 0},
        ),
        (
            ["--memory-reservation", "8m", "--kernel-memory", "1g", "--blkio-weight", "300"],
            {"MemoryReservation": 8 << 20, "KernelMemory": 1 << 30, "BlkioWeight": 300},
        ),
        (
            ["--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-mems", "0"],
            {"CpuPeriod": 50000, "CpuQuota": 25000, "CpusetMems": "0"},
        ),
        (
            ["--cpu-rt-period", "9", "--cpu-rt-runtime", "8"],
            {"CpuRealtimePeriod": 9, "CpuRealtimeRuntime": 8},
        ),
        (
            ["--blkio-weight-device", "/dev/a:10", "--device-read-bps", "/dev/a:1mb"],
            {
                "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 10}],
                "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1 << 20}],
            },
        ),
        (
            ["--device-write-bps", "/dev/a:5", "--device-read-iops", "/dev/a:6"],
            {
                "BlkioDeviceWriteBps": [{"Path": "/dev/a", "Rate": 5}],
                "BlkioDeviceReadIOps": [{"Path": "/dev/a", "Rate": 6}],
            },
        ),
        (["--device-cgroup-rule", "c 1:* rw"], {"DeviceCgroupRules": ["c 1:* rw"]}),
        (
            ["--cgroup-parent", "/p", "--cgroupns", "private", "--userns", "host"],
            {"CgroupParent": "/p", "CgroupnsMode": "private", "UsernsMode": "host"},
        ),
        (
            ["--annotation", "a=b=c", "--annotation", "d"],
            {"Annotations": {"a": "b=c", "d": ""}},
        ),
        (
            ["--dns-opt", "a", "--dns-option", "b", "--dns-search", "x.org", "--dns-search", "."],
            {"DnsOptions": ["a", "b"], "DnsSearch": ["x.org", "."]},
        ),
        (["--link", "db:d", "--link", "web"], {"Links": ["db:d", "web"]}),
        (
            ["--isolation", "default", "--volume-driver", "local", "--storage-opt", "size=1g"],
            {"Isolation": "default", "VolumeDriver": "local", "StorageOpt": {"size": "1g"}},
        ),
        (
            ["--device", "v.com/c=a", "--device", "/dev/null", "--device", "v.com/c=b"],
            {
                "Devices": [
                    {
                        "PathOnHost": "/dev/null",
                        "PathInContainer": "/dev/null",
                        "CgroupPermissions": "rwm",
                    }
                ],
                "DeviceRequests": [
                    {
                        "Driver": "cdi",
                        "Count": 0,
                        "DeviceIDs": ["v.com/c=a", "v.com/c=b"],
                        "Capabilities": None,
                        "Options": None,
                    }
                ],
            },
        ),
        (["--cidfile", "/x/cid"], {"ContainerIDFile": "/x/cid"}),
    ],
)
def test_host_config(words: list[str], host: dict[str, Any]) -> None:
    _, found = _build(*words)
    assert {key: found[key] for key in host} == host


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", {"Count": -1}),
        ("2", {"Count": 2}),
        ("driver=nvidia,count=3", {"Driver": "nvidia", "Count": 3}),
        ('"device=0,uuid",capabilities=utility', {"DeviceIDs": ["0", "uuid"],
                                                  "Capabilities": [["utility", "gpu"]]}),
        ("driver=x", {"Driver": "x", "Count": 1}),
        ("options=a=b", {"Options": {"a": "b"}, "Count": 1}),
    ],
)  # fmt: skip
def test_gpus(text: str, request_: dict[str, Any]) -> None:
    _, host = _build("--gpus", text)
    default = {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": [["gpu"]],
        "Options": {},
    }
    assert host["DeviceRequests"] == [{**default, **request_}]


def test_what_is_asked_of_the_network_apart_from_its_name() -> None:
    def networking(*words: str) -> dict[str, Any] | None:
        return run_options.networking(_call(*words, "image"), "own")

    assert networking() is None
    found = networking("--ip", "1.2.3.4", "--link-local-ip", "169.254.1.1", "--net-alias", "a")
    assert found == {
        "EndpointsConfig": {
            "own": {
                "IPAMConfig": {"IPv4Address": "1.2.3.4", "LinkLocalIPs": ["169.254.1.1"]},
                "Aliases": ["a"],
            }
        }
    }
    for mode in ("default", "bridge", "host", "none", "container:x"):
        with pytest.raises(OptionError, match="^network-scoped aliases are only supported for"):
            run_options.networking(_call("--network-alias", "a", "image"), mode)


def test_published_ports_are_exposed() -> None:
    config, _ = _build("-p", "8080:80", "--expose", "81")
    assert config["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}}


def test_files_of_variables_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "from here")
    (tmp_path / "env").write_text("A=1\nHERE\nGONE\n")
    (tmp_path / "labels").write_text("x=1\ny=2\n")
    config, _ = _build(
        *("--env-file", str(tmp_path / "env"), "-e", "A=2", "-e", "HERE"),
        *("--label-file", str(tmp_path / "labels"), "-l", "y=3"),
    )
    assert config["Env"] == ["A=1", "HERE=from here", "A=2", "HERE=from here"]
    assert config["Labels"] == {"x": "1", "y": "3"}


def test_seccomp_profiles_are_read(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}, indent=3))
    _, host = _build("--security-opt", f"seccomp={profile}")
    assert host["SecurityOpt"] == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pid", "x"], "--pid: invalid PID mode"),
        (["--pid", "container:"], "--pid: invalid PID mode"),
        (["--uts", "x"], "--uts: invalid UTS mode"),
        (["--security-opt", "seccomp"], 'Invalid --security-opt: "seccomp"'),
        (
            ["--security-opt", "seccomp=/none"],
            "opening seccomp profile (/none) failed: open /none: no such file or directory",
        ),
        (["--device", "a"], "a is not an absolute path"),
        (["--device", "/a:b"], "b is not an absolute path"),
        (["--device", "/a:/b:x"], "bad mode specified: x"),
        (["--device", "/a:/b:c:d"], "bad format for path: /a:/b:c:d"),
        (["-v", ""], "invalid empty volume spec"),
        (["-v", "/a::ro"], "invalid spec: /a::ro: empty section between colons"),
        (["-v", "/a:/b:ro:x"], "invalid volume specification: '/a:/b:ro:x'"),
        (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (
            ["--restart", ":3"],
            "invalid restart policy format: no policy provided before colon",
        ),
        (
            ["--restart", "always:x"],
            "invalid restart policy format: maximum retry count must be an integer",
        ),
        (
            ["--restart", "always", "--rm"],
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (["--userns", "x"], "--userns: invalid USER mode"),
        (["--cgroupns", "x"], "--cgroupns: invalid CGROUP mode"),
        (
            ["--memory-swappiness", "101"],
            "invalid value: 101. Valid memory swappiness range is 0-100",
        ),
        (["--storage-opt", "size"], "invalid storage option"),
        (
            ["--pull", "x"],
            'invalid pull option: \'x\': must be one of "always", "missing" or "never"',
        ),
        (["-p", "a=b,c"], "invalid publish opts format (should be name=value but got 'c')"),
        (["--network", ""], "no name set for network"),
        (["--network", "a", "--network", "b"], "more than one --network is not supported yet"),
        (["--network", "name=a,ip=1.2.3.4"], "--network ip=1.2.3.4 is not supported yet"),
        (["--expose", "1:2"], "invalid port format for --expose: 1:2"),
    ],
)
def test_refuses_in_dockers_words(words: list[str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        _build(*words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "="], 'invalid argument "=" for "-e, --env" flag: invalid environment variable: ='),
        (["-l", " "], "invalid label ' ': empty name"),
        (["-l", "a b=c"], "label 'a b' contains whitespaces"),
        (["-a", "x"], "valid streams are STDIN, STDOUT and STDERR"),
        (["--dns", "x"], "IP address is not correctly formatted: x"),
        (["--add-host", "x"], 'bad format for add-host: "x"'),
        (["--add-host", "a:b"], 'invalid IP address in add-host: "b"'),
        (["--sysctl", "vm.x=1"], "sysctl 'vm.x=1' is not allowed"),
        (["--ulimit", "x"], "invalid ulimit argument: x"),
        (["--ulimit", "x=1"], "invalid ulimit type: x"),
        (
            ["--ulimit", "core=2:1"],
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
        ),
        (
            ["--ulimit", "core=1:2:3"],
            "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
        ),
        (["--cpus", "x"], "failed to parse x as a rational number"),
        (["-m", "x"], "invalid size: 'x'"),
        (["--device-cgroup-rule", "x"], "invalid device cgroup format 'x'"),
        (["--blkio-weight-device", "/dev/x:5"], "invalid weight for device: /dev/x:5"),
        (
            ["--device-write-iops", "/dev/x:-1"],
            "invalid rate for device: /dev/x:-1. The correct format is <device-path>:<number>. "
            "Number must be a positive integer",
        ),
        (["--dns-search", "x_y"], "x_y is not a valid domain"),
        (["--link", "a:b:c"], "bad format for links: a:b:c"),
        (["--gpus", "foo=bar"], "unexpected key 'foo' in 'foo=bar'"),
        (
            ["--gpus", "count=x"],
            'invalid count (x): value must be either "all" or an integer: invalid syntax',
        ),
        (["--gpus", "count=1,count=2"], "gpu request key 'count' can be specified only once"),
    ],
)
def test_refuses_bad_values(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        _build(*words)
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--cpu-count", "1"], '"--cpu-count" is only supported on Windows, but this is Linux'),
        (["--use-api-socket"], "there is no API server whose socket could be passed in"),
    ],
)
def test_refuses_what_cannot_be_here(words: list[str], message: str) -> None:
    with pytest.raises(Refused) as caught:
        _build(*words)
    assert str(caught.value).endswith(message)


# `docker run --help` of 28.2: every flag must parse, also those that are refused in words.
_DOCKER = """
add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns
cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus
cpuset-cpus cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps
device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search
domainname entrypoint env env-file expose gpus group-add health-cmd health-interval health-retries
health-start-interval health-start-period health-timeout help hostname init interactive
io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label label-file link link-local-ip
log-driver log-opt mac-address memory memory-reservation memory-swap memory-swappiness mount name
network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform
privileged publish publish-all pull quiet read-only restart rm runtime security-opt shm-size
sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user userns
uts volume volume-driver volumes-from workdir
""".split()
_SHORTS = {
    "a": "attach",
    "c": "cpu-shares",
    "d": "detach",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "P": "publish-all",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}


def test_knows_every_flag_of_docker() -> None:
    hidden = {"dns-opt", "net", "net-alias"}
    ours = {"health-on-failure", "lazy", "secret"}
    assert {flag.name for flag in COMMAND.flags} == {*_DOCKER, *hidden, *ours}
    assert {flag.short: flag.name for flag in COMMAND.flags if flag.short} == _SHORTS
    only_run = {"detach", "detach-keys", "sig-proxy"}
    assert {flag.name for flag in CREATE.flags} == {*_DOCKER, *hidden, *ours} - only_run


def test_help_hides_what_only_windows_has() -> None:
    shown = {flag.name for flag in visible(COMMAND.flags)}
    assert "cpu-count" not in shown and "net" not in shown and "health-cmd" in shown
