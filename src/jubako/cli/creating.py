"""What `run` and `create` share: the container comes into being, or the image is missing."""

from __future__ import annotations

import os

from jubako.cli import run_options
from jubako.cli.session import write_all
from jubako.errors import Conflict, JubakoError, KernelError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.containers.model import Config, HostConfig


def create(session: Session, call: Call, config: Config, host: HostConfig) -> str:
    """Create the container of the command line and return its ID; warnings go to stderr.

    `--cidfile` gets the ID; when creating fails the file is not there.
    Raises NotFound for a missing image, after Docker's line about it, and what the engine raises.
    """
    path = call.text("cidfile")
    file = _open_id_file(path) if path else -1
    container_id = ""
    try:
        container_id = _create(session, call, config, host)
        if path:
            write_all(file, container_id.encode())
    finally:
        if path:
            os.close(file)
            if not container_id:
                os.unlink(path)
    return container_id


def _create(session: Session, call: Call, config: Config, host: HostConfig) -> str:
    try:
        created = session.engine.containers.create(
            config,
            host,
            name=call.text("name") or None,
            networking_config=run_options.networking(call, host["NetworkMode"]),
            platform=call.text("platform") or None,
            secrets=call.many("secret"),
        )
    except NotFound as exc:
        raise _missing_image(session, call, exc) from exc
    for warning in [*created["Warnings"], *_dns_warnings(host)]:
        session.err(f"WARNING: {warning}")
    found: str = created["Id"]
    return found


def _open_id_file(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError as exc:
        raise Conflict(
            "container ID file found, make sure the other container isn't running or delete "
            f"{path}",
            subject=path,
        ) from exc
    except FileNotFoundError as exc:
        raise JubakoError(
            f"failed to create the container ID file: open {path}: no such file or directory",
            subject=path,
        ) from exc
    except OSError as exc:
        raise KernelError.from_oserror(
            "failed to create the container ID file: open", exc, path=path
        ) from exc


def _missing_image(session: Session, call: Call, error: JubakoError) -> JubakoError:
    """The error to show for `error`: when the image is what is missing, say how to get one."""
    image = call.args[0]
    try:
        session.engine.images.resolve(image)
    except NotFound as missing:
        if call.text("pull") == "never" or image.startswith("sha256:"):
            return missing
    else:
        return error
    from jubako.oci.reference import parse

    name = parse(image).tagged().familiar()
    if not call.flag("quiet"):
        session.err(f"Unable to find image '{name}' locally")
    return NotFound(
        f"image '{name}' is not in the store and pulling from registries is not built yet",
        hint="make one with `jubako bootstrap`, or bring one in with `jubako load` or "
        "`jubako import`",
        subject=name,
    )


def _dns_warnings(host: HostConfig) -> list[str]:
    """A resolver on the host's loopback is another machine's from inside a container."""
    for address in host.get("Dns", ()):
        if address.startswith("127.") or address == "::1":
            return [f"Localhost DNS ({address}) may fail in containers."]
    return []
