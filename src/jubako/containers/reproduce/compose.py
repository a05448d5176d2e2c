"""A container as a service of a compose file."""

from __future__ import annotations

from jubako.containers.reproduce import values, yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.containers.model import Json
    from jubako.containers.reproduce import Source

# Key of the API to key of a service, for values that stay what they are.
_SAME = {
    "Hostname": "hostname",
    "Domainname": "domainname",
    "MacAddress": "mac_address",
    "User": "user",
    "WorkingDir": "working_dir",
    "StopSignal": "stop_signal",
    "Tty": "tty",
    "OpenStdin": "stdin_open",
    "Env": "environment",
    "Labels": "labels",
    "Entrypoint": "entrypoint",
    "Cmd": "command",
    "NetworkMode": "network_mode",
    "CgroupnsMode": "cgroup",
    "CgroupParent": "cgroup_parent",
    "IpcMode": "ipc",
    "PidMode": "pid",
    "UTSMode": "uts",
    "UsernsMode": "userns_mode",
    "Runtime": "runtime",
    "Isolation": "isolation",
    "Privileged": "privileged",
    "ReadonlyRootfs": "read_only",
    "Init": "init",
    "CapAdd": "cap_add",
    "CapDrop": "cap_drop",
    "Dns": "dns",
    "DnsOptions": "dns_opt",
    "DnsSearch": "dns_search",
    "ExtraHosts": "extra_hosts",
    "GroupAdd": "group_add",
    "SecurityOpt": "security_opt",
    "Sysctls": "sysctls",
    "Annotations": "annotations",
    "StorageOpt": "storage_opt",
    "Links": "external_links",
    "DeviceCgroupRules": "device_cgroup_rules",
    "OomKillDisable": "oom_kill_disable",
    "OomScoreAdj": "oom_score_adj",
    "CpuShares": "cpu_shares",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "CpuRealtimePeriod": "cpu_rt_period",
    "CpuRealtimeRuntime": "cpu_rt_runtime",
    "CpusetCpus": "cpuset",
    "MemorySwappiness": "mem_swappiness",
    "PidsLimit": "pids_limit",
}
_SIZES = {
    "Memory": "mem_limit",
    "MemoryReservation": "mem_reservation",
    "MemorySwap": "memswap_limit",
    "ShmSize": "shm_size",
}
_BLOCK_IO = {
    "BlkioDeviceReadBps": "device_read_bps",
    "BlkioDeviceWriteBps": "device_write_bps",
    "BlkioDeviceReadIOps": "device_read_iops",
    "BlkioDeviceWriteIOps": "device_write_iops",
}
# What a compose file leaves to whoever calls `up` or `run`.
_NOBODY_ASKS = ("AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce")


def write(source: Source) -> str:
    """The file, with what it does not do in comments."""
    document, lost = build(source)
    lines = [f"# not reproduced: {name}" for name in [*source.lost, *lost]]
    return "\n".join([*lines, yaml.write(document)])


def build(source: Source) -> tuple[Json, list[str]]:
    """(The document, what it does not say).  `$` is doubled: a reader puts variables in."""
    writer = _Writer(source)
    return _escaped(writer.document()), writer.lost


