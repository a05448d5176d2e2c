"""The built-in runtime: containers made by this process.

What a creator that dies leaves behind is found by its record, which is written before anything is
made: `delete(force=True)` removes processes, cgroup and directory from there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal

from jubako.errors import (
    Conflict,
    JubakoError,
    KernelError,
    NotFound,
    StartError,
    WrongState,
    raise_all,
)
from jubako.linux import cgroups, idmap, pidfd
from jubako.runtime import exec as entering
from jubako.runtime import hooks, start_socket, words
from jubako.runtime import spec as specs
from jubako.runtime.channel import Channel, Errno
from jubako.runtime.init_process import kill_and_reap, kill_and_wait, open_init
from jubako.runtime.interface import OpenStdio, Process, Stdio
from jubako.runtime.namespaces import Namespaces, fork_quietly
from jubako.runtime.process import Identity
from jubako.runtime.state import FILTER, SOCKET, VERSION, StateDir, alive, boot_id, now, start_ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.runtime import init
    from jubako.runtime.sources import Sources

    Record = dict[str, Any]
    Spec = dict[str, Any]


class BuiltinRuntime:
    """A `Runtime` whose containers are made by forks of the calling process.

    state_dir: made if missing; on a tmpfs.  cache_dir: where compiled seccomp filters are kept,
    None for nowhere.  words_of_docker: errors of starting carry the sentence that Docker prints
    around the reason.
    """

    def __init__(
        self, state_dir: str, *, cache_dir: str | None = None, words_of_docker: bool = True
    ):
        self._states = StateDir(state_dir)
        self._cache_dir = cache_dir
        self._words_of_docker = words_of_docker

    # --- create ------------------------------------------------------------------------------

    def create(
        self,
        container_id: str,
        bundle: str,
        stdio: Stdio,
        *,
        spec: Spec | None = None,
        die_with_parent: bool = False,
        preserve_fds: int = 0,
        no_pivot: bool = False,
    ) -> Process:
        """See `Runtime.create`.

        preserve_fds: the container gets descriptors 3 and up of the caller, so many.  no_pivot:
        for hosts whose root is a ramfs.
        """
        from jubako.runtime import init  # not at the top: an exec needs none of this
        from jubako.runtime.options import Options

        if spec is None:
            spec = specs.load(bundle)
        specs.validate(spec)
        directory = self._states.make(container_id)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as temporary:
            undo.callback(self._states.remove, container_id)
            record = _new_record(container_id, bundle, spec)
            setup = init.Setup()
            setup.spec, setup.preserve_fds = spec, preserve_fds
            setup.stdio = temporary.enter_context(OpenStdio(stdio))
            setup.no_pivot, setup.die_with_parent = no_pivot, die_with_parent
            setup.parent_pid = os.getpid()
            setup.identity = Identity(spec["process"], *self._filter(spec, directory))
            setup.state = self._state(record, "created")
            record["seccomp"] = setup.identity.filter is not None
            self._states.write(record)
            setup.terminal = bool(spec["process"].get("terminal"))
            setup.console_size = specs.console_size(spec["process"])
            setup.has_hooks = hooks.any_of(spec.get("hooks"), init.HOST_HOOKS)
            setup.options = [Options(m.get("options") or ()) for m in spec.get("mounts") or ()]
            setup.make_devices = specs.needs_devices(spec)
            setup.namespaces = Namespaces.of_spec(spec["linux"]["namespaces"])
            temporary.callback(setup.namespaces.close)
            setup.sources = _open_sources(setup, bundle)
            temporary.callback(setup.sources.close)
            setup.cgroup = cgroups.Cgroup(record["cgroup"]) if record["cgroup"] else None
            if setup.cgroup is not None:
                _check_unused(setup.cgroup)
                undo.callback(setup.cgroup.remove, why="the container could not be made")
                setup.cgroup.create(
                    record["resources"], why="a group for the container's processes, to limit them"
                )
            setup.listener = start_socket.listen(f"{directory}/{SOCKET}")
            temporary.callback(setup.listener.close)
            process = self._make_init(setup, record, undo, temporary)
            undo.pop_all()
            return process

    def _filter(self, spec: Spec, directory: str) -> tuple[bytes | None, int]:
        profile = spec["linux"].get("seccomp")
        if not profile:
            return None, 0
        from jubako.linux import atomic, seccomp

        bpf = seccomp.compile_profile(profile, self._cache_dir)
        flags = seccomp.flags_of(profile)
        data = flags.to_bytes(8, "little") + bpf
        atomic.write_file(f"{directory}/{FILTER}", data, durable=False)
        return bpf, flags

    def _make_init(
        self,
        setup: init.Setup,
        record: Record,
        undo: contextlib.ExitStack,
        temporary: contextlib.ExitStack,
    ) -> Process:
        from jubako.runtime import init

        ours, setup.channel = Channel.pair()
        temporary.callback(ours.close)
        pid = fork_quietly(setup.namespaces.fork, lambda: init.run(setup))
        handle = pidfd.open(pid)
        undo.callback(kill_and_reap, handle)
        setup.channel.close()  # ours would hide the end of file
        setup.listener.close()
        ticks = start_ticks(pid)
        record["pid"], record["start_ticks"] = pid, ticks[0] if ticks else 0
        self._states.write(record)
        console: list[int] = []
        undo.callback(_close_all, console)
        try:
            self._follow(ours, setup, record, console)
        except (StartError, KernelError) as error:
            raise self._start_error(error, words.CREATE) from error
        return Process(pid, handle, console.pop() if console else None)

    def _follow(
        self, channel: Channel, setup: init.Setup, record: Record, console: list[int]
    ) -> None:
        """Serve init until it is ready."""
        while (got := channel.receive()) is not None:
            message, descriptors = got
            console += descriptors
            if message["kind"] == "ready":
                return
            if message["kind"] == "map":
                linux = setup.spec["linux"]
                idmap.write(
                    record["pid"],
                    linux.get("uidMappings") or (),
                    linux.get("gidMappings") or (),
                    why="which users of the host the container's users are",
                )
                channel.send("go", pid=record["pid"])
            elif message["kind"] == "hooks":
                state = self._state(record, "creating")
                hooks.run(setup.spec.get("hooks"), ("prestart", "createRuntime"), state)
                channel.send("go", pid=record["pid"])
        raise StartError("init ended before the container was ready", subject=record["id"])

    def _start_error(self, error: JubakoError, prefix: str) -> StartError:
        known = error if isinstance(error, StartError) else words.init_error(error)
        return words.whole(known, prefix if self._words_of_docker else "")

    # --- start -------------------------------------------------------------------------------

    def start(self, container_id: str) -> None:
        """See `Runtime.start`."""
        record = self._states.read(container_id)
        path = self._states.of(container_id, SOCKET)
        connection = start_socket.connect(path)
        if connection is None or not self._ask_to_start(Channel(connection)):
            if self._status(record) == "stopped":
                text = "cannot start a container that is stopped"
            else:
                text = "cannot start an already running container"
            raise WrongState(text, subject=container_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        if record["hooks"].get("poststart"):
            hooks.run_all(record["hooks"], "poststart", self._state(record, "running"))

    def _ask_to_start(self, channel: Channel) -> bool:
        """False when init was not waiting any more: another's request came first, or it died."""
        program = ""
        try:
            channel.send("start")
            while (got := channel.receive()) is not None:  # until exec closes the other end
                program = got[0]["path"]
            return program != ""
        except Errno as error:
            failed = words.execute_error(program, error.errno)
            raise self._start_error(failed, words.START) from error
        except KernelError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                return False
            raise self._start_error(error, words.START) from error
        except JubakoError as error:
            raise self._start_error(error, words.START) from error
        finally:
            channel.close()

    # --- state -------------------------------------------------------------------------------

    def state(self, container_id: str) -> dict[str, Any]:
        """See `Runtime.state`; `paused` is a status here, as with runc."""
        record = self._states.read(container_id)
        return self._state(record, self._status(record))

    def _state(self, record: Record, status: str) -> dict[str, Any]:
        state: dict[str, Any] = {
            "ociVersion": record["oci_version"],
            "id": record["id"],
            "status": status,
            "bundle": record["bundle"],
            "annotations": record["annotations"],
            "rootfs": record["rootfs"],
            "created": record["created"],
        }
        if status != "stopped":
            state["pid"] = record["pid"]
        return state

    def _status(self, record: Record) -> str:
        if not alive(record):
            return "stopped"
        connection = start_socket.connect(self._states.of(record["id"], SOCKET))
        if connection is not None:
            connection.close()
            return "created"
        if record["cgroup"] and cgroups.Cgroup(record["cgroup"]).frozen():
            return "paused"
        return "running"

    def states(self) -> list[dict[str, Any]]:
        """The states of all containers; half made ones are left out."""
        found = []
        for container_id in self._states.ids():
            try:
                found.append(self.state(container_id))
            except NotFound:
                continue
        return found

    def pids(self, container_id: str) -> list[int]:
        """See `Runtime.pids`."""
        record = self._states.read(container_id)
        if not record["cgroup"]:
            return [record["pid"]] if alive(record) else []
        return cgroups.Cgroup(record["cgroup"]).pids()

    def stats(self, container_id: str) -> dict[str, Any]:
        """Counters of the container's cgroup, in the shape of `runc events --stats`."""
        record = self._running(container_id)
        return cgroups.Cgroup(record["cgroup"]).stats() if record["cgroup"] else {}

    def record(self, container_id: str) -> Record:
        """What is written down about the container (see `jubako.runtime.state`)."""
        return self._states.read(container_id)

    def _running(self, container_id: str) -> Record:
        record = self._states.read(container_id)
        if not alive(record):
            raise WrongState(f"container {container_id} is not running", subject=container_id)
        return record

    # --- signals -----------------------------------------------------------------------------

    def kill(self, container_id: str, signal: int, *, everything: bool = False) -> None:
        """See `Runtime.kill`."""
        record = self._states.read(container_id)
        cgroup = cgroups.Cgroup(record["cgroup"]) if record["cgroup"] else None
        # Without a PID namespace of its own a container's processes outlive its init.
        shared = record["namespaces"].get("pid") != ""
        why = "the signal that was asked for"
        if cgroup is not None and (everything or (shared and signal == _SIGKILL)):
            if not everything and not alive(record):
                raise _not_running(container_id)
            cgroup.kill(signal, why=why)
            return
        handle = open_init(record)
        if handle is None:
            raise _not_running(container_id)
        try:
            pidfd.send_signal(handle, signal, why=why)
            if signal == _SIGKILL and cgroup is not None and cgroup.frozen():
                cgroup.thaw(why="a frozen process does not even die")
        except KernelError as error:
            if error.errno == errno.ESRCH:
                raise _not_running(container_id) from error
            raise
        finally:
            os.close(handle)

    def pause(self, container_id: str) -> None:
        """See `Runtime.pause`."""
        record = self._running(container_id)
        self._require(record, "running", "pause")
        self._cgroup(record).freeze(why=_PAUSE)

    def resume(self, container_id: str) -> None:
        """See `Runtime.resume`."""
        record = self._running(container_id)
        self._require(record, "paused", "resume")
        self._cgroup(record).thaw(why="its processes go on where they were")

    def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """See `Runtime.update`."""
        # Engines send the whole object back, whose device rules lack the defaults that every
        # container has; they cannot be changed here, as with runc.
        resources = {key: value for key, value in resources.items() if key != "devices"}
        with self._states.lock(container_id):
            record = self._running(container_id)
            self._cgroup(record).apply(resources)
            merged = dict(record["resources"])
            for name, value in resources.items():
                old = merged.get(name)
                if isinstance(old, dict) and isinstance(value, dict):
                    value = {**old, **value}
                merged[name] = value
            record["resources"] = merged
            self._states.write(record)

    def _cgroup(self, record: Record) -> cgroups.Cgroup:
        if not record["cgroup"]:
            raise WrongState(f"container {record['id']} has no cgroup", subject=record["id"])
        return cgroups.Cgroup(record["cgroup"])

    def _require(self, record: Record, wanted: str, verb: str) -> None:
        status = self._status(record)
        if status != wanted and not (wanted == "running" and status == "created"):
            raise WrongState(
                f"cannot {verb} container {record['id']}: it is {status}", subject=record["id"]
            )

    # --- delete ------------------------------------------------------------------------------

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """See `Runtime.delete`; with `force` also what a creator that died has left."""
        try:
            with self._states.lock(container_id):
                self._delete(container_id, force)
        except NotFound:
            if not force:
                raise

    def _delete(self, container_id: str, force: bool) -> None:
        try:
            record = self._states.read(container_id)
        except NotFound:
            if force:
                self._states.remove(container_id)  # died before its record was written
            raise
        errors: list[JubakoError] = []

        def attempt(call: Callable[[], None]) -> None:
            try:
                call()
            except JubakoError as error:
                errors.append(error)

        handle = open_init(record)
        if handle is not None:
            try:
                if not force and self._status(record) != "created":
                    raise WrongState(
                        f"cannot delete container {container_id} that is not stopped: "
                        f"{self._status(record)}",
                        subject=container_id,
                    )
                attempt(lambda: kill_and_wait(handle, record))
            finally:
                os.close(handle)
        if errors:
            raise_all(errors)  # it still runs: its record must stay
        if record["cgroup"]:
            cgroup = cgroups.Cgroup(record["cgroup"])
            if record["namespaces"].get("pid") != "":
                why = "in another's PID namespace its processes outlive its first one"
                attempt(lambda: cgroup.kill(why=why))
            attempt(lambda: cgroup.remove(why="the group is empty now"))
        errors += hooks.run_all(record["hooks"], "poststop", self._state(record, "stopped"))
        if not errors or not record["cgroup"] or not cgroup.exists():
            attempt(lambda: self._states.remove(container_id))
        raise_all(errors)

    # --- exec --------------------------------------------------------------------------------

    def exec(
        self,
        container_id: str,
        process: dict[str, Any],
        stdio: Stdio,
        *,
        die_with_parent: bool = False,
        preserve_fds: int = 0,
        cgroup: str | None = None,
        ignore_paused: bool = False,
    ) -> Process:
        """See `Runtime.exec`.

        cgroup: another group than the container's.  ignore_paused: the program then waits until
        the container is resumed, and so does the caller.
        """
        specs.validate_process(process)
        record = self._running(container_id)
        status = self._status(record)
        if status != "running" and not (status == "paused" and ignore_paused):
            raise WrongState(
                f"cannot exec in a {status} container"
                if status != "paused"
                else f"container {container_id} is paused, unpause the container before exec",
                subject=container_id,
            )
        for key in _INHERITED:
            if key in record["process"]:
                process = {key: record["process"][key], **process}
        bpf, flags = self._stored_filter(record)
        identity = Identity(process, bpf, flags)
        try:
            return entering.run(
                record,
                process,
                identity,
                stdio,
                die_with_parent=die_with_parent,
                preserve_fds=preserve_fds,
                cgroup=cgroup,
            )
        except (StartError, KernelError) as error:
            raise self._start_error(error, words.EXEC) from error

    def _stored_filter(self, record: Record) -> tuple[bytes | None, int]:
        if not record["seccomp"]:
            return None, 0
        path = self._states.of(record["id"], FILTER)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise KernelError.from_oserror("read", error, path=path) from error
        return data[8:], int.from_bytes(data[:8], "little")


