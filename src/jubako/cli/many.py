"""Commands that take several containers: one after the other, or side by side.

Side by side means a child process for each, as several `stop` at once have to wait each for their
own container: nothing here has threads, because starting a container forks.
"""

from __future__ import annotations

import os

from jubako import errors
from jubako.errors import JubakoError, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jubako.cli.session import Session

MAX_CHILDREN = 50  # as many requests as Docker's command line sends at once


def each(
    session: Session, names: Sequence[str], act: Callable[[str], None], *, silent: bool = False
) -> int:
    """Do `act` for each name and print the name when it worked; afterwards raise what failed.

    silent: print no names.
    """
    failed: list[JubakoError] = []
    for name in names:
        try:
            act(name)
        except JubakoError as exc:
            failed.append(exc)
        else:
            if not silent:
                session.out(name)
    raise_all(failed)
    return 0


def each_at_once(
    session: Session,
    names: Sequence[str],
    act: Callable[[str], None],
    *,
    forgive: type[JubakoError] | None = None,
) -> int:
    """Like `each`, with all names at work at the same time; output keeps their order.

    `act` runs in a forked child, so it must open the engine itself: the session's is not open yet.
    forgive: errors of this class are printed and do not count as a failure.
    """
    failed: list[JubakoError] = []
    for start in range(0, len(names), MAX_CHILDREN):
        batch = names[start : start + MAX_CHILDREN]
        if len(batch) == 1:
            results = [_attempt(batch[0], act)]
        else:
            results = [_finish(*child) for child in [_start(name, act) for name in batch]]
        for name, error in zip(batch, results, strict=True):
            if error is None:
                session.out(name)
            elif forgive is not None and isinstance(error, forgive):
                session.report(error)
            else:
                failed.append(error)
    raise_all(failed)
    return 0


def _attempt(name: str, act: Callable[[str], None]) -> JubakoError | None:
    try:
        act(name)
    except JubakoError as exc:
        return exc
    return None


def _start(name: str, act: Callable[[str], None]) -> tuple[int, int]:
    """Fork a child that does `act(name)`; returns (pid, end of the pipe that tells the result)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.close(reader)
        try:
            error = _attempt(name, act)
            result = b"{}" if error is None else _encode(error)
        except Exception as exc:  # a bug of ours: the parent prints it
            result = _encode(JubakoError(f"{name}: internal error: {type(exc).__name__}: {exc}"))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(result)
        os._exit(0)
    finally:
        os._exit(1)


def _finish(pid: int, reader: int) -> JubakoError | None:
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not data:
        return JubakoError(f"a helper process ended with status {status}")
    return _decode(data)


def _encode(error: JubakoError) -> bytes:
    import json

    return json.dumps(
        {"class": type(error).__name__, "message": str(error), "hint": error.hint}
    ).encode()


def _decode(data: bytes) -> JubakoError | None:
    import json

    fields = json.loads(data)
    if not fields:
        return None
    found = getattr(errors, fields["class"], JubakoError)
    plain = found if found not in (errors.KernelError, errors.CleanupErrors) else JubakoError
    error = plain(fields["message"], hint=fields["hint"])
    assert isinstance(error, JubakoError)
    return error
