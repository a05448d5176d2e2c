"""What a container's options must fulfil, with Docker's sentences when they do not.

`check_request` looks at what the client sent, before the image's defaults join it; `check` at the
result, with `limits`.  What needs other containers, networks or volumes is checked where those are
looked up.
"""

from __future__ import annotations

import os
import re

from jubako.containers.definition import binds, capabilities, devices, limits, security
from jubako.containers.monitor import health
from jubako.containers.signals import parse_signal
from jubako.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import Config, HealthConfig, HostConfig

MAX_HOSTNAME_BYTES = 64  # HOST_NAME_MAX, linux/limits.h
MIN_HEALTH_NS = 1_000_000
UNDEFINED = "can't be used with links. This would result in undefined behavior"

_NAME = r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+"  # patterns are compiled when they are first needed
_NAME_CHARACTERS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_PORT = r"([0-9]{1,5})(?:-([0-9]{1,5}))?"
_PROTOCOLS = ("tcp", "udp", "sctp")
_MAC = r"[0-9a-fA-F]{2}([:-])[0-9a-fA-F]{2}(?:\1[0-9a-fA-F]{2}){4}"
_IPC_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced".split()
)
_SYSCTL = r"[A-Za-z0-9_.*/:@-]+"


def check_name(name: str) -> None:
    """Whether a container may have this name (a leading slash is ignored).

    Raises InvalidArgument.
    """
    if not re.fullmatch(_NAME, name):
        raise InvalidArgument(
            f"Invalid container name ({name}), only {_NAME_CHARACTERS} are allowed", subject=name
        )


def check_request(config: Mapping[str, Any], host: Mapping[str, Any]) -> None:
    """Options that exclude each other, as the client sent them (keys may be missing).

    Raises InvalidArgument.
    """
    mode = host.get("NetworkMode") or ""
    if mode == "container" or mode.startswith("container:"):
        if not mode.partition(":")[2]:
            raise InvalidArgument(
                "invalid network mode: invalid container format container:<name|id>"
            )
        for given, what in (
            (config.get("Hostname"), "hostname and the network mode"),
            (host.get("Dns"), "dns and the network mode"),
            (host.get("ExtraHosts"), "custom host-to-IP mapping and the network mode"),
            (
                host.get("PortBindings") or host.get("PublishAllPorts"),
                "port publishing and the container type network mode",
            ),
            (config.get("ExposedPorts"), "port exposing and the container type network mode"),
        ):
            if given:
                raise InvalidArgument(f"conflicting options: {what}")
    if host.get("Links"):
        for used, what in (
            (mode == "host", "host type networking"),
            (mode.startswith("container:"), "container type network"),
        ):
            if used:
                raise InvalidArgument(f"conflicting options: {what} {UNDEFINED}")
    if host.get("UTSMode") == "host" and config.get("Hostname"):
        raise InvalidArgument("conflicting options: hostname and the UTS mode")


def check(config: Config, host: HostConfig) -> None:
    """Check a merged configuration.  Raises InvalidArgument or Unsupported."""
    _check_config(config)
    _check_health(config.get("Healthcheck"))
    _check_health_action(config, host.get("HealthOnFailure"))
    _check_modes(host)
    policy = host["RestartPolicy"]
    check_restart(policy["Name"], policy["MaximumRetryCount"])
    if host["AutoRemove"] and policy["Name"] != "no":
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    limits.check_resources(host)
    _check_lists(host)
    _check_sysctls(host)
    _check_ports(config, host)
    _check_unsupported(host)


def _check_config(config: Config) -> None:
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config['WorkingDir']}' is invalid, "
            "it needs to be an absolute path",
            subject=config["WorkingDir"],
        )
    if config.get("StopSignal"):
        parse_signal(config["StopSignal"])
    for entry in config["Env"] or ():
        if not entry.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {entry}", subject=entry)
    words = [*(config["Env"] or ()), *(config["Cmd"] or ()), *(config["Entrypoint"] or ())]
    texts = [*words, config["WorkingDir"], config["User"], config["Hostname"]]
    if any("\0" in text for text in texts):
        raise InvalidArgument("invalid argument: a command, variable or name has a NUL byte in it")
    for key in ("Hostname", "Domainname"):
        text: str = config[key]
        if len(os.fsencode(text)) > MAX_HOSTNAME_BYTES:
            raise InvalidArgument(
                f'{key.lower()} "{text}" is too long (maximum {MAX_HOSTNAME_BYTES} bytes)',
                subject=text,
            )
        if any(character <= " " or character == "\x7f" for character in text):
            raise InvalidArgument(f"invalid {key.lower()}: {text!r}", subject=text)
    mac = config.get("MacAddress")
    if mac and not re.fullmatch(_MAC, mac):
        raise InvalidArgument(f"{mac} is not a valid mac address", subject=mac)


def _check_health(health: HealthConfig | None) -> None:
    for key in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = (health or {}).get(key) or 0
        if not isinstance(value, int) or (value != 0 and value < MIN_HEALTH_NS):
            raise InvalidArgument(f"{key} in Healthcheck cannot be less than 1ms")
    if ((health or {}).get("Retries") or 0) < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def _check_health_action(config: Config, action: str | None) -> None:
    if action is None:
        return
    if action not in health.ACTIONS:
        raise InvalidArgument(
            f"invalid health action: unknown action '{action}'; use one of 'none', 'kill', "
            "'restart', or 'stop'",
            subject=action,
        )
    if not health.is_checked(config):
        raise InvalidArgument(
            f"--health-on-failure {action}: the container has no health check",
            hint="give it one with --health-cmd",
        )


