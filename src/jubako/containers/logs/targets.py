"""What the targets of all drivers have in common; see `jubako.containers.logs.sender`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LIMIT_BYTES = 1 << 20


def target(
    network: str, host: str = "", port: int = 0, paths: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """A target with the defaults; `more` changes them."""
    return {
        "network": network,
        "host": host,
        "port": port,
        "paths": list(paths),
        "addresses": [],
        "tls": None,
        "must_connect": True,
        "mode": "blocking",
        "waits": False,
        "limit": LIMIT_BYTES,
        "retry_s": 0.5,
        "retry_max_s": 30.0,
        "growth": 1.5,
        "retries": 0,
        "timeout_s": 10.0,
        "write_timeout_s": 0.0,
        "acks": False,
        "memfd": False,
        "failure": "",  # what Docker says before the reason
        "refusal": "",  # what Docker says in place of it
        **more,
    }
