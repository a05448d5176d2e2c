"""A container as a command line of `jubako run`."""

from __future__ import annotations

from functools import partial

from jubako.containers.reproduce import values
from jubako.linux.shell import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.containers.model import Json
    from jubako.containers.reproduce import Source

_WIDTH = 100  # a longer command is broken after each flag

# Key to flag, for values that are written as they are.
_TEXTS = {
    "Hostname": "hostname",
    "Domainname": "domainname",
    "MacAddress": "mac-address",
    "User": "user",
    "WorkingDir": "workdir",
    "StopSignal": "stop-signal",
    "StopTimeout": "stop-timeout",
    "NetworkMode": "network",
    "CgroupnsMode": "cgroupns",
    "CgroupParent": "cgroup-parent",
    "IpcMode": "ipc",
    "PidMode": "pid",
    "UTSMode": "uts",
    "UsernsMode": "userns",
    "Runtime": "runtime",
    "Isolation": "isolation",
    "VolumeDriver": "volume-driver",
    "OomScoreAdj": "oom-score-adj",
    "CpuShares": "cpu-shares",
    "CpuPeriod": "cpu-period",
    "CpuQuota": "cpu-quota",
    "CpuRealtimePeriod": "cpu-rt-period",
    "CpuRealtimeRuntime": "cpu-rt-runtime",
    "CpusetCpus": "cpuset-cpus",
    "CpusetMems": "cpuset-mems",
    "BlkioWeight": "blkio-weight",
    "MemorySwappiness": "memory-swappiness",
    "PidsLimit": "pids-limit",
    "HealthOnFailure": "health-on-failure",
}
_SIZES = {
    "Memory": "memory",
    "MemoryReservation": "memory-reservation",
    "MemorySwap": "memory-swap",
    "ShmSize": "shm-size",
}
_LISTS = {
    "Env": "env",
    "Binds": "volume",
    "VolumesFrom": "volumes-from",
    "CapAdd": "cap-add",
    "CapDrop": "cap-drop",
    "Dns": "dns",
    "DnsOptions": "dns-option",
    "DnsSearch": "dns-search",
    "ExtraHosts": "add-host",
    "GroupAdd": "group-add",
    "Links": "link",
    "DeviceCgroupRules": "device-cgroup-rule",
}
_SWITCHES = {
    "AutoRemove": "rm",
    "Init": "init",
    "OomKillDisable": "oom-kill-disable",
    "Privileged": "privileged",
    "PublishAllPorts": "publish-all",
    "ReadonlyRootfs": "read-only",
}
_PAIRS = {
    "Annotations": "annotation",
    "Labels": "label",
    "StorageOpt": "storage-opt",
    "Sysctls": "sysctl",
}


def write(source: Source) -> str:
    """The command, after comments about what it does not do."""
    words, lost = arguments(source)
    lines = [f"# not reproduced: {name}" for name in [*source.lost, *lost]]
    quoted = [
        "".join((" " if index else "") + quote(word) for index, word in enumerate(group))
        for group in words
    ]
    line = " ".join(("jubako", *quoted))
    if len(line) > _WIDTH:
        line = " \\\n  ".join((f"jubako {quoted[0]}", *quoted[1:]))
    return "\n".join([*lines, line])


def arguments(source: Source) -> tuple[list[list[str]], list[str]]:
    """(words, what they do not say); words that belong together are one list: `--name`, `web`.

    The first group is `run`, the last one the image with the command.
    """
    writer = _Writer(source)
    return writer.words(), writer.lost


