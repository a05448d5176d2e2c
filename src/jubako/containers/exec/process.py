"""What an exec runs, as a runtime wants it: an OCI process object."""

from __future__ import annotations

import os

from jubako.containers.definition import spec
from jubako.containers.exec.holder import EXIT_NOT_STARTED
from jubako.errors import InvalidArgument, StartError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.model import ContainerRecord, ExecRecord

_NOT_ABSOLUTE = "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown"


def exec_process(container: ContainerRecord, pid: int, record: ExecRecord) -> dict[str, Any]:
    """The OCI process object of an exec in a running container whose init is `pid`.

    Raises WrongState (it has ended), StartError (126: no such user, a relative directory).
    """
    config = record["ProcessConfig"]
    if record["WorkingDir"] and not record["WorkingDir"].startswith("/"):
        raise StartError(_NOT_ABSOLUTE, exit_code=EXIT_NOT_STARTED, subject=record["WorkingDir"])
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise WrongState(f"container {container['Id']} is not running") from exc
    try:
        return spec.exec_process(
            container,
            [config["entrypoint"], *config["arguments"]],
            rootfs_fd=root,
            user=config.get("user", ""),
            env=record["Env"],
            workdir=record["WorkingDir"],
            tty=config["tty"],
            privileged=config["privileged"],
            console_size=record["ConsoleSize"] or None,
        )
    except InvalidArgument as exc:  # no such user: as if the runtime had found out
        raise StartError(exc.message, exit_code=EXIT_NOT_STARTED, hint=exc.hint) from exc
    finally:
        os.close(root)
