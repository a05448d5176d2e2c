"""Options that are refused, in the sentences of a real Docker 26.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.definition import config, cpulist, validate
from jubako.errors import InvalidArgument, Unsupported


def check(host: dict[str, Any] | None = None, **request: Any) -> None:
    merged, merged_host, _ = config.merge({"Cmd": ["x"], **request}, host or {}, None)
    validate.check(merged, merged_host)


def test_defaults_are_good() -> None:
    check()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": 1 << 20}, "Minimum memory limit allowed is 6MB"),
        ({"MemorySwap": 10 << 20},
         "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ({"Memory": 10 << 20, "MemorySwap": 8 << 20},
         "Minimum memoryswap limit should be larger than memory limit, see usage"),
        ({"MemoryReservation": 1}, "Minimum memory reservation allowed is 6MB"),
        ({"Memory": 8 << 20, "MemoryReservation": 9 << 20},
         "Minimum memory limit can not be less than memory reservation limit, see usage"),
        ({"MemorySwappiness": 200}, "Invalid value: 200, valid memory swappiness range is 0-100"),
        ({"NanoCpus": 1, "CpuPeriod": 1000},
         "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ({"NanoCpus": 1, "CpuQuota": 1000},
         "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ({"CpuPeriod": 1},
         "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        ({"CpuQuota": 1}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
        ({"CpusetCpus": "a"}, "Invalid value a for cpuset cpus: invalid format: a"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"CapAdd": ["FOO"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ({"CapDrop": ["FOO"]}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        ({"PidMode": "foo"}, "invalid PID mode: foo"),
        ({"PidMode": "container:"}, "invalid PID mode: container:"),
        ({"IpcMode": "foo"}, "invalid IPC mode: foo"),
        ({"UTSMode": "foo"}, "invalid UTS mode: foo"),
        ({"CgroupnsMode": "foo"}, "invalid cgroup namespace mode: foo"),
        ({"Isolation": "foo"}, "Invalid isolation: \"foo\" - linux only supports 'default'"),
        ({"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
         "can't create 'AutoRemove' container with restart policy"),
        ({"RestartPolicy": {"Name": "foo"}},
         "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', "
         "or 'unless-stopped'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}},
         "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -2}},
         "invalid restart policy: maximum retry count cannot be negative"),
        ({"Annotations": {"": "x"}},
         "invalid Annotations: the empty string is not permitted as an annotation key"),
        ({"ExtraHosts": ["foo"]}, 'bad format for add-host: "foo"'),
        ({"ExtraHosts": ["foo:bar"]}, 'invalid IP address in add-host: "bar"'),
        ({"Dns": ["foo"]}, "foo is not an ip address"),
        ({"Sysctls": {"kernel.hostname": "x"}}, "sysctl 'kernel.hostname' is not allowed"),
        ({"Sysctls": {"net.ipv4.../x": "x"}}, "sysctl 'net.ipv4.../x' is not allowed"),
        ({"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_forward": "1"}},
         'sysctl "net.ipv4.ip_forward" not allowed in host network namespace'),
        ({"IpcMode": "host", "Sysctls": {"kernel.shmmax": "1"}},
         'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
        ({"Ulimits": [{"Name": "foo", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: foo"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 5}]},
         "ulimit soft limit must be less than or equal to hard limit: 10 > 5"),
        ({"Ulimits": [{"Name": "nofile", "Soft": -1, "Hard": 5}]},
         "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), "
         "hard: 5"),
        ({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "x"}]},
         "bad mode specified: x"),
        ({"DeviceCgroupRules": ["x"]}, "invalid device cgroup rule format: 'x'"),
        ({"SecurityOpt": ["foo"]}, 'invalid --security-opt 1: "foo"'),
        ({"SecurityOpt": ["seccomp={"]}, "decoding seccomp profile failed: "),
        ({"Tmpfs": {"/": ""}}, "invalid specification: destination can't be '/'"),
        ({"Tmpfs": {"x": ""}}, "invalid mount path: 'x' mount path must be absolute"),
        ({"PortBindings": {"0/tcp": []}}, 'invalid port specification: "0/tcp"'),
        ({"PortBindings": {"80/foo": []}}, 'invalid port specification: "80/foo"'),
        ({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, 'invalid port specification: "x"'),
        ({"PortBindings": {"80/tcp": [{"HostIp": "x", "HostPort": ""}]}}, "invalid IP address: x"),
        ({"StorageOpt": {"size": "1g"}}, "--storage-opt is supported only for overlay over xfs"),
        ({"StorageOpt": {"foo": "1"}}, "Unknown option foo"),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": "3"}},
         "invalid value of HostConfig.RestartPolicy: wrong type"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/x"}]},
         "invalid value of HostConfig.BlkioDeviceReadBps: it needs a Path and a Rate"),
        ({"BlkioWeightDevice": [{"Path": "/dev/x", "Weight": "5"}]},
         "invalid value of HostConfig.BlkioWeightDevice: it needs a Path and a Weight"),
        ({"CgroupParent": "/a\0b"}, "invalid cgroup parent: it contains a NUL byte"),
        ({"NetworkMode": "host", "Links": ["a"]},
         "conflicting options: host type networking can't be used with links"),
        ({"NetworkMode": "container:"},
         "invalid network mode: invalid container format container:<name|id>"),
        ({"NetworkMode": "container:x", "Dns": ["1.1.1.1"]},
         "conflicting options: dns and the network mode"),
        ({"NetworkMode": "container:x", "PublishAllPorts": True},
         "conflicting options: port publishing and the container type network mode"),
    ],
)  # fmt: skip
def test_host_config(host: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidArgument, Unsupported)) as caught:
        check(host)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"WorkingDir": "rel"},
         "the working directory 'rel' is invalid, it needs to be an absolute path"),
        ({"StopSignal": "FOO"}, "invalid signal: FOO"),
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"Hostname": "a" * 65}, f'hostname "{"a" * 65}" is too long (maximum 64 bytes)'),
        ({"Hostname": "a b"}, "invalid hostname: 'a b'"),
        ({"MacAddress": "zz"}, "zz is not a valid mac address"),
        ({"Healthcheck": {"Interval": 1}}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
        ({"Cmd": ["a\0b"]}, "invalid argument: a command, variable or name has a NUL byte in it"),
        ({"ExposedPorts": {"x": {}}}, 'invalid port specification: "x"'),
    ],
)  # fmt: skip
def test_config(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(**request_)
    assert str(caught.value) == message


def test_hostname_needs_an_own_uts_namespace() -> None:
    with pytest.raises(InvalidArgument, match="^conflicting options: hostname and the UTS mode$"):
        check({"UTSMode": "host"}, Hostname="x")
    with pytest.raises(InvalidArgument, match="hostname and the network mode"):
        check({"NetworkMode": "container:x"}, Hostname="x")


def test_more_cpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(InvalidArgument) as caught:
        check({"NanoCpus": 100 * 10**9})
    assert (
        str(caught.value)
        == "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
    )
    with pytest.raises(InvalidArgument, match="^Requested CPUs are not available - requested 0-8"):
        check({"CpusetCpus": "0-8000"})


@pytest.mark.parametrize(
    "host",
    [
        {"ExtraHosts": ["a:1.2.3.4", "b=::1", "c:host-gateway", "d:[::1]", "e:::1"]},
        {"Sysctls": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "net/core/somaxconn": "9"}},
        {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": -1}]},
        {"PortBindings": {"80/tcp": [{"HostIp": "::", "HostPort": "8080-8090"}], "9-10/udp": None}},
        {"MemorySwap": -1, "MemorySwappiness": -1},
        {"CpusetCpus": "0", "CpusetMems": "0"},
        {"SecurityOpt": ["label=type:a_t", "no-new-privileges"]},
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
    ],
)
def test_good_options(host: dict[str, Any]) -> None:
    check(host)


@pytest.mark.parametrize("name", ["ab", "/ab", "a.b-c_d", "0a", "A" * 200])
def test_good_names(name: str) -> None:
    validate.check_name(name)


@pytest.mark.parametrize("name", ["", "/", "a", "-ab", ".ab", "a b", "a/b", "ab\n", "é", "//ab"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate.check_name(name)
    assert str(caught.value) == (
        f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )


@given(st.sets(st.integers(0, 8191), min_size=1, max_size=20))
def test_lists_of_processors(numbers: set[int]) -> None:
    assert cpulist.parse(",".join(map(str, numbers))) == numbers
    assert cpulist.parse(f"0-{max(numbers)}") == set(range(max(numbers) + 1))


@given(st.text(alphabet="0123456789-,x ", max_size=20))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        cpulist.parse(text)
    except InvalidArgument:
        pass
