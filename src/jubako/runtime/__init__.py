"""The OCI runtime: a bundle in, a container out.

    from jubako.runtime import Stdio, open_runtime

`open_runtime(None, state_dir)` is the built-in runtime, in this process; a name or a path is a
program with the same interface (crun, runc, youki).  `jubako-runtime` is the built-in one as such a
program.  The package knows no images and no store; all that it remembers is in `state_dir`.

The calling process must have a single thread, and calls of one container come one at a time
(several processes may call: the runtime locks where that matters).
"""

from __future__ import annotations

from jubako.runtime.interface import Process, Runtime, Stdio

__all__ = ["Process", "Runtime", "Stdio", "is_builtin", "open_runtime"]


def is_builtin(name: str | None) -> bool:
    """Whether this is a name of our own runtime, which is always there."""
    return name in (None, "", "builtin", "jubako", "jubako-runtime")


def open_runtime(name: str | None, state_dir: str, *, cache_dir: str | None = None) -> Runtime:
    """The runtime called `name`: None, "jubako" or "builtin" for our own, else a program.

    cache_dir: an existing directory where our own keeps compiled seccomp filters.
    Raises Unavailable when there is no such program.
    """
    # each is imported when somebody starts a container with it: who creates one needs none
    if is_builtin(name):
        from jubako.runtime.builtin import BuiltinRuntime

        return BuiltinRuntime(state_dir, cache_dir=cache_dir)
    from jubako.runtime.external import ExternalRuntime

    return ExternalRuntime(str(name), state_dir)
