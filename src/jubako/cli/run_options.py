"""From the flags of `run` and `create` to the Engine API's Config and HostConfig.

Only what was asked for is set; the engine fills in the rest from the image and its defaults.
Errors are OptionError with the sentences of Docker's command line.
"""

from __future__ import annotations

import os

from jubako.cli import health_options, limit_options, restart_options
from jubako.cli.flags import OptionError
from jubako.errors import InvalidArgument
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.containers.model import Config, HostConfig

# flag -> key of HostConfig, copied as it is when the flag was given
_TEXTS = {
    **limit_options.TEXTS,
    "cgroup-parent": "CgroupParent",
    "cgroupns": "CgroupnsMode",
    "health-on-failure": "HealthOnFailure",
    "ipc": "IpcMode",
    "isolation": "Isolation",
    "pid": "PidMode",
    "runtime": "Runtime",
    "userns": "UsernsMode",
    "uts": "UTSMode",
    "volume-driver": "VolumeDriver",
}
_NUMBERS = {
    **limit_options.NUMBERS,
    "kernel-memory": "KernelMemory",
    "memory-swappiness": "MemorySwappiness",
    "oom-score-adj": "OomScoreAdj",
    "shm-size": "ShmSize",
}
_LISTS = {
    "add-host": "ExtraHosts",
    "blkio-weight-device": "BlkioWeightDevice",
    "cap-add": "CapAdd",
    "cap-drop": "CapDrop",
    "device-cgroup-rule": "DeviceCgroupRules",
    "device-read-bps": "BlkioDeviceReadBps",
    "device-read-iops": "BlkioDeviceReadIOps",
    "device-write-bps": "BlkioDeviceWriteBps",
    "device-write-iops": "BlkioDeviceWriteIOps",
    "dns": "Dns",
    "dns-option": "DnsOptions",
    "dns-search": "DnsSearch",
    "group-add": "GroupAdd",
    "link": "Links",
    "mount": "Mounts",
    "volumes-from": "VolumesFrom",
}
_WITHOUT_ALIASES = ("default", "bridge", "host", "none", "container")
_SWITCHES = {
    "init": "Init",
    "oom-kill-disable": "OomKillDisable",
    "privileged": "Privileged",
    "publish-all": "PublishAllPorts",
    "read-only": "ReadonlyRootfs",
    "rm": "AutoRemove",
}


def build(call: Call) -> tuple[Config, HostConfig]:
    """(Config, HostConfig) for the container that the command line describes.

    Reads the files that flags name (`--env-file`, `--label-file`, seccomp profiles).
    Raises OptionError.
    """
    _check_pull(call)
    config = _config(call)
    host: dict[str, Any] = {"NetworkMode": _network(call)}
    for table, get in (
        (_TEXTS, call.text),
        (_NUMBERS, call.number),
        (_LISTS, call.many),
        (_SWITCHES, call.flag),
    ):
        for flag, key in table.items():
            if call.given(flag):
                host[key] = get(flag)
    _check_modes(call)
    _capabilities(host)
    _volumes(call, config, host)
    _ports(call, config, host)
    _security(call, host)
    _logging(call, host)
    _devices(call, host)
    _restart(call, host)
    check = health_options.health_check(call)
    if check is not None:
        config["Healthcheck"] = check
    if call.given("annotation"):
        host["Annotations"] = dict(call.many("annotation"))
    if call.given("storage-opt"):
        host["StorageOpt"] = _storage(call)
    if call.given("sysctl"):
        host["Sysctls"] = dict(call.many("sysctl"))
    if call.given("tmpfs"):
        host["Tmpfs"] = dict(_cut(text, ":") for text in call.many("tmpfs"))
    if call.given("ulimit"):
        by_name = {limit["Name"]: limit for limit in call.many("ulimit")}
        host["Ulimits"] = [by_name[name] for name in sorted(by_name)]
    if call.text("cidfile"):
        host["ContainerIDFile"] = call.text("cidfile")
    if config["Tty"]:
        host["ConsoleSize"] = _console_size()
    # typing.cast would cost its import; the keys are those of the API, checked by tests
    return config, host  # type: ignore[return-value]


def _capabilities(host: dict[str, Any]) -> None:
    """Their full names, sorted; ALL stands for the others, and adding wins over dropping."""
    added = _capability_names(host.get("CapAdd") or ())
    dropped = _capability_names(host.get("CapDrop") or ())
    for key, names in (("CapAdd", added), ("CapDrop", dropped - added)):
        if key in host:
            host[key] = sorted(names) or None


