"""A Docker-compatible container engine.

from jubako import Engine, NotFound

engine = Engine()  # /var/lib/jubako, or JUBAKO_ROOT
try:
    print(engine.containers.inspect("web")["State"]["Status"])
except NotFound as error:
    print(error)

The names below are the public ones; every other module may change.  They are loaded when they are
first used, because each command of ours imports this module too.
"""

from __future__ import annotations

from jubako.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.engine import Engine
    from jubako.errors import (
        CleanupErrors,
        Conflict,
        ContainerFailed,
        Detached,
        IntegrityError,
        InvalidArgument,
        InvalidDigest,
        InvalidReference,
        JubakoError,
        KernelError,
        NameInUse,
        NotFound,
        NotModified,
        PermissionDenied,
        StartError,
        Unauthorized,
        Unavailable,
        Unsupported,
        WrongState,
    )
    from jubako.linux.explain import Explanation

__all__ = [
    "CleanupErrors",
    "Conflict",
    "ContainerFailed",
    "Detached",
    "Engine",
    "Explanation",
    "IntegrityError",
    "InvalidArgument",
    "InvalidDigest",
    "InvalidReference",
    "JubakoError",
    "KernelError",
    "NameInUse",
    "NotFound",
    "NotModified",
    "PermissionDenied",
    "StartError",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "WrongState",
    "__version__",
]


if not TYPE_CHECKING:  # with it mypy would accept any name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "Engine":
            from jubako.engine import Engine

            return Engine
        if name == "Explanation":
            from jubako.linux.explain import Explanation

            return Explanation
        from jubako import errors

        return getattr(errors, name)
