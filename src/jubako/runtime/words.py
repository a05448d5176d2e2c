"""The sentences of start failures, which clients read (`executable file not found in $PATH`).

Docker's daemon puts its own words around those of its runtime, and the docker command derives its
exit status from the text: a changed word here changes exit codes there.  We only emit these texts;
decisions are made from errno.
"""

from __future__ import annotations

import errno
import os

from jubako.errors import JubakoError, KernelError, StartError
from jubako.golang.quote import quote

CREATE_OUTER = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
)
CREATE = CREATE_OUTER + "jubako-runtime create failed: "
START = "OCI runtime start failed: "
EXEC_OUTER = "OCI runtime exec failed: "
EXEC = EXEC_OUTER + "exec failed: "
_UNABLE = "unable to start container process: "

NOT_FOUND = 127
NOT_EXECUTABLE = 126


def strerror(number: int) -> str:
    """The kernel's sentence the way Go prints it: in lower case ("permission denied")."""
    text = os.strerror(number)
    if number in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ENOEXEC):
        return text[0].lower() + text[1:]
    return text


def program_error(program: str, number: int, *, stat: bool = False) -> StartError:
    """`program` was looked up and cannot be executed.

    number: errno.  stat: the lookup itself failed, which names the call.  Exit code 127 when there
    is nothing, 126 when there is something that is not executable.
    """
    reason = strerror(number)
    if stat:
        reason = f"stat {program}: {reason}"
    code = NOT_FOUND if number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) else NOT_EXECUTABLE
    return StartError(f"exec: {quote(program)}: {reason}", exit_code=code, subject=program)


def program_not_in_path(program: str) -> StartError:
    """No directory of PATH holds the program."""
    return StartError(
        f"exec: {quote(program)}: executable file not found in $PATH",
        exit_code=NOT_FOUND,
        subject=program,
    )


def execute_error(path: str, number: int) -> StartError:
    """execve(2) refused a program that the lookup had found (its interpreter, its format)."""
    code = NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE
    return StartError(f"exec {path}: {strerror(number)}", exit_code=code, subject=path)


def working_directory_error(path: str, number: int) -> StartError:
    """The working directory of the process cannot be entered."""
    code = NOT_EXECUTABLE if number == errno.EACCES else 128
    return StartError(
        f'chdir to cwd ("{path}") set in config.json failed: {strerror(number)}',
        exit_code=code,
        subject=path,
    )


def init_error(error: JubakoError) -> StartError:
    """A step of the set-up inside the container failed."""
    number = error.errno if isinstance(error, KernelError) else 0
    text = f"error during container init: {error}"
    hint = None
    if number in (errno.ENOTDIR, errno.EISDIR):
        hint = (
            "Are you trying to mount a directory onto a file (or vice-versa)? "
            "Check if the specified host path exists and is the expected type"
        )
    return StartError(text, hint=hint)


def whole(error: StartError, prefix: str) -> StartError:
    """The sentence as Docker prints it.  prefix: CREATE, START, EXEC, or "" for the bare reason."""
    reason = _UNABLE + error.message
    if prefix:
        reason = f"{prefix}{reason}: unknown"
        if error.exit_code == NOT_EXECUTABLE and error.message.endswith("is a directory"):
            reason += ": permission denied"  # what the docker command turns into status 126
    return StartError(reason, exit_code=error.exit_code, hint=error.hint, subject=error.subject)