class _Writer:
    """Takes the request apart; what is left over at the end is lost."""

    def __init__(self, source: Source):
        self._source = source
        self._config: Json = dict(source.config)
        self._host: Json = dict(source.host)
        self._out: list[list[str]] = [["run"]]
        self.lost: list[str] = []

    def words(self) -> list[list[str]]:
        self._streams()
        for name, flag in _SWITCHES.items():
            self._take(name, partial(self._switch, flag))
        self._add("name", self._source.name)
        for table, write in ((_TEXTS, str), (_SIZES, values.size)):
            self._each(table, write)
        self._take("NanoCpus", lambda value: self._add("cpus", values.cpus(value)))
        for name, flag in _LISTS.items():
            self._take(name, partial(self._many, flag))
        for name, flag in _PAIRS.items():
            self._take(name, partial(self._pairs, flag))
        self._endpoint()
        self._ports()
        self._mounts()
        self._devices()
        self._take("RestartPolicy", lambda policy: self._add("restart", values.restart(policy)))
        self._take("Ulimits", lambda limits: self._many("ulimit", map(values.ulimit, limits)))
        self._take("LogConfig", self._logging)
        self._take("Healthcheck", self._health)
        self._security()
        self._many("secret", map(values.secret, self._source.secrets))
        last = self._command()
        for title, rest in (("Config", self._config), ("HostConfig", self._host)):
            self.lost += [f"{title}.{key}" for key, value in rest.items() if value]
        return [*self._out, last]

    def _add(self, flag: str, value: str) -> None:
        self._out.append([f"--{flag}", value])

    def _many(self, flag: str, entries: Any) -> None:
        for entry in entries:
            self._add(flag, entry)

    def _pairs(self, flag: str, pairs: Json) -> None:
        self._many(flag, (f"{name}={value}" for name, value in pairs.items()))

    def _written(self, flag: str, write: Callable[[Any], str], value: Any) -> None:
        self._add(flag, write(value))

    def _switch(self, flag: str, value: bool) -> None:
        self._out.append([f"--{flag}" if value else f"--{flag}=false"])

    def _take(self, key: str, write: Callable[[Any], None]) -> None:
        """Hand the value of a key over, if the request has it, and tick it off."""
        for where in (self._config, self._host):
            value = where.pop(key, None)
            if value is not None:
                write(value)

    def _each(self, table: dict[str, str], write: Callable[[Any], str]) -> None:
        for key, flag in table.items():
            self._take(key, partial(self._written, flag, write))

    def _streams(self) -> None:
        """-d, -i, -t, -a: in the foreground unless no stream was attached."""
        attached = [
            name
            for name in ("Stdin", "Stdout", "Stderr")
            if self._config.pop(f"Attach{name}", False)
        ]
        stdin = bool(self._config.pop("OpenStdin", False))
        self._config.pop("StdinOnce", None)
        if not attached:
            self._out.append(["-d"])
        if stdin:
            self._out.append(["-i"])
        if self._config.pop("Tty", False):
            self._out.append(["-t"])
        usual = ["Stdin", "Stdout", "Stderr"] if stdin else ["Stdout", "Stderr"]
        if attached and attached != usual:
            self._many("attach", (name.lower() for name in attached))

    def _endpoint(self) -> None:
        wanted = self._source.endpoint
        addresses = wanted.get("IPAMConfig") or {}
        for key, flag in (("IPv4Address", "ip"), ("IPv6Address", "ip6")):
            if addresses.get(key):
                self._add(flag, addresses[key])
        self._many("link-local-ip", addresses.get("LinkLocalIPs") or ())
        self._many("network-alias", wanted.get("Aliases") or ())

    def _ports(self) -> None:
        bindings = self._host.pop("PortBindings", None) or {}
        self._many("publish", values.ports(bindings))
        exposed = self._config.pop("ExposedPorts", None) or {}
        self._many("expose", (port for port in exposed if port not in bindings))

    def _mounts(self) -> None:
        self._take("Volumes", lambda targets: self._many("volume", targets))
        for spec in self._host.pop("Mounts", None) or ():
            text, lost = values.mount(spec)
            self._add("mount", text)
            self.lost += [f"Mounts.{spec['Target']}.{name}" for name in lost]
        tmpfs = self._host.pop("Tmpfs", None) or {}
        self._many(
            "tmpfs", (f"{target}:{data}" if data else target for target, data in tmpfs.items())
        )

    def _devices(self) -> None:
        self._take("Devices", lambda nodes: self._many("device", map(values.device, nodes)))
        for request in self._host.pop("DeviceRequests", None) or ():
            if request.get("Driver") == "cdi":
                self._many("device", request.get("DeviceIDs") or ())
            else:
                self._add("gpus", _gpus(request))
        for key, flag in (
            ("BlkioDeviceReadBps", "device-read-bps"),
            ("BlkioDeviceWriteBps", "device-write-bps"),
            ("BlkioDeviceReadIOps", "device-read-iops"),
            ("BlkioDeviceWriteIOps", "device-write-iops"),
            ("BlkioWeightDevice", "blkio-weight-device"),
        ):
            for limit in self._host.pop(key, None) or ():
                self._add(flag, f"{limit['Path']}:{limit.get('Rate', limit.get('Weight'))}")

    def _logging(self, chosen: Json) -> None:
        if chosen.get("Type"):
            self._add("log-driver", chosen["Type"])
        self._pairs("log-opt", chosen.get("Config") or {})

    def _health(self, check: Json) -> None:
        test = list(check.get("Test") or ())
        if test == ["NONE"]:
            self._out.append(["--no-healthcheck"])
            return
        if test[:1] == ["CMD-SHELL"] and len(test) == 2:
            self._add("health-cmd", test[1])
        elif test:
            self.lost.append("Config.Healthcheck.Test")
        for key, flag in (
            ("Interval", "interval"),
            ("Timeout", "timeout"),
            ("StartPeriod", "start-period"),
            ("StartInterval", "start-interval"),
        ):
            if check.get(key):
                self._add(f"health-{flag}", values.duration(check[key]))
        if check.get("Retries"):
            self._add("health-retries", str(check["Retries"]))

    def _security(self) -> None:
        for option in self._host.pop("SecurityOpt", None) or ():
            if option.startswith("seccomp=") and option[8:] not in ("builtin", "unconfined"):
                self.lost.append("HostConfig.SecurityOpt.seccomp")  # the flag takes a file
            else:
                self._add("security-opt", option)
        if self._host.get("MaskedPaths") == [] and self._host.get("ReadonlyPaths") == []:
            del self._host["MaskedPaths"], self._host["ReadonlyPaths"]
            self._add("security-opt", "systempaths=unconfined")

    def _command(self) -> list[str]:
        entrypoint = self._config.pop("Entrypoint", None)
        command = list(self._config.pop("Cmd", None) or ())
        if entrypoint:
            self._add("entrypoint", entrypoint[0])
            command = [*entrypoint[1:], *command]
        return [self._source.image, *command]


def _gpus(request: Json) -> str:
    fields = []
    if request.get("Driver"):
        fields.append(f"driver={request['Driver']}")
    if request.get("DeviceIDs"):
        fields.append("device=" + ",".join(request["DeviceIDs"]))
    elif request.get("Count") == -1:
        fields.append("count=all")
    else:
        fields.append(f"count={request.get('Count') or 0}")
    wanted = [name for names in request.get("Capabilities") or () for name in names]
    if wanted != ["gpu"]:
        fields.append("capabilities=" + ",".join(name for name in wanted if name != "gpu"))
    if request.get("Options"):
        pairs = [f"{name}={value}" for name, value in request["Options"].items()]
        fields.append("options=" + values.csv(pairs))
    return values.csv(fields)
