"""Every error that Jubako raises on purpose.

    JubakoError                      500   exit 1
    ├ InvalidArgument                400
    │ ├ InvalidReference             400
    │ └ InvalidDigest                400
    ├ StartError                     400 (126, 127) or 500 (128)
    ├ Unauthorized                   401
    ├ PermissionDenied               403
    ├ NotFound                       404
    ├ Conflict                       409
    │ ├ NameInUse                    409
    │ └ WrongState                   409
    ├ NotModified                    304
    ├ Unsupported                    501
    ├ Unavailable                    503
    ├ IntegrityError                 500
    ├ ContainerFailed                500   (a container that was waited for)
    ├ KernelError (also an OSError)  500
    ├ Detached                       500   exit 0 (the user left; the container goes on)
    └ CleanupErrors                  that of its first member

A message is lower case, has no full stop and says what was tried, on what and why it failed;
`hint` says what to do about it.  Texts that clients parse (`No such container: x`) keep Docker's
own spelling.  The class name is the stable machine-readable code.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class JubakoError(Exception):
    """The root of the tree.

    message: what was tried, on what, why it failed.  hint: what the user can do.
    subject: the object concerned (a name, an ID, a path), for programs.
    """

    http_status = 500
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, subject: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.subject = subject

    def __str__(self) -> str:
        return self.message


class InvalidArgument(JubakoError):
    """A request that can never succeed as it was written."""

    http_status = 400


class InvalidReference(InvalidArgument):
    """An image reference that does not follow the grammar."""


class InvalidDigest(InvalidArgument):
    """A digest that is not `algorithm:encoded` of a known algorithm."""


class StartError(JubakoError):
    """The container's process could not be started.

    exit_code: 127 the command was not found, 126 it is not executable, 128 anything else; this
    becomes the container's exit code.
    """

    http_status = 500
    exit_code = 128

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = 128,
        hint: str | None = None,
        subject: str | None = None,
    ):
        super().__init__(message, hint=hint, subject=subject)
        self.exit_code = exit_code
        if exit_code in (126, 127):
            self.http_status = 400


class Unauthorized(JubakoError):
    """Credentials are missing or were refused."""

    http_status = 401


class PermissionDenied(JubakoError):
    """The caller may not do this."""

    http_status = 403


class NotFound(JubakoError):
    """The named object does not exist."""

    http_status = 404


class Conflict(JubakoError):
    """The request contradicts the state of things."""

    http_status = 409


class NameInUse(Conflict):
    """The name belongs to another object."""


class WrongState(Conflict):
    """The object is not in a state that allows this."""


class NotModified(JubakoError):
    """Nothing had to be done (a start of a running container)."""

    http_status = 304


class Unsupported(JubakoError):
    """This engine, kernel or build cannot do this."""

    http_status = 501


class Unavailable(JubakoError):
    """Something needed does not answer now: a registry, a lock, a helper program."""

    http_status = 503


class IntegrityError(JubakoError):
    """Data is not what its digest or size promised; the message names both values."""


class ContainerFailed(JubakoError):
    """A container that `containers.run` waited for ended with a status other than 0.

    exit_status: the container's.  stdout, stderr: what it wrote.
    """

    def __init__(self, command: str, exit_status: int, stdout: bytes, stderr: bytes):
        super().__init__(f"run {command}: exit status {exit_status}", subject=command)
        self.exit_status = exit_status
        self.stdout = stdout
        self.stderr = stderr


class KernelError(JubakoError, OSError):
    """A system call failed.

    op: the call.  errno: as the kernel gave it.  path: the object as the user knows it.
    detail: the other arguments, readable.  Compare `errno`: Python's `FileNotFoundError` and its
    kin do not catch this class.
    """

    def __init__(
        self,
        op: str,
        errno: int,
        *,
        path: str | None = None,
        detail: str | None = None,
        hint: str | None = None,
    ):
        what = " ".join(part for part in (op, path, f"({detail})" if detail else None) if part)
        JubakoError.__init__(self, f"{what}: {os.strerror(errno)}", hint=hint, subject=path)
        self.op = op
        self.errno = errno
        self.path = path
        self.detail = detail

    @classmethod
    def from_oserror(cls, op: str, error: OSError, *, path: str | None = None) -> KernelError:
        """Map an error of the standard library; the path defaults to the one it carries."""
        name = path if path is not None else error.filename
        if isinstance(name, int):  # of os.listdir(descriptor) and its like
            name = f"descriptor {name}"
        return cls(op, error.errno or 0, path=None if name is None else os.fsdecode(name))


class Detached(JubakoError):
    """The user typed the detach keys: the container goes on without an audience."""

    exit_code = 0


class CleanupErrors(JubakoError):
    """Several things went wrong while something was taken down; all of it was tried.

    errors: the flat list.  Use `raise_all`, which raises a single member as itself.
    """

    def __init__(self, errors: Sequence[JubakoError]):
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)
        self.http_status = errors[0].http_status
        self.exit_code = errors[0].exit_code


def raise_all(errors: Sequence[JubakoError]) -> None:
    """Raise nothing for an empty list, the error itself for one, CleanupErrors for more."""
    flat: list[JubakoError] = []
    for error in errors:
        flat.extend(error.errors if isinstance(error, CleanupErrors) else [error])
    if len(flat) == 1:
        raise flat[0]
    if flat:
        raise CleanupErrors(flat)
