"""Containers come, change and go."""

from __future__ import annotations

from jubako.containers.service.part import Part
from jubako.errors import ContainerFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Making(Part):
    """Create, run, edit, remove."""

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
        from jubako.containers.streams.collect import collect

        streams = {} if stdin is None else {"OpenStdin": True, "StdinOnce": True}
        identity = self._create_to_run(
            image,
            command,
            name,
            {**(config or {}), **streams, "AttachStdin": stdin is not None},
            {**(host_config or {}), "AutoRemove": remove},
            secrets,
        )
        attachment = self._lifecycle.start(identity, attach=True)
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
        self._lifecycle.start(identity)
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

    def rename(self, reference: str, name: str) -> None:
        """Raises NameInUse, InvalidArgument."""
        self._recover()
        self._lifecycle.rename(reference, name)

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
