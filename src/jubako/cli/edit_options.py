"""The flags of `container edit`: those of `run` that describe a container, and some to take away.

What `run` would set without being asked is not a change: only what was given counts.
"""

from __future__ import annotations

from jubako.cli import run_flags, run_options
from jubako.cli.flags import LIST, Flag, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call

# Flags of `run` about the creation itself, the image, the client's terminal, or the addresses on a
# network of one's own.
NOT_HERE = frozenset(
    "attach cidfile disable-content-trust help ip ip6 lazy link-local-ip name net-alias"
    " network-alias platform pull quiet rm use-api-socket".split()
)
FLAGS = tuple(
    sorted(
        (
            *(flag for flag in run_flags.FLAGS if flag.name not in NOT_HERE),
            Flag("dry-run"),
            Flag("reset", "", LIST),
            Flag("restart-now"),
            Flag("rm-env", "", LIST),
            Flag("rm-label", "", LIST),
            Flag("rm-publish", "", LIST),
            Flag("rm-secret", "", LIST),
            Flag("rm-volume", "", LIST),
            Flag("rm-volumes"),
        ),
        key=lambda flag: flag.name,
    )
)
# Flag to the section of names that the engine takes them out of.
REMOVALS = {
    "rm-env": "Env",
    "rm-label": "Labels",
    "rm-publish": "Ports",
    "rm-volume": "Mounts",
}
# What `run` always sets, and the flags that say that it was meant.
_ALWAYS = {
    "Env": ("env", "env-file"),
    "Labels": ("label", "label-file"),
    "NetworkMode": ("network",),
    "OpenStdin": ("interactive",),
    "RestartPolicy": ("restart",),
    "Tty": ("tty",),
}
_NEVER = frozenset(
    "Image AttachStdin AttachStdout AttachStderr StdinOnce ConsoleSize ContainerIDFile".split()
)


def build(call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the command line asks to set, as (Config, HostConfig) with only those keys.

    Raises OptionError.
    """
    nothing = run_options.build(_as_run(parse(FLAGS, ["container"])))
    asked = run_options.build(_as_run(call))
    config = _given(call, dict(asked[0]), dict(nothing[0]))
    host = _given(call, dict(asked[1]), dict(nothing[1]))
    if config.get("Entrypoint") == [""]:
        config["Entrypoint"] = None
    return config, host


def _as_run(call: Call) -> Call:
    """The same call with the flags that only `run` has, at their defaults."""
    return call.extended(parse(run_flags.FLAGS, []))


def _given(call: Call, asked: dict[str, Any], nothing: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in asked.items():
        if key in _NEVER:
            continue
        if key in _ALWAYS:
            meant = any(call.given(flag) for flag in _ALWAYS[key])
        else:
            meant = key not in nothing or nothing[key] != value
        if meant:
            found[key] = value
    return found
