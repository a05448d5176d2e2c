"""`jubako cp`: files into and out of a container."""

from __future__ import annotations

import os

from jubako.cli import units
from jubako.cli.flags import Command, Flag, Refused
from jubako.cli.session import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
    "\tjubako cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    (Flag("archive", "a"), Flag("follow-link", "L"), Flag("glob"), Flag("quiet", "q")),
    minimum=2,
    maximum=2,
)


def run(session: Session, call: Call) -> int:
    from jubako.containers.files.rules import split_argument

    source, destination = call.args
    if not source:
        raise Refused("source can not be empty")
    if not destination:
        raise Refused("destination can not be empty")
    from_container, source_path = split_argument(source)
    to_container, path = split_argument(destination)
    if from_container and to_container:
        raise Refused("copying between containers is not supported")
    if from_container:
        return _copy_from(session, call, from_container, source_path, path)
    if to_container:
        return _copy_to(session, call, to_container, source_path, path)
    raise Refused("must specify at least one container source")


def _copy_from(session: Session, call: Call, container: str, path: str, destination: str) -> int:
    containers = session.engine.containers
    follow = call.flag("follow-link")
    if call.flag("glob"):
        if destination == "-":
            raise Refused("--glob copies to a directory, not to '-'")
        copied = containers.copy_matching(
            container, path, destination, follow_link=follow, archive=call.flag("archive")
        )
        _report(session, call, copied.size_bytes, copied.path)
        return 0
    if destination == "-":
        _, stream = containers.get_archive(container, path, follow_link=follow)
        with stream:
            for piece in stream:
                session.out_bytes(bytes(piece))
        return 0
    copied = containers.copy_from(
        container, path, destination, follow_link=follow, archive=call.flag("archive")
    )
    _report(session, call, copied.size_bytes, copied.path)
    return 0


def _copy_to(session: Session, call: Call, container: str, source: str, path: str) -> int:
    containers = session.engine.containers
    if call.flag("glob"):
        raise Refused("--glob is for files of a container: the shell knows those of the host")
    if source == "-":
        with os.fdopen(os.dup(0), "rb") as stream:
            containers.copy_to(container, stream, path)
        return 0
    copied = containers.copy_to(container, source, path, follow_link=call.flag("follow-link"))
    _report(session, call, copied.size_bytes, f"{container}:{copied.path}")
    return 0


def _report(session: Session, call: Call, size_bytes: int, where: str) -> None:
    quiet = call.flag("quiet") if call.given("quiet") else not is_terminal(1)
    if not quiet:
        session.err(f"Successfully copied {units.human_size(size_bytes, digits=3)} to {where}")