class _Writer:
    """Takes the request apart; what is left over at the end is lost."""

    def __init__(self, source: Source):
        self._source = source
        self._rest: Json = {**source.config, **source.host}
        self._service: Json = {"image": source.image, "container_name": source.name}
        self._volumes: Json = {}
        self.lost: list[str] = []

    def document(self) -> Json:
        for key in _NOBODY_ASKS:
            self._rest.pop(key, None)
        for key, name in _SAME.items():
            self._take(key, name, _itself if key in ("Cmd", "Entrypoint") else _unique)
        for key, name in _SIZES.items():
            self._take(key, name, values.size)
        self._take("NanoCpus", "cpus", values.cpus)
        self._take("StopTimeout", "stop_grace_period", lambda seconds: f"{seconds}s")
        self._take("RestartPolicy", "restart", values.restart)
        self._take("LogConfig", "logging", _logging)
        self._take("Healthcheck", "healthcheck", _health)
        self._take("Ulimits", "ulimits", _ulimits)
        self._take("Devices", "devices", lambda nodes: _unique(list(map(values.device, nodes))))
        self._take("VolumesFrom", "volumes_from", _containers)
        self._requests()
        self._ports()
        self._mounts()
        self._block_io()
        if self._source.endpoint:
            self.lost.append("the addresses and aliases on its network")
        self.lost += [key for key, value in self._rest.items() if value]
        document: Json = {"services": {self._source.name: self._service}}
        secrets = self._secrets()
        if self._volumes:
            document["volumes"] = self._volumes
        if secrets:
            document["secrets"] = secrets
        return document

    def _take(self, key: str, name: str, convert: Callable[[Any], Any]) -> None:
        value = self._rest.pop(key, None)
        if value is not None:
            self._service[name] = convert(value)

    def _requests(self) -> None:
        """CDI devices are devices; GPUs have a form of their own."""
        for request in self._rest.pop("DeviceRequests", None) or ():
            if request.get("Driver") == "cdi":
                devices = self._service.setdefault("devices", [])
                devices += request.get("DeviceIDs") or ()
                continue
            wanted: Json = {}
            if request.get("Driver"):
                wanted["driver"] = request["Driver"]
            if request.get("DeviceIDs"):
                wanted["device_ids"] = request["DeviceIDs"]
            else:
                wanted["count"] = "all" if request.get("Count") == -1 else request.get("Count")
            wanted["capabilities"] = [n for names in request["Capabilities"] or () for n in names]
            if request.get("Options"):
                wanted["options"] = request["Options"]
            self._service.setdefault("gpus", []).append(wanted)

    def _ports(self) -> None:
        bindings = self._rest.pop("PortBindings", None) or {}
        published = _unique(list(values.ports(bindings)))
        exposed = [
            port for port in self._rest.pop("ExposedPorts", None) or () if port not in bindings
        ]
        if published:
            self._service["ports"] = published
        if exposed:
            self._service["expose"] = exposed
        if self._rest.pop("PublishAllPorts", False):
            self.lost.append("HostConfig.PublishAllPorts")

    def _mounts(self) -> None:
        found: list[Any] = list(self._rest.pop("Volumes", None) or ())
        for text in self._rest.pop("Binds", None) or ():
            name, colon, _ = text.partition(":")
            if colon and not name.startswith("/"):
                self._declare(name)
            found.append(text)
        for spec in self._rest.pop("Mounts", None) or ():
            found.append(self._mount(spec))
        if found:
            self._service["volumes"] = found
        tmpfs = self._rest.pop("Tmpfs", None) or {}
        if tmpfs:
            self._service["tmpfs"] = [
                f"{target}:{data}" if data else target for target, data in tmpfs.items()
            ]

    def _declare(self, name: str) -> None:
        self._volumes[name] = {"name": name, "external": True}

    def _mount(self, spec: Json) -> Json:
        entry: Json = {"type": spec["Type"]}
        if spec.get("Source"):
            entry["source"] = spec["Source"]
            if spec["Type"] == "volume":
                self._declare(spec["Source"])
        entry["target"] = spec["Target"]
        if spec.get("ReadOnly"):
            entry["read_only"] = True
        if spec.get("Consistency"):
            entry["consistency"] = spec["Consistency"]
        known = (*values.PLAIN_MOUNT_KEYS, *values.MOUNT_SECTIONS)
        more = [key for key, value in spec.items() if value and key not in known]
        self.lost += [f"Mounts.{spec['Target']}.{key}" for key in more]
        for section in values.MOUNT_SECTIONS:
            for key, value in (spec.get(section) or {}).items():
                write = _MOUNT_OPTIONS.get((section, key))
                if value and write is None:
                    self.lost.append(f"Mounts.{spec['Target']}.{section}.{key}")
                elif value and write is not None:
                    name, convert = write
                    part = section.removesuffix("Options").lower()
                    entry.setdefault(part, {})[name] = convert(value)
        return entry

    def _block_io(self) -> None:
        found: Json = {}
        weight = self._rest.pop("BlkioWeight", None)
        if weight:
            found["weight"] = weight
        weights = self._rest.pop("BlkioWeightDevice", None)
        if weights:
            found["weight_device"] = [
                {"path": one["Path"], "weight": one["Weight"]} for one in weights
            ]
        for key, name in _BLOCK_IO.items():
            limits = self._rest.pop(key, None)
            if limits:
                found[name] = [{"path": one["Path"], "rate": one["Rate"]} for one in limits]
        if found:
            self._service["blkio_config"] = found

    def _secrets(self) -> Json:
        """The declarations; the service gets its uses."""
        declared: Json = {}
        used: list[Json] = []
        for entry in self._source.secrets:
            name = entry["Name"]
            if "File" in entry:
                declared[name] = {"file": entry["File"]}
            else:
                declared[name] = {"environment": entry.get("Env") or "VARIABLE"}
            use: Json = {"source": name, "target": entry["Target"]}
            use.update({key.lower(): str(entry[key]) for key in ("Uid", "Gid") if entry[key]})
            use["mode"] = entry["Mode"]  # decimal: readers differ about what 0400 and "0400" are
            used.append(use)
        if used:
            self._service["secrets"] = used
        return declared


