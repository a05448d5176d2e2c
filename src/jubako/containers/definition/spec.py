"""A container's record becomes an OCI runtime spec: the one thing that a runtime gets to see.

What Docker puts into `config.json` is here, in Docker's order.  Nothing of an image but its
user, its environment, its command and its volumes gets this far, and none of it selects a hook, a
device, a runtime or a host path (labels do not reach the spec; annotations come from the caller).
"""

from __future__ import annotations

import os

from jubako.containers.definition import binds, capabilities, resources, security, tmpfs, users
from jubako.errors import InvalidArgument
from jubako.linux import caps
from jubako.oci import runtime_defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jubako.containers.definition.cdi import Device
    from jubako.containers.model import (
        Config,
        ContainerRecord,
        HostConfig,
        Json,
        MountPoint,
    )

INIT_PATH = "/sbin/docker-init"  # inside the container; Docker's name for it
INIT_PROGRAMS = ("/usr/bin/tini-static", "/usr/libexec/docker/docker-init", "/usr/bin/docker-init")
_NETWORK_FILES = ("resolv.conf", "hostname", "hosts")  # in Docker's order
_UNLIMITED = (1 << 64) - 1


def build_spec(
    record: ContainerRecord,
    *,
    rootfs: str,
    rootfs_fd: int,
    cgroup_path: str,
    files: Mapping[str, str] | None = None,
    network_ns: str | None = None,
    namespaces: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    shm: str | None = None,
    init_program: str | None = None,
    cdi: Sequence[Device] = (),
) -> Json:
    """The complete OCI runtime spec of a container, as Docker makes it.

    record: Config and HostConfig merged and checked.
    rootfs, rootfs_fd: the mounted root file system and a descriptor of it (user lookup).
    cgroup_path: `linux.cgroupsPath`.
    files: host paths of `resolv.conf`, `hostname` and `hosts`, those that exist.
    network_ns: a network namespace to join; None makes a new one (where the mode wants one).
    namespaces: for the modes `container:ID`, the paths of `network`, `ipc` and `pid`.
    sources: destination -> what to bind there instead of the record's Source (`mounts.stage`).
    shm: a directory to bind at /dev/shm (shared with another container, or the host's).
    init_program: for --init; None looks at the usual places.
    cdi: devices to put in.
    Reads the image's passwd and group and the host's /dev; changes nothing.
    Raises InvalidArgument, NotFound (the init program), KernelError.
    """
    config, host = record["Config"], record["HostConfig"]
    user = users.resolve_user(rootfs_fd, config["User"], host["GroupAdd"] or ())
    capability_names = capabilities.of(host)
    options = security.parse(host["SecurityOpt"] or ())
    spec: Json = {
        "ociVersion": runtime_defaults.OCI_VERSION,
        "process": _process(record, user, capability_names, options),
        "root": {"path": rootfs},
    }
    if host["ReadonlyRootfs"]:
        spec["root"]["readonly"] = True
    linux: Json = {}
    sysctls = _sysctls(config, host)
    if sysctls:
        linux["sysctl"] = sysctls
    if host["UTSMode"] != "host":
        spec["hostname"] = config["Hostname"]
    if wants_init(host):
        args = spec["process"]["args"]
        spec["process"]["args"] = [INIT_PATH, "--", *args]
    spec["mounts"] = _mounts(record, options, files or {}, sources or {}, shm, linux, init_program)
    linux["resources"] = resources.of(host)
    linux["cgroupsPath"] = cgroup_path
    linux["namespaces"] = _namespaces(host, network_ns, namespaces or {})
    devices = resources.device_nodes(host)
    if devices:
        linux["devices"] = devices
    profile = security.seccomp(options, capability_names, privileged=host["Privileged"])
    if profile is not None:
        linux["seccomp"] = profile
    for key, paths in (
        ("maskedPaths", host.get("MaskedPaths")),
        ("readonlyPaths", host.get("ReadonlyPaths")),
    ):
        if paths and not host["Privileged"]:
            linux[key] = list(paths)
    if options.mount_label:
        linux["mountLabel"] = options.mount_label
    spec["linux"] = linux
    if host.get("Annotations"):
        spec["annotations"] = dict(host["Annotations"])
    if cdi:
        from jubako.containers.definition import cdi_edits

        cdi_edits.apply(spec, cdi, all_devices=host["Privileged"])
    return spec


