"""Everything that can be done with containers: what `Engine.containers` is."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import cached_property

from jubako.containers import recover
from jubako.containers.events import report
from jubako.errors import ContainerFailed, InvalidArgument, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from jubako.containers.attach import Attachment
    from jubako.containers.copying.places import PathStat
    from jubako.containers.copying.transfer import Archive, Copied
    from jubako.containers.execs import ExecService
    from jubako.containers.execution import Execution
    from jubako.containers.lifecycle import Lifecycle
    from jubako.containers.selecting import Filters
    from jubako.containers.services import Services
    from jubako.containers.stats import Watch
    from jubako.containers.table import Container
    from jubako.images.stream import Readable


class ContainerService:
    """The containers of one root.

    A container is named by its name, its ID or an unambiguous prefix of the ID; every method that
    takes such a reference raises NotFound when there is none.
    """

    def __init__(self, services: Services):
        self._services = services
        self._recovered = False

    @cached_property
    def _lifecycle(self) -> Lifecycle:
        from jubako.containers.lifecycle import Lifecycle

        return Lifecycle(self._services)

    def settle(self) -> None:
        """Repair what crashes left, once for each engine object, as every method does first."""
        self._recover()

    def _recover(self) -> None:
        """Once for each engine object, before it looks at any state."""
        if not self._recovered:
            self._recovered = True
            recover.recover(self._services)

    def _get(self, reference: str) -> Container:
        self._recover()
        return self._services.table.get(reference)

    def recover(self) -> None:
        """Repair what crashes left, now, and delete what belongs to no container.

        Goes on after failures and raises all of them at the end.
        """
        self._recovered = True
        recover.recover_all(self._services)

    # life cycle

    def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        name: str | None = None,
        stdin: bytes | None = None,
        remove: bool = True,
        config: Mapping[str, Any] | None = None,
        host_config: Mapping[str, Any] | None = None,
        secrets: Sequence[Mapping[str, Any]] = (),
    ) -> bytes:
        """Run a command in a new container, wait for its end, return what it wrote to stdout.

        stdin: what it can read; None is nothing.  remove: delete the container at the end.
        config, host_config: anything else, as the Engine API names it, for example
        `host_config={"NetworkMode": "none", "Memory": 64 << 20}`.
        Raises ContainerFailed (its status is not 0), and what `create` and `start` raise.
        """
        from jubako.containers.collect import collect

        streams = {} if stdin is None else {"OpenStdin": True, "StdinOnce": True}
        identity = self._create_to_run(
            image,
            command,
            name,
            {**(config or {}), **streams, "AttachStdin": stdin is not None},
            {**(host_config or {}), "AutoRemove": remove},
            secrets,
        )
        attachment = self.start(identity, attach=True)
        assert attachment is not None
        try:
            output = collect(attachment, stdin)
        finally:
            attachment.close()
        if output.status != 0:
            text = " ".join((image, *command))
            raise ContainerFailed(text, output.status, output.stdout, output.stderr)
        return output.stdout

    def run_detached(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        name: str | None = None,
        remove: bool = False,
        config: Mapping[str, Any] | None = None,
        host_config: Mapping[str, Any] | None = None,
        secrets: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Start a command in a new container and return the container's ID at once; see `run`."""
        host = {**(host_config or {}), "AutoRemove": remove}
        identity = self._create_to_run(image, command, name, dict(config or {}), host, secrets)
        self.start(identity)
        return identity

    def _create_to_run(
        self,
        image: str,
        command: Sequence[str],
        name: str | None,
        config: dict[str, Any],
        host_config: dict[str, Any],
        secrets: Sequence[Mapping[str, Any]],
    ) -> str:
        config["Image"] = image
        if command:
            config["Cmd"] = list(command)
        identity: str = self.create(config, host_config, name=name, secrets=secrets)["Id"]
        return identity

    def create(
        self,
        config: Mapping[str, Any],
        host_config: Mapping[str, Any],
        *,
        name: str | None = None,
        networking_config: Mapping[str, Any] | None = None,
        platform: str | None = None,
        secrets: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Make a container; returns `{"Id": ..., "Warnings": [...]}`.

        config, host_config, networking_config: as the Engine API takes them; missing keys get
        Docker's defaults.  platform: what the image has to be made for, `linux/arm64`.
        secrets: files that only the container sees, in memory: each has a Name, a source (File: a
        path of the host, read at each start; Env: a variable of this process; Content: bytes), and
        maybe Target (else /run/secrets/NAME), Uid, Gid, Mode.
        Raises NotFound (the image), InvalidArgument, NameInUse, Conflict; then nothing is left.
        """
        from jubako.containers.create import create
        from jubako.containers.repair import sweep

        self._recover()
        sweep(self._services)
        container_id, warnings = create(
            self._services, config, host_config, name, secrets, networking_config, platform
        )
        return {"Id": container_id, "Warnings": warnings}

    def prepare_start(self) -> None:
        """Say that a container will be started soon: a process gets ready beside this one.

        Worth it before anything else is done with the engine, by a process without threads; else
        it does nothing.
        """
        services = self._services
        if services.launcher is not None or services.store.is_open:
            return
        if len(os.listdir("/proc/self/task")) == 1:
            from jubako.containers.launcher import Launcher

            services.launcher = Launcher(services.store)

    def start(self, reference: str, *, attach: bool = False) -> Attachment | None:
        """Start it; with `attach`, returns an attachment that misses none of its output."""
        self._recover()
        return self._lifecycle.start(reference, attach=attach)

    def attach(self, reference: str, *, stdin: bool = True) -> Attachment:
        """Connect to the streams of a running container.  Raises WrongState."""
        return self._lifecycle.attach(self._get(reference), stdin=stdin)

    def stop(
        self, reference: str, *, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Ask it to end, kill it after `timeout_s` seconds (-1: never)."""
        self._recover()
        self._lifecycle.stop(reference, timeout_s=timeout_s, signal_name=signal)

    def to_start_at_boot(self) -> list[str]:
        """Names of those that their restart policies start after a boot, in order."""
        from jubako.containers.boot import to_start

        self._recover()
        return to_start(self._services)

    def to_stop_at_shutdown(self) -> list[str]:
        """Names of those that `stop_for_shutdown` is for."""
        from jubako.containers.boot import to_stop

        self._recover()
        return to_stop(self._services)

    def stop_for_shutdown(self, reference: str, *, timeout_s: int | None = None) -> None:
        """Stop it, and let its restart policy start it after the next boot."""
        from jubako.containers.restart import SHUTDOWN

        self._recover()
        self._lifecycle.stop(reference, timeout_s=timeout_s, request=SHUTDOWN)

    def restart(
        self, reference: str, *, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Stop and start it."""
        self._recover()
        self._lifecycle.restart(reference, timeout_s=timeout_s, signal_name=signal)

    def kill(self, reference: str, signal: str | int = "KILL") -> None:
        """Send a signal to its first process.  Raises WrongState, InvalidArgument."""
        self._recover()
        self._lifecycle.kill(reference, signal)

    def update(self, reference: str, **host_config: Any) -> dict[str, Any]:
        """Change limits and the restart policy, also while it runs; returns `{"Warnings": [...]}`.

        host_config: keys of HostConfig, for example `Memory=64 << 20, MemorySwap=128 << 20` or
        `RestartPolicy={"Name": "always"}`; 0 and "" leave a value as it is.
        Raises InvalidArgument, Conflict (it does not go with what is set), KernelError (the kernel
        refuses: less memory than is in use); then everything is as before.
        """
        from jubako.containers.update import update

        self._recover()
        return {"Warnings": update(self._services, reference, host_config)}

    def unlink(self, path: str) -> None:
        """Forget the legacy link `CONTAINER/ALIAS`.  Raises NotFound."""
        from jubako.containers.links import remove

        self._recover()
        remove(self._services, path)

    def pause(self, reference: str) -> None:
        """Freeze all of its processes.  Raises WrongState."""
        self._recover()
        self._lifecycle.pause(reference)

    def unpause(self, reference: str) -> None:
        """Let them go on.  Raises WrongState."""
        self._recover()
        self._lifecycle.unpause(reference)

    def wait(self, reference: str, *, condition: str = "not-running") -> int:
        """Block until `not-running`, `next-exit` or `removed`; returns the exit code."""
        from jubako.containers.waiting import Waiting

        self._recover()
        return Waiting(self._services).wait(reference, condition=condition)

    def rename(self, reference: str, name: str) -> None:
        """Raises NameInUse, InvalidArgument."""
        self._recover()
        self._lifecycle.rename(reference, name)

    def edit(
        self,
        reference: str,
        config: Mapping[str, Any] | None = None,
        host_config: Mapping[str, Any] | None = None,
        *,
        remove: Mapping[str, Sequence[str]] | None = None,
        reset: Sequence[str] = (),
        secrets: Sequence[Mapping[str, Any]] = (),
        remove_secrets: Sequence[str] = (),
        restart_now: bool = False,
        remove_volumes: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Change the configuration of a container, which keeps its ID, name and files.

        config, host_config: what to set, as the Engine API names it.  Collections (Env, Labels,
        ports, mounts by target, Sysctls, Ulimits, Devices, ...) are changed entry by entry,
        anything else is replaced.  remove: names to take out of `Env`, `Labels`, `Ports`
        (`80/tcp`) and `Mounts` (targets).  reset: keys that go back to the image's value or the
        engine's.  secrets: as `create` takes them; remove_secrets: by name.
        restart_now: stop and start a running container for what it cannot get while it runs; when
        it does not start, the old configuration is put back and started.
        remove_volumes: delete the anonymous volumes that it leaves behind.
        dry_run: check everything and change nothing.

        Returns `Id`, `Changes` (each `Path`, `Old`, `New`, and `Live`: it needs no new start),
        `Warnings`, `Restarted`, `LeftVolumes`.
        Raises NotFound, InvalidArgument, Unsupported, Conflict; then everything is as it was.
        """
        from jubako.containers.changes import Request
        from jubako.containers.edit import edit

        request = Request(
            config or {},
            host_config or {},
            remove=remove or {},
            reset=reset,
            secrets=secrets,
            remove_secrets=remove_secrets,
        )
        container = self._get(reference)
        outcome = edit(
            self._services,
            self._lifecycle,
            container.id,
            request,
            restart_now=restart_now,
            remove_volumes=remove_volumes,
            dry_run=dry_run,
        )
        return {
            "Id": container.id,
            "Changes": [
                {"Path": one.path, "Old": one.old, "New": one.new, "Live": one.live}
                for one in outcome.differences
            ],
            "Warnings": outcome.warnings,
            "Restarted": outcome.restarted,
            "LeftVolumes": outcome.left,
        }

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete it; `force` kills it first, `volumes` deletes its anonymous volumes too."""
        self._recover()
        self._lifecycle.remove(reference, force=force, volumes=volumes)

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[list[str], int]:
        """Remove every container that does not run; their IDs and the bytes that came free.

        filters: `until` (a time, see `table.parse_time`) and `label`.
        """
        from jubako.containers.prune import prune

        self._recover()
        return prune(self._services, self._lifecycle, filters or {})

    # looking

    def list(
        self,
        *,
        all: bool = False,
        limit: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
        size: bool = False,
    ) -> list[dict[str, Any]]:
        """Summaries (API ContainerSummary), the newest first.

        all: also those that do not run.  limit: only so many of the newest, whatever their state.
        """
        from jubako.containers.listing import summarize

        self._recover()
        chosen = self._filters(filters) if filters else None
        everything = all or limit is not None or (chosen is not None and chosen.wants_stopped)
        found: list[dict[str, Any]] = []
        for container in self._services.table.listed(stopped=everything):
            if limit is not None and len(found) >= limit:
                break
            if chosen is None or chosen.matches(container):
                found.append(summarize(self._services, container, size=size))
        return found

    def count(self) -> dict[str, int]:
        """How many containers there are in each state that occurs."""
        self._recover()
        return self._services.table.count()

    def _filters(self, filters: Mapping[str, Sequence[str]]) -> Filters:
        from jubako.containers.selecting import Filters

        return Filters(self._services, filters)

    def inspect(self, reference: str, *, size: bool = False) -> dict[str, Any]:
        """Everything about it, as `docker inspect` shows it."""
        from jubako.containers.exec_table import ExecTable
        from jubako.containers.inspect import to_inspect
        from jubako.containers.listing import sizes

        container = self._get(reference)
        document = to_inspect(
            container.record,
            container.state(),
            endpoint=container.endpoint,
            directory=self._services.directory(container.id),
            exec_ids=ExecTable(self._services.store).live_ids(container.id),
            restart_count=container.restart_count,
            layers=self._services.images.layer_paths(container.image_id),
        )
        if container.record["HostConfig"]["Links"]:
            from jubako.containers import links

            document["HostConfig"]["Links"] = links.shown(self._services.table, container)
        if size:
            document["SizeRw"], document["SizeRootFs"] = sizes(self._services, container)
        return document

    def reproduce(self, reference: str, form: str = "run") -> str:
        """What would make the container again, without what its image and the engine's defaults
        do anyway.

        form: `run` (a command line), `compose` (a file) or `python` (a program).  What a form
        cannot say, and content of secrets that came without a file, is named in a comment.
        Raises NotFound, InvalidArgument.
        """
        from jubako.containers.reproduce import reproduce

        return reproduce(self._services, self._get(reference).record, form)

    def stats(
        self, reference: str, *, stream: bool = True, one_shot: bool = False
    ) -> Iterator[dict[str, Any]]:
        """What it uses, as the Engine API's StatsResponse objects: one a second until it is
        removed, or just one after half a second.

        one_shot: that one at once, without the sample before that a CPU percentage needs.
        """
        from jubako.containers.stats import stats

        container = self._get(reference)
        return stats(self._services, container.id, stream=stream, one_shot=one_shot)

    def watch(self, references: Sequence[str] = (), *, everything: bool = False) -> Watch:
        """The statistics of several containers, to be asked for again and again.

        references: names or IDs; without any, all that run at the time, or with `everything` all
        that there are.
        """
        from jubako.containers.stats import Watch

        self._recover()
        return Watch(self._services, references, everything=everything)

    def top(self, reference: str, ps_args: Sequence[str] = ()) -> dict[str, Any]:
        """Its processes as ps(1) of the host shows them: `Titles` and `Processes`."""
        from jubako.containers.top import top

        container = self._get(reference)
        if container.restarting:
            from jubako.containers.lifecycle import restarting

            raise restarting(container)
        if not container.running:
            raise WrongState(f"container {container.id} is not running", subject=container.id)
        found = top(self._services.runtime(container).pids(container.id), ps_args)
        report(self._services.store, container.record, "top")
        return found

    def logs(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        details: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[tuple[str, bytes]]:
        """What it has written: pairs of stream (`stdout`, `stderr`) and bytes, of one line or more.

        follow: go on until it ends.  tail: only so many of the last records.
        since, until: seconds since 1970.  timestamps: put the time before each line.
        details: put the attributes before each line that its log options asked for.
        Raises Unsupported when its log driver keeps nothing.
        """
        from jubako.containers.logs.render import Renderer
        from jubako.containers.reading import read_logs

        container = self._get(reference)
        wanted = {name for name, yes in (("stdout", stdout), ("stderr", stderr)) if yes}
        if not wanted:
            raise InvalidArgument("You must choose at least one stream")
        renderer = Renderer(
            streams=wanted, since_s=since, until_s=until, timestamps=timestamps, details=details
        )
        return read_logs(self._services, container, renderer, follow=follow, tail=tail, since=since)

    # inside

    def exec(
        self,
        reference: str,
        argv: Sequence[str],
        *,
        user: str = "",
        env: Sequence[str] = (),
        workdir: str = "",
        tty: bool = False,
        interactive: bool = False,
        privileged: bool = False,
        detach: bool = False,
        detach_keys: str = "",
        console_size: tuple[int, int] | None = None,
    ) -> Execution | None:
        """Start another process in a running container; its streams, or None with `detach`.

        env: `NAME=value` over the container's own.  workdir: "" is the container's.
        console_size: rows and columns of its terminal.  detach_keys: as `--detach-keys`, for who
        attaches; `Execution.pump` takes them too.
        Raises WrongState, InvalidArgument (detach keys), StartError (126, 127).
        """
        from jubako.containers.execute import new_record, start_new

        container = self._get(reference)
        record = new_record(
            {
                "Cmd": argv,
                "User": user,
                "Env": env,
                "WorkingDir": workdir,
                "Tty": tty,
                "Privileged": privileged,
                "AttachStdin": interactive and not detach,
                "AttachStdout": not detach,
                "AttachStderr": not detach,
                "DetachKeys": detach_keys,
                "ConsoleSize": console_size,
            }
        )
        return start_new(self._services, container, record, detach=detach)

    @cached_property
    def execs(self) -> ExecService:
        """The execs: list, inspect, signal, stop, resize; create and start in two steps."""
        from jubako.containers.execs import ExecService

        return ExecService(self._services, self._get)

    # files

    def stat_path(self, reference: str, path: str) -> PathStat:
        """What is at a path in it, whether it runs or not; a last link is not followed.

        Raises NotFound (the container, the file), InvalidArgument.
        """
        from jubako.containers.copying import transfer

        self._recover()
        return transfer.stat_path(self._services, reference, path)

    def get_archive(
        self, reference: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStat, Archive]:
        """A file or directory of it as a tar: a readable stream and an iterable, to be closed.

        Names begin with the path's last component; of `DIR/.` with `./`.  Volumes, binds and, of a
        running container, what it has in memory are there; /proc, /sys and their kin look empty.
        While the stream of a container that does not run is open, it cannot be started.
        follow_link: what a link at `path` leads to, instead of the link.
        Raises NotFound, InvalidArgument.
        """
        from jubako.containers.copying import transfer

        self._recover()
        return transfer.get_archive(self._services, reference, path, follow_link=follow_link)

    def put_archive(self, reference: str, path: str, stream: Readable) -> None:
        """Unpack a tar, plain or compressed, into a directory of it, with the archive's owners.

        A directory is never replaced by something else nor the other way round.  After an error
        what was unpacked before stays.
        Raises NotFound (the directory), InvalidArgument (no directory, read-only, a bad archive).
        """
        from jubako.containers.copying import transfer

        self._recover()
        transfer.put_archive(self._services, reference, path, stream)

    def copy_from(
        self,
        reference: str,
        path: str,
        destination: str,
        *,
        follow_link: bool = False,
        archive: bool = False,
    ) -> Copied:
        """Copy a file or directory of it to the host, by the rules of `docker cp`.

        follow_link: if `path` is a link, copy what it names.  archive: keep the owners; else the
        files belong to the caller.
        Raises NotFound, InvalidArgument in Docker's words, KernelError.
        """
        from jubako.containers.copying import transfer

        self._recover()
        return transfer.copy_from(
            self._services, reference, path, destination, follow_link=follow_link, archive=archive
        )

    def copy_matching(
        self,
        reference: str,
        pattern: str,
        destination: str,
        *,
        follow_link: bool = False,
        archive: bool = False,
    ) -> Copied:
        """Copy everything that matches a pattern to a directory of the host; see `copy_from`.

        pattern: a path whose last component may hold `*`, `?` and `[...]`, as in a shell.
        Raises NotFound (nothing matches), InvalidArgument (the destination is no directory).
        """
        from jubako.containers.copying import transfer

        self._recover()
        return transfer.copy_matching(
            self._services,
            reference,
            pattern,
            destination,
            follow_link=follow_link,
            archive=archive,
        )

    def copy_to(
        self, reference: str, source: str | Readable, path: str, *, follow_link: bool = False
    ) -> Copied:
        """Copy a file or directory of the host into it, with its owners; see `copy_from`.

        source: a path, or a tar to unpack into a directory.
        """
        from jubako.containers.copying import transfer

        self._recover()
        return transfer.copy_to(self._services, reference, source, path, follow_link=follow_link)

    def changes(self, reference: str) -> Sequence[dict[str, Any]]:
        """What it has changed in the files of its image: `Path` and `Kind` (0 changed, 1 added,
        2 deleted), sorted, parents first."""
        from jubako.containers.diff import changes

        return changes(self._services, self._get(reference))

    # images from containers

    def export(self, reference: str, out: BinaryIO) -> None:
        """Write its root filesystem to `out` as a tar, without its volumes."""
        from jubako.containers.archive import export

        container = self._get(reference)
        export(self._services, container, out)
        report(self._services.store, container.record, "export")

    def commit(
        self,
        reference: str,
        target: str | None = None,
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of what it is now; returns the image's ID.

        target: the new image's name.  changes: Dockerfile instructions on its config.
        pause: freeze it meanwhile if it runs.
        """
        from jubako.containers.archive import commit

        container = self._get(reference)
        with self._lifecycle.frozen(container.id) if pause else nullcontext():
            return commit(
                self._services, container, target, author=author, message=message, changes=changes
            )