def _itself(value: Any) -> Any:
    return value


def _unique(value: Any) -> Any:
    """A list without repetitions, which the schema forbids and nobody misses."""
    return list(dict.fromkeys(value)) if isinstance(value, list) else value


def _logging(chosen: Json) -> Json:
    found: Json = {}
    if chosen.get("Type"):
        found["driver"] = chosen["Type"]
    if chosen.get("Config"):
        found["options"] = chosen["Config"]
    return found


def _health(check: Json) -> Json:
    if check.get("Test") == ["NONE"]:
        return {"disable": True}
    found: Json = {}
    if check.get("Test"):
        found["test"] = check["Test"]
    for key, name in (
        ("Interval", "interval"),
        ("Timeout", "timeout"),
        ("StartPeriod", "start_period"),
        ("StartInterval", "start_interval"),
    ):
        if check.get(key):
            found[name] = values.duration(check[key])
    if check.get("Retries"):
        found["retries"] = check["Retries"]
    return found


def _containers(names: list[str]) -> Any:
    return _unique([f"container:{name}" for name in names])


def _ulimits(limits: list[Json]) -> Json:
    return {limit["Name"]: {"soft": limit["Soft"], "hard": limit["Hard"]} for limit in limits}


_RECURSIVE = "recursive"
_MOUNT_OPTIONS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("BindOptions", "Propagation"): ("propagation", _itself),
    ("BindOptions", "CreateMountpoint"): ("create_host_path", _itself),
    ("BindOptions", "NonRecursive"): (_RECURSIVE, lambda value: "disabled"),
    ("BindOptions", "ReadOnlyNonRecursive"): (_RECURSIVE, lambda value: "writable"),
    ("BindOptions", "ReadOnlyForceRecursive"): (_RECURSIVE, lambda value: "readonly"),
    ("VolumeOptions", "NoCopy"): ("nocopy", _itself),
    ("VolumeOptions", "Labels"): ("labels", _itself),
    ("VolumeOptions", "Subpath"): ("subpath", _itself),
    ("TmpfsOptions", "SizeBytes"): ("size", _itself),
    ("TmpfsOptions", "Mode"): ("mode", _itself),
    ("ImageOptions", "Subpath"): ("subpath", _itself),
}


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_escaped(entry) for entry in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
