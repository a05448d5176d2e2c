"""Hooks: programs of the administrator that run at fixed points (runtime-spec config.md#hooks)."""

from __future__ import annotations

import json

from jubako.errors import JubakoError
from jubako.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

TIMEOUT_S = 600.0  # of a hook that names none; the specification knows no limit


def run(
    hooks: dict[str, list[dict[str, Any]]] | None,
    names: Iterable[str],
    state: dict[str, Any],
) -> None:
    """Run the hooks called `names`, in order; each reads the container's state.

    Raises JubakoError for the first that fails; the rest do not run then.
    """
    for name in names:
        for hook in (hooks or {}).get(name) or ():
            _run_one(name, hook, state)


def run_all(
    hooks: dict[str, list[dict[str, Any]]] | None, name: str, state: dict[str, Any]
) -> list[JubakoError]:
    """Run all hooks called `name`, failures notwithstanding; returns the failures."""
    errors: list[JubakoError] = []
    for hook in (hooks or {}).get(name) or ():
        try:
            _run_one(name, hook, state)
        except JubakoError as error:
            errors.append(error)
    return errors


def _run_one(name: str, hook: dict[str, Any], state: dict[str, Any]) -> None:
    path = hook["path"]
    environment: dict[str, str] | None = None
    if hook.get("env"):
        pairs = (item.partition("=") for item in hook["env"])
        environment = {key: value for key, _, value in pairs}
    done = process.run(
        hook.get("args") or [path],
        program=path,
        stdin=json.dumps(state).encode(),
        env=environment,
        timeout_s=hook.get("timeout") or TIMEOUT_S,
        why=f"{name} hook",
    )
    if done.status != 0:
        output = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
        raise JubakoError(
            f"error running {name} hook {path}: exit status {done.status}"
            + (f", output: {output}" if output else ""),
            subject=path,
        )


def any_of(hooks: dict[str, list[dict[str, Any]]] | None, names: Iterable[str]) -> bool:
    """Whether there is a hook called one of `names`."""
    return any((hooks or {}).get(name) for name in names)
