"""A fresh Python for a part of a monitor's work: small, and of one version of this package.

A monitor lives for as long as its container.  What it imports late may be of a newer version than
what it has in memory: `Version` tells that the package was replaced meanwhile.
"""

from __future__ import annotations

import os
import sys

from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEARCH_PATH = os.path.abspath(f"{__file__}/../../..")  # the directory that has this package


def executable() -> str:
    """The interpreter; also where Python is embedded in another program."""
    if os.path.basename(sys.executable or "").startswith("python"):
        return sys.executable
    return f"{sys.base_exec_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


def command(module: str, *arguments: object) -> list[str]:
    """The command line that calls `main()` of a module of this package, say `monitor.probe`.

    It finds its arguments in `sys.argv[1:]`.  Nothing but the standard library and this package can
    be imported there.
    """
    code = f"import sys; sys.path.insert(0, {SEARCH_PATH!r})"
    package, _, name = f"jubako.containers.{module}".rpartition(".")
    code += f"; from {package} import {name}; {name}.main()"
    return [executable(), "-I", "-S", "-c", code, *map(str, arguments)]


def replace(module: str, *arguments: object) -> None:
    """Become that interpreter: PID, children and inheritable descriptors stay.

    Raises OSError when that is impossible: it was upgraded away, or memory is short.
    """
    argv = command(module, *arguments)
    os.execv(argv[0], argv)


def spawn(
    module: str,
    *arguments: object,
    descriptors: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
) -> int:
    """Start that interpreter as a child; its PID.

    descriptors: those that it inherits.  variables: of its environment, beside ours.
    Raises KernelError.
    """
    argv = command(module, *arguments)
    for fd in descriptors:
        os.set_inheritable(fd, True)
    try:
        return os.posix_spawn(argv[0], argv, {**os.environ, **(variables or {})})
    except OSError as exc:
        raise KernelError.from_oserror("posix_spawn", exc, path=argv[0]) from exc
    finally:
        for fd in descriptors:
            os.set_inheritable(fd, False)


class Version:
    """The package as it is installed now."""

    def __init__(self) -> None:
        self._identity = _identity()

    @property
    def replaced(self) -> bool:
        """Whether another version was installed in its place."""
        return self._identity != _identity()


def _identity() -> tuple[int, int, int] | None:
    try:
        found = os.stat(f"{SEARCH_PATH}/jubako/version.py")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
