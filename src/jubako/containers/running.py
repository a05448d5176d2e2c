"""`Engine.run`: create, start, wait and collect, for programs."""

from __future__ import annotations

import os
import tempfile

from jubako.errors import ContainerFailed, JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.containers.service import ContainerService


def run(
    containers: ContainerService,
    image: str,
    command: Sequence[str],
    *,
    name: str | None,
    stdin: bytes | None,
    detach: bool,
    remove: bool,
    config: dict[str, Any],
    host_config: dict[str, Any],
) -> bytes | str:
    """See `Engine.run`."""
    config = {**config, "Image": image}
    if command:
        config["Cmd"] = list(command)
    if stdin is not None:
        config.update(OpenStdin=True, StdinOnce=True, AttachStdin=True)
    host_config = {**host_config, "AutoRemove": remove}
    created = containers.create(config, host_config, name=name)  # type: ignore[arg-type]
    container_id: str = created["Id"]
    try:
        attachment = containers.start(container_id, attach=not detach)
    except JubakoError:
        if not remove:
            containers.remove(container_id, force=True)
        raise
    if attachment is None:
        return container_id
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source = tempfile.TemporaryFile() if stdin is not None else None
        try:
            if source is not None:
                source.write(stdin or b"")
                source.seek(0)
            status = attachment.pump(
                stdin=source.fileno() if source is not None else None,
                stdout=out.fileno(),
                stderr=err.fileno(),
            )
        finally:
            attachment.close()
            if source is not None:
                source.close()
        output, errors = _content(out.fileno()), _content(err.fileno())
    if status != 0:
        raise ContainerFailed(" ".join((image, *command)), status, output, errors)
    return output


def _content(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(os.dup(fd), "rb") as file:
        return file.read()
