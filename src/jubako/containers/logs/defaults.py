"""The log driver of containers that name none: what the root's settings say."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def with_defaults(host_config: Mapping[str, Any], root: str) -> Mapping[str, Any]:
    """A request's HostConfig with the settings' driver, and its options where the request has none.

    As in Docker the options are for containers with the settings' driver, named or not.
    root: of the store.  Raises InvalidArgument (the settings), KernelError.
    """
    from jubako.store.settings import load

    chosen = host_config.get("LogConfig") or {}
    if not isinstance(chosen, dict) or not isinstance(chosen.get("Config") or {}, dict):
        return host_config  # wrong, which is somebody else's to say
    settings = load(root)
    driver = chosen.get("Type") or settings.log_driver
    options = dict(chosen.get("Config") or {})
    if driver == settings.log_driver:
        options = {**settings.log_opts, **options}
    return {**host_config, "LogConfig": {"Type": driver, "Config": options}}
