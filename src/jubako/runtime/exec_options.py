"""The options of `jubako-runtime exec`: which process to run."""

from __future__ import annotations

import json

from jubako.errors import InvalidArgument, KernelError
from jubako.runtime.flags import BOOL, LIST, NUMBER, TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.runtime.flags import Values

    Record = dict[str, Any]

OPTIONS = {
    "process": TEXT,
    "tty": BOOL,
    "cwd": TEXT,
    "env": LIST,
    "user": TEXT,
    "additional-gids": LIST,
    "cap": LIST,
    "no-new-privs": BOOL,
    "apparmor": TEXT,
    "process-label": TEXT,
    "detach": BOOL,
    "pid-file": TEXT,
    "console-socket": TEXT,
    "preserve-fds": NUMBER,
    "cgroup": TEXT,
    "ignore-paused": BOOL,
}
ALIASES = {
    "c": "cap",
    "d": "detach",
    "e": "env",
    "g": "additional-gids",
    "p": "process",
    "t": "tty",
    "u": "user",
}


def process_object(
    options: Values, arguments: list[str], record: Callable[[], Record]
) -> dict[str, Any]:
    """The OCI process object: the one in a file, or the container's own with changes.

    arguments: program and arguments.  record: reads the container's record when that is needed.
    Raises InvalidArgument, KernelError (the file).
    """
    if options.has("process"):
        path = options.text("process")
        try:
            with open(path, "rb") as file:
                loaded = json.loads(file.read())
        except OSError as error:
            raise KernelError.from_oserror("read", error, path=path) from error
        except ValueError as error:
            raise InvalidArgument(f"read {path}: {error}") from error
        if not isinstance(loaded, dict):
            raise InvalidArgument(f"read {path}: not a JSON object")
        return loaded
    if not arguments:
        raise InvalidArgument("process args cannot be empty")
    process: dict[str, Any] = dict(record()["process"])
    process["args"] = arguments
    process["terminal"] = options.flag("tty")
    process.pop("consoleSize", None)
    if options.has("cwd"):
        process["cwd"] = options.text("cwd")
    process["env"] = [*(process.get("env") or ()), *options.many("env")]
    if options.has("user"):
        process["user"] = _user(options.text("user"))
    if options.has("additional-gids"):
        gids = [int(gid) for gid in options.many("additional-gids")]
        process["user"] = {**process.get("user", {}), "additionalGids": gids}
    if options.has("no-new-privs"):
        process["noNewPrivileges"] = options.flag("no-new-privs")
    if options.has("apparmor"):
        process["apparmorProfile"] = options.text("apparmor")
    if options.has("process-label"):
        process["selinuxLabel"] = options.text("process-label")
    if options.has("cap"):
        sets = process.get("capabilities") or {}
        added = options.many("cap")
        process["capabilities"] = {
            **sets,
            **{
                name: [*(sets.get(name) or ()), *added]
                for name in ("bounding", "effective", "permitted", "ambient", "inheritable")
                if name in ("bounding", "effective", "permitted") or sets.get(name)
            },
        }
    return process


def _user(text: str) -> dict[str, Any]:
    uid, _, gid = text.partition(":")
    # Numbers only: names are the engine's matter, which resolves them in the image (row 9).
    if not uid.isdigit() or not (gid or "0").isdigit():
        raise InvalidArgument(f"--user {text}: a runtime takes UID[:GID] in numbers")
    return {"uid": int(uid), "gid": int(gid or 0)}