def exec_process(
    record: ContainerRecord,
    argv: Sequence[str],
    *,
    rootfs_fd: int,
    user: str = "",
    env: Sequence[str] = (),
    workdir: str = "",
    tty: bool = False,
    privileged: bool = False,
    console_size: Sequence[int] | None = None,
) -> Json:
    """The OCI process object of a further process in a running container (`exec`).

    rootfs_fd: the container's root directory.  user, workdir: "" takes the container's.
    env: added to that of the container.
    Raises InvalidArgument for an unknown user or a relative workdir.
    """
    config, host = record["Config"], record["HostConfig"]
    if not argv:
        raise InvalidArgument("no exec command specified")
    who = users.resolve_user(rootfs_fd, user or config["User"], host["GroupAdd"] or ())
    names = caps.available() if privileged else capabilities.of(host)
    options = security.parse(host["SecurityOpt"] or ())
    linked = record.get("LinkedEnv") or ()
    variables = merge_env(environment(config, tty=tty, linked=linked), env)
    process: Json = {
        "user": _user(who),
        "args": list(argv),
        "env": with_home(variables, who.home),
        "cwd": workdir or config["WorkingDir"] or "/",
        "capabilities": capabilities.sets(names),
    }
    if not process["cwd"].startswith("/"):
        raise InvalidArgument(
            f"the working directory '{workdir}' is invalid, it needs to be an absolute path"
        )
    _complete_process(process, host, options, tty=tty, console_size=console_size)
    return process


def wants_init(host: HostConfig) -> bool:
    """Whether an init program runs as PID 1; never in somebody else's pid namespace."""
    return bool(host.get("Init")) and host["PidMode"] == ""


def find_init() -> str:
    """The host's init program for --init: statically linked, it runs in any root file system.

    Raises InvalidArgument when there is none.
    """
    for path in INIT_PROGRAMS:
        if os.access(path, os.X_OK):
            return path
    raise InvalidArgument(
        "no init program found on this host", hint="install tini: apt-get install tini"
    )


def environment(config: Config, *, tty: bool, linked: Sequence[str] = ()) -> list[str]:
    """The variables that Docker sets, overridden and extended by the container's own."""
    defaults = [runtime_defaults.PATH_ENV, f"HOSTNAME={config['Hostname']}"]
    if tty:
        defaults.append("TERM=xterm")
    return merge_env([*defaults, *linked], config["Env"] or ())