def _check_modes(host: HostConfig) -> None:
    known: tuple[str, ...]
    for mode, what, known in (
        (host["IpcMode"], "IPC mode", ("none", "private", "shareable", "host")),
        (host["PidMode"], "PID mode", ("", "host")),
    ):
        if mode not in known and not mode.partition("container:")[2]:
            raise InvalidArgument(f"invalid {what}: {mode}", subject=mode)
    if host["UTSMode"] not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host['UTSMode']}")
    if host["CgroupnsMode"] not in ("private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host['CgroupnsMode']}")
    if host["UsernsMode"] not in ("", "host"):
        raise InvalidArgument(f"invalid user namespace mode: {host['UsernsMode']}")
    if "\0" in host["CgroupParent"]:
        raise InvalidArgument("invalid cgroup parent: it contains a NUL byte")
    if host["Isolation"] not in ("", "default"):
        raise InvalidArgument(
            f"Invalid isolation: \"{host['Isolation']}\" - linux only supports 'default'"
        )


def check_restart(name: str, count: int) -> None:
    """Check a restart policy.  Raises InvalidArgument."""
    if type(name) is not str or type(count) is not int:
        raise InvalidArgument("invalid value of HostConfig.RestartPolicy: wrong type")
    if name in ("no", "always", "unless-stopped"):
        if count:
            raise InvalidArgument(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                + (" and cannot be negative" if count < 0 else "")
            )
    elif name != "on-failure":
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', "
            "'on-failure', or 'unless-stopped'"
        )
    elif count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")


def _check_lists(host: HostConfig) -> None:
    """Everything that is a list with its own small grammar."""
    for key in ("CapAdd", "CapDrop"):
        names: list[str] | None = host[key]
        try:
            capabilities.normalise(names or ())
        except InvalidArgument as exc:
            raise InvalidArgument(f"invalid {key}: {exc}", subject=exc.subject) from exc
    options = security.parse(host["SecurityOpt"] or ())
    security.seccomp(options, (), privileged=host["Privileged"])
    for text in host["ExtraHosts"] or ():
        _check_extra_host(text)
    for text in host["Dns"]:
        if not _is_address(text):
            raise InvalidArgument(f"{text} is not an ip address", subject=text)
    for key in host.get("Annotations") or ():
        if not key:
            raise InvalidArgument(
                "invalid Annotations: the empty string is not permitted as an annotation key"
            )
    for limit in host["Ulimits"]:
        limits.check_ulimit(limit.get("Name", ""), limit.get("Soft", 0), limit.get("Hard", 0))
    for mapping in host["Devices"]:
        access = mapping.get("CgroupPermissions") or "rwm"
        if not mapping.get("PathOnHost"):
            raise InvalidArgument("invalid device specification: no path")
        if not devices.valid_access(access):
            raise InvalidArgument(f"bad mode specified: {access}", subject=access)
    for text in host["DeviceCgroupRules"] or ():
        devices.parse_rule(text)
    limits.check_disks(host)
    for target in host.get("Tmpfs") or ():
        binds.check_tmpfs_target(target)


def _check_extra_host(text: str) -> None:
    name, separator, address = text.partition("=")
    if not separator:
        name, separator, address = text.partition(":")
    if not separator or not name or any(c.isspace() for c in name):
        raise InvalidArgument(f'bad format for add-host: "{text}"', subject=text)
    if address != "host-gateway" and not _is_address(address):
        raise InvalidArgument(f'invalid IP address in add-host: "{address}"', subject=text)


def _is_address(text: str) -> bool:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text.strip("[]") if family == socket.AF_INET6 else text)
            return True
        except (OSError, ValueError):
            continue
    return False


def _check_sysctls(host: HostConfig) -> None:
    """Only those that belong to a namespace which is the container's own."""
    own_network = host["NetworkMode"] != "host"
    own_ipc = host["IpcMode"] != "host"
    for name in host.get("Sysctls") or ():
        if not re.fullmatch(_SYSCTL, name) or ".." in name:
            raise InvalidArgument(f"sysctl '{name}' is not allowed", subject=name)
        key = name.replace("/", ".")
        if key.startswith("net."):
            if not own_network:
                raise InvalidArgument(
                    f'sysctl "{name}" not allowed in host network namespace', subject=name
                )
        elif key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
            if not own_ipc:
                raise InvalidArgument(
                    f'sysctl "{name}" is not allowed in the hosts ipc namespace', subject=name
                )
        else:
            raise InvalidArgument(f"sysctl '{name}' is not allowed", subject=name)


def _check_ports(config: Config, host: HostConfig) -> None:
    for port in config.get("ExposedPorts") or ():
        _check_port(port)
    for port, addresses in host["PortBindings"].items():
        _check_port(port)
        for address in addresses or ():
            text = address.get("HostPort") or ""
            if text and not _is_range(text, lowest=0):
                raise InvalidArgument(f'invalid port specification: "{text}"', subject=text)
            ip = address.get("HostIp") or ""
            if ip and not _is_address(ip):
                raise InvalidArgument(f"invalid IP address: {ip}", subject=ip)


def _check_port(text: str) -> None:
    number, _, protocol = text.partition("/")
    if not _is_range(number, lowest=1) or protocol not in ("", *_PROTOCOLS):
        raise InvalidArgument(f'invalid port specification: "{text}"', subject=text)


def _is_range(text: str, *, lowest: int) -> bool:
    match = re.fullmatch(_PORT, text)
    if match is None:
        return False
    first, last = int(match[1]), int(match[2] or match[1])
    return lowest <= first <= last <= 65535


def _check_unsupported(host: HostConfig) -> None:
    for option in host.get("StorageOpt") or ():
        if option != "size":
            raise InvalidArgument(f"Unknown option {option}", subject=option)
        raise Unsupported(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        )