# What a process object of `exec` may leave out: then the container's own holds.
_INHERITED = (
    "apparmorProfile",
    "capabilities",
    "noNewPrivileges",
    "oomScoreAdj",
    "rlimits",
    "selinuxLabel",
)

_SIGKILL = int(signal.SIGKILL)
_PAUSE = "its processes stay in memory and get no processor time any more"


def _new_record(container_id: str, bundle: str, spec: Spec) -> Record:
    from jubako.runtime.sources import root_path

    spec_hooks = spec.get("hooks") or {}
    linux = spec["linux"]
    return {
        "version": VERSION,
        "oci_version": spec["ociVersion"],
        "id": container_id,
        "bundle": os.path.abspath(bundle),
        "rootfs": os.path.abspath(root_path(spec, bundle)),
        "pid": 0,
        "start_ticks": 0,
        "boot_id": boot_id(),
        "created": now(),
        "annotations": spec.get("annotations") or {},
        "cgroup": specs.cgroup_path(spec, container_id),
        "namespaces": {entry["type"]: entry.get("path") or "" for entry in linux["namespaces"]},
        "process": spec["process"],
        "hooks": {
            name: spec_hooks[name] for name in ("poststart", "poststop") if name in spec_hooks
        },
        "resources": specs.resources(spec),
        "seccomp": False,
    }


def _open_sources(setup: init.Setup, bundle: str) -> Sources:
    from jubako.runtime.rootfs import DEFAULT_DEVICES
    from jubako.runtime.sources import open_sources

    devices: list[str] = []
    if setup.namespaces.own("user") and setup.make_devices:
        devices = [f"/dev/{name}" for name in DEFAULT_DEVICES]
        listed = setup.spec["linux"].get("devices") or ()
        devices += [device["path"] for device in listed if device["path"] not in devices]
    return open_sources(setup.spec, bundle, setup.options, devices)


def _check_unused(cgroup: cgroups.Cgroup) -> None:
    """Another's processes would be limited, frozen and killed with ours."""
    if not cgroup.exists():
        return
    if cgroup.pids():
        raise Conflict(f"the cgroup {cgroup.path} is not empty", subject=cgroup.path)
    # left frozen by one that was killed, it would stop our init as it joins
    cgroup.thaw(why="it may have been left frozen")


def _not_running(container_id: str) -> WrongState:
    return WrongState(f"container {container_id} is not running", subject=container_id)


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