def merge_env(defaults: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """`overrides` replace or follow `defaults`; one without `=` removes the variable."""
    result = list(defaults)
    position = {entry.partition("=")[0]: index for index, entry in enumerate(result)}
    for entry in overrides:
        name, equals, _ = entry.partition("=")
        index = position.get(name)
        if not equals:
            if index is not None:
                result[index] = ""
        elif index is not None:
            result[index] = entry
        else:
            position[name] = len(result)
            result.append(entry)
    return [entry for entry in result if entry]


def with_home(variables: list[str], home: str) -> list[str]:
    """Add HOME, unless it is set and not empty."""
    for index, entry in enumerate(variables):
        if entry.startswith("HOME="):
            if entry == "HOME=":
                variables[index] = f"HOME={home}"
            return variables
    variables.append(f"HOME={home}")
    return variables


def _process(
    record: ContainerRecord,
    user: users.User,
    names: Sequence[str],
    options: security.Options,
) -> Json:
    config, host = record["Config"], record["HostConfig"]
    linked = record.get("LinkedEnv") or ()
    process: Json = {
        "user": _user(user),
        "args": [record["Path"], *record["Args"]],
        "env": with_home(environment(config, tty=config["Tty"], linked=linked), user.home),
        "cwd": config["WorkingDir"] or "/",
        "capabilities": capabilities.sets(names),
    }
    _complete_process(process, host, options, tty=config["Tty"], console_size=host["ConsoleSize"])
    process["oomScoreAdj"] = host["OomScoreAdj"]
    return process


def _complete_process(
    process: Json,
    host: HostConfig,
    options: security.Options,
    *,
    tty: bool,
    console_size: Sequence[int] | None,
) -> None:
    if tty:
        process["terminal"] = True
        if console_size and console_size[0] and console_size[1]:
            process["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    if options.no_new_privileges:
        process["noNewPrivileges"] = True
    if options.apparmor and options.apparmor != "unconfined":
        process["apparmorProfile"] = options.apparmor
    if options.process_label:
        process["selinuxLabel"] = options.process_label
    limits = [
        {
            "type": f"RLIMIT_{limit['Name'].upper()}",
            "hard": limit["Hard"] if limit["Hard"] >= 0 else _UNLIMITED,
            "soft": limit["Soft"] if limit["Soft"] >= 0 else _UNLIMITED,
        }
        for limit in host["Ulimits"]
    ]
    if limits:
        process["rlimits"] = limits


def _user(user: users.User) -> Json:
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}


def _sysctls(config: Config, host: HostConfig) -> dict[str, str]:
    """Docker's two network defaults, the NIS domain, then the user's own."""
    result: dict[str, str] = {}
    mode = host["NetworkMode"]
    if mode != "host" and not mode.startswith("container:"):
        for name, value in (
            ("net.ipv4.ip_unprivileged_port_start", "0"),  # ports below 1024 need no capability
            ("net.ipv4.ping_group_range", "0 2147483647"),  # nor does ping
        ):
            if os.path.exists(f"/proc/sys/{name.replace('.', '/')}"):
                result[name] = value
    if config["Domainname"] and host["UTSMode"] != "host":
        result["kernel.domainname"] = config["Domainname"]
    result.update(host.get("Sysctls") or {})
    return result


def _namespaces(host: HostConfig, network_ns: str | None, others: Mapping[str, str]) -> list[Json]:
    result: list[Json] = [{"type": "mount"}]

    def add(kind: str, mode: str, path: str | None = None) -> None:
        if mode == "host":
            return
        if mode.startswith("container:"):
            path = others.get(kind)
            if path is None:
                raise InvalidArgument(f"the {kind} namespace of {mode} is not there")
        result.append({"type": kind, "path": path} if path else {"type": kind})

    add("network", host["NetworkMode"], network_ns)
    add("uts", host["UTSMode"])
    add("pid", host["PidMode"])
    add("ipc", host["IpcMode"])
    if host["CgroupnsMode"] == "private":
        result.append({"type": "cgroup"})
    return result


def _mounts(
    record: ContainerRecord,
    options: security.Options,
    files: Mapping[str, str],
    sources: Mapping[str, str],
    shm: str | None,
    linux: Json,
    init_program: str | None,
) -> list[Json]:
    """Default mounts that nothing overrides, the init program, then the rest by depth."""
    host = record["HostConfig"]
    own = _own_mounts(record, files, sources, shm, linux)
    targets = {mount["destination"] for mount in own}
    result = []
    for mount in runtime_defaults.mounts():
        target = mount["destination"]
        if target in targets or ("/dev" in targets and target.startswith("/dev/")):
            continue
        if target == "/dev/shm":
            if host["IpcMode"] == "none":
                continue
            mount["options"].append(f"size={host['ShmSize']}")
        if host["Privileged"] and target == "/sys":
            mount["options"].remove("ro")
        if mount["type"] == "cgroup":
            writable = options.writable_cgroups
            if host["Privileged"] if writable is None else writable:
                mount["options"].remove("ro")
        result.append(mount)
    if host["ReadonlyRootfs"]:
        keep = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
        for mount in result:
            if mount["destination"] not in keep and "ro" not in mount["options"]:
                mount["options"].append("ro")
    if wants_init(host):
        result.append(
            {
                "destination": INIT_PATH,
                "type": "bind",
                "source": init_program or find_init(),
                "options": ["bind", "ro"],
            }
        )
    return result + own


def _own_mounts(
    record: ContainerRecord,
    files: Mapping[str, str],
    sources: Mapping[str, str],
    shm: str | None,
    linux: Json,
) -> list[Json]:
    host = record["HostConfig"]
    result: list[Json] = []
    for point in record["Mounts"]:
        if point["Type"] == "tmpfs":
            data = tmpfs.data_of((point.get("Spec") or {}).get("TmpfsOptions"))
            if not point["RW"]:
                data = f"ro,{data}" if data else "ro"
            result.append(tmpfs.mount(point["Destination"], data))
        else:
            source = sources.get(point["Destination"], point["Source"])
            result.append(_bind(point, source, linux))
    for target, data in (host.get("Tmpfs") or {}).items():
        result.append(tmpfs.mount(target, data))
    targets = {mount["destination"] for mount in result}
    for name in _NETWORK_FILES:
        target = f"/etc/{name}"
        if name in files and target not in targets:
            bind_options = ["rbind", "rro", "rprivate"] if host["ReadonlyRootfs"] else None
            result.append(_bind_entry(target, files[name], bind_options or ["rbind", "rprivate"]))
    if shm is None and host["IpcMode"] == "host":
        shm = "/dev/shm"
    if shm is not None and "/dev/shm" not in targets:
        result.append(_bind_entry("/dev/shm", shm, ["rbind", "rprivate"]))
    result.sort(key=_depth)
    return result


def own_binds(
    record: ContainerRecord, files: Mapping[str, str], sources: Mapping[str, str]
) -> list[Json]:
    """Those of its own mounts that are there without a process: not the file systems in memory."""
    mounts = _own_mounts(record, files, sources, None, {})
    return [mount for mount in mounts if mount["type"] == "bind"]


def _depth(mount: Json) -> int:
    target: str = mount["destination"]
    return binds.clean(target).count("/")


def _bind_entry(target: str, source: str, options: list[str]) -> Json:
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _bind(point: MountPoint, source: str, linux: Json) -> Json:
    bind = (point.get("Spec") or {}).get("BindOptions") or {}
    options = ["bind" if bind.get("NonRecursive") else "rbind"]
    if not point["RW"]:
        # everything below a read-only bind is read-only too (Docker since 25)
        options.append("ro" if bind.get("ReadOnlyNonRecursive") else "rro")
    propagation = point.get("Propagation") or ""
    if propagation:
        options.append(propagation)
    root = linux.get("rootfsPropagation")
    if propagation in ("shared", "rshared"):
        linux["rootfsPropagation"] = "shared"
    elif propagation in ("slave", "rslave") and root != "shared":
        linux["rootfsPropagation"] = "rslave"
    entry = _bind_entry(point["Destination"], source, options)
    id_map = (point.get("Spec") or {}).get("IDMap")
    if id_map:
        from jubako.containers.definition import idmaps

        entry["uidMappings"], entry["gidMappings"] = idmaps.parse(id_map)
    return entry