def _capability_names(words: Sequence[str]) -> set[str]:
    names = {word.strip().upper() for word in words}
    if "ALL" in names:
        return {"ALL"}
    return {name if name.startswith("CAP_") else f"CAP_{name}" for name in names}


def _config(call: Call) -> dict[str, Any]:
    streams = call.many("attach")
    tty, stdin = call.flag("tty"), call.flag("interactive")
    attach_stdin = stdin or "stdin" in streams
    config: dict[str, Any] = {
        "Image": call.args[0],
        "AttachStdin": attach_stdin,
        "AttachStdout": not streams or "stdout" in streams,
        "AttachStderr": not streams or "stderr" in streams,
        "Tty": tty,
        "OpenStdin": stdin,
        "StdinOnce": stdin and attach_stdin,
        "Env": _environment(call),
        "Labels": _labels(call),
        "Cmd": call.args[1:] or None,
    }
    if call.given("entrypoint"):
        config["Entrypoint"] = [call.text("entrypoint")]
    for flag, key in (
        ("domainname", "Domainname"),
        ("hostname", "Hostname"),
        ("mac-address", "MacAddress"),
        ("user", "User"),
        ("workdir", "WorkingDir"),
        ("stop-signal", "StopSignal"),
    ):
        if call.given(flag):
            config[key] = call.text(flag)
    if call.given("stop-timeout"):
        config["StopTimeout"] = call.number("stop-timeout")
    return config


def _environment(call: Call) -> list[str]:
    if not call.given("env-file"):
        return call.many("env")
    from jubako.cli import keyvalue

    return keyvalue.read(call.many("env-file"), call.many("env"), os.environ)


def _labels(call: Call) -> dict[str, str]:
    labels = call.many("label")
    if call.given("label-file"):
        from jubako.cli import keyvalue

        labels = keyvalue.read(call.many("label-file"), labels)
    return dict(_cut(text, "=") for text in labels)


def _cut(text: str, mark: str) -> tuple[str, str]:
    head, _, tail = text.partition(mark)
    return head, tail


def _check_pull(call: Call) -> None:
    pull = call.text("pull")
    if pull not in ("", "missing", "never", "always"):
        raise OptionError(
            f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"'
        )


def networking(call: Call, mode: str) -> dict[str, Any] | None:
    """The NetworkingConfig that the command line asks for; None for nothing special.

    Raises OptionError.
    """
    endpoint: dict[str, Any] = {}
    addresses = {
        "IPv4Address": call.text("ip"),
        "IPv6Address": call.text("ip6"),
        "LinkLocalIPs": call.many("link-local-ip"),
    }
    if any(addresses.values()):
        endpoint["IPAMConfig"] = {key: value for key, value in addresses.items() if value}
    if call.given("network-alias"):
        if mode.partition(":")[0] in _WITHOUT_ALIASES:
            raise OptionError("network-scoped aliases are only supported for user-defined networks")
        endpoint["Aliases"] = call.many("network-alias")
    return {"EndpointsConfig": {mode: endpoint}} if endpoint else None


def _restart(call: Call, host: dict[str, Any]) -> None:
    host["RestartPolicy"] = restart_options.parse(call.text("restart"))
    if call.flag("rm") and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise OptionError("conflicting options: cannot specify both --restart and --rm")


def _check_modes(call: Call) -> None:
    pid = call.text("pid")
    kind, has_name, name = pid.partition(":")
    if pid not in ("", "host") and not (kind == "container" and has_name and name):
        raise OptionError("--pid: invalid PID mode")
    for flag, valid, what in (
        ("uts", ("", "host"), "UTS"),
        ("userns", ("", "host"), "USER"),
        ("cgroupns", ("", "host", "private"), "CGROUP"),
    ):
        if call.text(flag) not in valid:
            raise OptionError(f"--{flag}: invalid {what} mode")
    swappiness = call.number("memory-swappiness")
    if not -1 <= swappiness <= 100:
        raise OptionError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")


def _network(call: Call) -> str:
    names = [_network_name(text) for text in call.many("network")]
    if len(names) > 1:
        raise OptionError("more than one --network is not supported yet")
    return names[0] if names else "default"


