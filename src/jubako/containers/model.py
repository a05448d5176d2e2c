"""The shapes of a container's record: Docker's own (Engine API), as typed dictionaries.

Only type checkers need this module; on the hot path it is imported under TYPE_CHECKING, because
`typing` alone costs 4 ms.

`Config` and `HostConfig` have every key once they went through `containers.config.merge`, in the
order in which `docker inspect` prints them.  Keys that Docker leaves out when they are empty
(`Healthcheck`, `Tmpfs`, `Init`, ...) may be missing there too.  Before that, as a client sends
them, any key may be missing.
"""

from __future__ import annotations

from typing import Any, TypedDict

Json = dict[str, Any]
"""A decoded JSON object whose shape somebody else defines: an OCI runtime spec, a client's body."""


class HealthConfig(TypedDict, total=False):
    """How to find out whether the container works; durations are nanoseconds."""

    Test: list[str]
    Interval: int
    Timeout: int
    StartPeriod: int
    StartInterval: int
    Retries: int


class Config(TypedDict, total=False):
    """What a container runs: the part that could come from its image (API ContainerConfig)."""

    Hostname: str
    Domainname: str
    User: str
    AttachStdin: bool
    AttachStdout: bool
    AttachStderr: bool
    ExposedPorts: dict[str, dict[str, object]]
    Tty: bool
    OpenStdin: bool
    StdinOnce: bool
    Env: list[str] | None
    Cmd: list[str] | None
    Healthcheck: HealthConfig
    ArgsEscaped: bool
    Image: str
    Volumes: dict[str, dict[str, object]] | None
    WorkingDir: str
    Entrypoint: list[str] | None
    NetworkDisabled: bool
    MacAddress: str
    OnBuild: list[str] | None
    Labels: dict[str, str]
    StopSignal: str
    StopTimeout: int
    Shell: list[str]


class PortBinding(TypedDict):
    """One host address of a published port; an empty HostPort is any free one."""

    HostIp: str
    HostPort: str


class LogConfig(TypedDict):
    """The log driver and its options."""

    Type: str
    Config: dict[str, str]


class RestartPolicy(TypedDict):
    """`no`, `always`, `unless-stopped` or `on-failure` (MaximumRetryCount times, 0: ever)."""

    Name: str
    MaximumRetryCount: int


class DeviceMapping(TypedDict):
    """A device node of the host, its path in the container, and a subset of `rwm`."""

    PathOnHost: str
    PathInContainer: str
    CgroupPermissions: str


class Ulimit(TypedDict):
    """A resource limit; -1 is unlimited."""

    Name: str
    Soft: int
    Hard: int


class WeightDevice(TypedDict):
    """The block I/O weight of one device."""

    Path: str
    Weight: int


class ThrottleDevice(TypedDict):
    """A block I/O limit of one device, in bytes or operations per second."""

    Path: str
    Rate: int


class BindOptions(TypedDict, total=False):
    """Options of `--mount type=bind`."""

    Propagation: str
    NonRecursive: bool
    CreateMountpoint: bool
    ReadOnlyNonRecursive: bool
    ReadOnlyForceRecursive: bool


class DriverConfig(TypedDict, total=False):
    """The driver of a volume that a mount creates."""

    Name: str
    Options: dict[str, str]


class VolumeOptions(TypedDict, total=False):
    """Options of `--mount type=volume`."""

    NoCopy: bool
    Labels: dict[str, str]
    DriverConfig: DriverConfig
    Subpath: str


class TmpfsOptions(TypedDict, total=False):
    """Options of `--mount type=tmpfs`; Mode is a number, not octal text."""

    SizeBytes: int
    Mode: int
    Options: list[list[str]]


class ImageOptions(TypedDict, total=False):
    """Options of `--mount type=image`."""

    Subpath: str


class Mount(TypedDict, total=False):
    """A mount as a client asks for it (`--mount`).

    Two keys are ours, as Podman has them.  Chown: at each start everything in a bind's or volume's
    source is given to the container's user.  IDMap: owners look different inside, see `idmaps`.
    """

    Type: str
    Source: str
    Target: str
    ReadOnly: bool
    Consistency: str
    Chown: bool
    IDMap: str
    BindOptions: BindOptions | None
    VolumeOptions: VolumeOptions | None
    TmpfsOptions: TmpfsOptions | None
    ImageOptions: ImageOptions | None


