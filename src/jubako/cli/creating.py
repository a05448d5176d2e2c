"""What `run` and `create` share: the container comes into being; a missing image is pulled."""

from __future__ import annotations

import os

from jubako.cli import run_options
from jubako.cli.session import write_all
from jubako.errors import Conflict, JubakoError, KernelError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.containers.model import Config, HostConfig


def create(session: Session, call: Call, config: Config, host: HostConfig) -> str:
    """Create the container of the command line and return its ID; warnings go to stderr.

    `--cidfile` gets the ID; when creating fails the file is not there.
    `--pull` says whether the image is fetched: always, if it is missing, or never.  Raises what the
    engine and the image's registry raise.
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
    if call.text("pull") == "always":
        _pull(session, call)
    try:
        created = _record(session, call, config, host)
    except NotFound as exc:
        _pull_missing(session, call, exc)
        created = _record(session, call, config, host)
    for warning in [*created["Warnings"], *_dns_warnings(host)]:
        session.err(f"WARNING: {warning}")
    found: str = created["Id"]
    return found


def _record(session: Session, call: Call, config: Config, host: HostConfig) -> dict[str, Any]:
    return session.engine.containers.create(
        config,
        host,
        name=call.text("name") or None,
        networking_config=run_options.networking(call, host["NetworkMode"]),
        platform=call.text("platform") or None,
        secrets=call.many("secret"),
    )


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


def _pull_missing(session: Session, call: Call, error: NotFound) -> None:
    """Fetch the image if that is what `error` misses, else raise what is wrong."""
    image = call.args[0]
    try:
        session.engine.images.resolve(image)
    except NotFound as missing:
        error = missing
    else:
        if error.subject != image:
            raise error  # something else is missing; or it is the image's platform
    from jubako.errors import InvalidReference
    from jubako.oci.reference import parse

    if call.text("pull") == "never" or image.startswith("sha256:"):
        raise error
    try:
        name = parse(image).tagged()
    except InvalidReference:
        raise error from None  # it can only be an ID
    if not call.flag("quiet"):
        session.err(f"Unable to find image '{name.familiar()}' locally")
    _pull(session, call)


def _pull(session: Session, call: Call) -> None:
    """Fetch the image of the command line; what is told about that goes to stderr."""
    from jubako.cli.progress import ProgressDisplay

    with ProgressDisplay(session, quiet=call.flag("quiet"), errors=True) as show:
        session.engine.images.pull(
            call.args[0],
            platform=call.text("platform") or None,
            progress=show,
            lazy=call.flag("lazy"),
        )


def _dns_warnings(host: HostConfig) -> list[str]:
    """A resolver on the host's loopback is another machine's from inside a container."""
    for address in host.get("Dns", ()):
        if address.startswith("127.") or address == "::1":
            return [f"Localhost DNS ({address}) may fail in containers."]
    return []