def _network_name(text: str) -> str:
    """The network of `--network NAME` or `--network name=NAME,...`."""
    if "=" not in text:
        if not text.strip():
            raise OptionError("no name set for network")
        return text
    from jubako.cli.mount_options import split_fields

    name = ""
    for field in split_fields(text):
        key, _, value = field.lower().partition("=")
        if key.strip() != "name":
            raise OptionError(f"--network {field} is not supported yet")
        name = value.strip()
    if not name:
        raise OptionError("network name/id is not specified")
    return name


def _volumes(call: Call, config: dict[str, Any], host: dict[str, Any]) -> None:
    """`-v`: a bare path is an anonymous volume of the Config, everything else a Bind."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, str]] = {}
    for text in dict.fromkeys(call.many("volume")):
        source = _volume_source(text)
        if source is None:
            anonymous[text] = {}
        elif source.startswith("."):
            binds.append(os.path.abspath(source) + text[len(source) :])
        else:
            binds.append(text)
    if binds:
        host["Binds"] = binds
    if anonymous:
        config["Volumes"] = anonymous


def _volume_source(text: str) -> str | None:
    """The part before the first colon, None for an anonymous volume."""
    if not text:
        raise OptionError("invalid empty volume spec")
    parts = text.split(":")
    if len(text) > 2 and "" in parts:
        raise OptionError(f"invalid spec: {text}: empty section between colons")
    if len(parts) > 3:
        raise OptionError(f"invalid volume specification: '{text}'")
    return parts[0] if len(parts) > 1 and len(text) > 2 else None


def _ports(call: Call, config: dict[str, Any], host: dict[str, Any]) -> None:
    if not (call.given("publish") or call.given("expose")):
        return
    from jubako.networks.portspec import parse_expose, parse_publish, to_bindings

    try:
        mappings = [
            mapping
            for text in call.many("publish")
            for mapping in parse_publish(_short_notation(text) if "=" in text else text)
        ]
        bindings = to_bindings(mappings)
        exposed = [port for text in call.many("expose") for port in parse_expose(text)]
    except InvalidArgument as exc:
        raise OptionError(str(exc)) from exc
    config["ExposedPorts"] = {port: {} for port in (*bindings, *exposed)}
    if bindings:
        host["PortBindings"] = bindings


def _short_notation(text: str) -> str:
    """`published=8080,target=80,protocol=udp` in the form `8080:80/udp`."""
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for field in text.split(","):
        key, found, value = field.partition("=")
        if not found or not key:
            raise OptionError(
                f"invalid publish opts format (should be name=value but got '{field}')"
            )
        fields[key] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _security(call: Call, host: dict[str, Any]) -> None:
    options: list[str] = []
    for text in call.many("security-opt"):
        key, found, value = text.partition("=")
        if not found and key != "no-new-privileges":
            key, found, value = text.partition(":")
        if (not found or not value) and key != "no-new-privileges":
            raise OptionError(f"Invalid --security-opt: {quote(text)}")
        if text == "systempaths=unconfined":
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
        elif key == "seccomp" and value not in ("builtin", "unconfined"):
            options.append("seccomp=" + _seccomp_profile(value))
        else:
            options.append(text)
    if options:
        host["SecurityOpt"] = options


def _seccomp_profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"))
    except OSError as exc:
        reason = f"open {path}: {os.strerror(exc.errno or 0).lower()}"
        raise OptionError(f"opening seccomp profile ({path}) failed: {reason}") from exc
    except ValueError as exc:
        raise OptionError(f"compacting json for seccomp profile ({path}) failed: {exc}") from exc


def _logging(call: Call, host: dict[str, Any]) -> None:
    driver, options = call.text("log-driver"), call.many("log-opt")
    if driver == "none" and options:
        raise OptionError("invalid logging opts for driver none")
    if driver or options:
        host["LogConfig"] = {"Type": driver, "Config": dict(_cut(text, "=") for text in options)}


def _devices(call: Call, host: dict[str, Any]) -> None:
    if not (call.given("device") or call.given("gpus")):
        return
    from jubako.cli import device_options

    device_options.devices(call.many("device"), host)
    if call.given("gpus"):
        host["DeviceRequests"] = [*call.many("gpus"), *host.get("DeviceRequests", ())]


def _storage(call: Call) -> dict[str, str]:
    options = call.many("storage-opt")
    if not all("=" in text for text in options):
        raise OptionError("invalid storage option")
    return dict(_cut(text, "=") for text in options)


def _console_size() -> list[int]:
    """[rows, columns] of the terminal on stdout; zeros without one."""
    try:
        size = os.get_terminal_size(1)
    except OSError:
        return [0, 0]
    return [size.lines, size.columns]