class HostConfig(TypedDict, total=False):
    """How a container runs on this host (API HostConfig)."""

    Binds: list[str] | None
    ContainerIDFile: str
    LogConfig: LogConfig
    NetworkMode: str
    PortBindings: dict[str, list[PortBinding]]
    RestartPolicy: RestartPolicy
    AutoRemove: bool
    VolumeDriver: str
    VolumesFrom: list[str] | None
    ConsoleSize: list[int]
    Annotations: dict[str, str]
    CapAdd: list[str] | None
    CapDrop: list[str] | None
    CgroupnsMode: str
    Dns: list[str]
    DnsOptions: list[str]
    DnsSearch: list[str]
    ExtraHosts: list[str] | None
    GroupAdd: list[str] | None
    IpcMode: str
    Cgroup: str
    Links: list[str] | None
    OomScoreAdj: int
    PidMode: str
    Privileged: bool
    PublishAllPorts: bool
    ReadonlyRootfs: bool
    SecurityOpt: list[str] | None
    StorageOpt: dict[str, str]
    Tmpfs: dict[str, str]
    UTSMode: str
    UsernsMode: str
    ShmSize: int
    Sysctls: dict[str, str]
    Runtime: str
    Isolation: str
    CpuShares: int
    Memory: int
    NanoCpus: int
    CgroupParent: str
    BlkioWeight: int
    BlkioWeightDevice: list[WeightDevice]
    BlkioDeviceReadBps: list[ThrottleDevice]
    BlkioDeviceWriteBps: list[ThrottleDevice]
    BlkioDeviceReadIOps: list[ThrottleDevice]
    BlkioDeviceWriteIOps: list[ThrottleDevice]
    CpuPeriod: int
    CpuQuota: int
    CpuRealtimePeriod: int
    CpuRealtimeRuntime: int
    CpusetCpus: str
    CpusetMems: str
    Devices: list[DeviceMapping]
    DeviceCgroupRules: list[str] | None
    DeviceRequests: list[Json] | None
    MemoryReservation: int
    MemorySwap: int
    MemorySwappiness: int | None
    OomKillDisable: bool | None
    PidsLimit: int | None
    Ulimits: list[Ulimit]
    CpuCount: int
    CpuPercent: int
    IOMaximumIOps: int
    IOMaximumBandwidth: int
    Mounts: list[Mount]
    MaskedPaths: list[str] | None
    ReadonlyPaths: list[str] | None
    Init: bool | None
    HealthOnFailure: str  # ours: `kill`, `restart` or `stop` an unhealthy container


class MountPoint(TypedDict, total=False):
    """A mount of a container, resolved: what `docker inspect` shows, and what we keep with it.

    Spec: the Mount it came from, if any.  CopyData: the image's content at Destination goes into
    the volume while that is empty.  CreateSource: a missing source directory is made at start.
    Anonymous: the volume was made for this container alone.  KeepOwner: the volume was made with
    an owner or mode, which the image's do not replace.  Chown: as in Mount.  ImageId: of an image's
    files, `sha256:...`.
    """

    Type: str
    Name: str
    Source: str
    Destination: str
    Driver: str
    Mode: str
    RW: bool
    Propagation: str
    Spec: Mount
    CopyData: bool
    CreateSource: bool
    Anonymous: bool
    KeepOwner: bool
    Chown: bool
    ImageId: str


class Secret(TypedDict, total=False):
    """One secret of a container, without its content: see `jubako.containers.secrets`.

    File: where it is read at each start; else Kept: under which name its content lies in the run
    directory, and Env: the variable that it was taken from, if it was.  Target: its place in the
    container.  Never part of `inspect`.
    """

    Name: str
    File: str
    Kept: str
    Env: str
    Target: str
    Uid: int
    Gid: int
    Mode: int


class State(TypedDict, total=False):
    """The state part of `docker inspect`."""

    Status: str
    Running: bool
    Paused: bool
    Restarting: bool
    OOMKilled: bool
    Dead: bool
    Pid: int
    ExitCode: int
    Error: str
    StartedAt: str
    FinishedAt: str
    Health: Json


class ContainerRecord(TypedDict, total=False):
    """What the store keeps of a container beyond its state (column `record`).

    Id: 64 hex digits.  Name: without the leading slash.  ImageId: `sha256:...`.  ImageRef: as the
    user named it.  Path and Args: the command.  Created: RFC 3339 with nanoseconds, UTC.
    RemoveVolumes: it is being removed, and its anonymous volumes are to go with it.
    EndpointConfig: what the user wants of its connection (the API's EndpointSettings), if anything.
    LinkedEnv: the variables about linked containers, as they were at its start.
    """

    Id: str
    Name: str
    Created: str
    ImageId: str
    ImageRef: str
    Path: str
    Args: list[str]
    Config: Config
    HostConfig: HostConfig
    Mounts: list[MountPoint]
    NetworkSettings: Json
    RestartCount: int
    Driver: str
    Platform: str
    LogPath: str
    HostsPath: str
    HostnamePath: str
    ResolvConfPath: str
    SizeRw: int
    SizeRootFs: int
    RemoveVolumes: bool
    EndpointConfig: Json
    LinkedEnv: list[str]
    Secrets: list[Secret]


class ExecProcess(TypedDict, total=False):
    """What an exec runs (API ProcessConfig); `user` is missing for the container's own."""

    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool
    user: str


class ExecRecord(TypedDict, total=False):
    """What the store keeps of an exec beyond its state (column `record` of `execs`).

    OpenStdin, OpenStdout, OpenStderr: what is attached.  DetachKeys: the bytes in base64.
    ConsoleSize: rows and columns, or empty.  PidTicks, HolderTicks: when the processes of the row
    were started (proc_pid_stat(5), field 22), which with their numbers names them for certain.
    """

    ProcessConfig: ExecProcess
    OpenStdin: bool
    OpenStdout: bool
    OpenStderr: bool
    DetachKeys: str
    Env: list[str]
    WorkingDir: str
    ConsoleSize: list[int]
    PidTicks: int
    HolderTicks: int
