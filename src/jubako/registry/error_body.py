"""The body of an answer that is an error, from registries, token servers and proxies between."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_CODE = 40  # characters


def parse(body: bytes) -> tuple[str, str]:
    """Code and message of an error's body, empty where it has none.

    `errors: [{code, message}]` is the distribution specification's; `message`,
    `error_description`, `details` and `error` are what others write instead: proxies, OAuth2,
    Docker Hub.  The message is as it came: not yet fit to be shown.
    """
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if isinstance(answer, dict) and isinstance(answer.get("errors"), list) and answer["errors"]:
        answer = answer["errors"][0]
    if not isinstance(answer, dict):
        return "", ""
    texts = (answer.get(key) for key in ("message", "error_description", "details", "error"))
    message = next((text for text in texts if isinstance(text, str) and text), "")
    return _code(answer.get("code")), message


def _code(value: object) -> str:
    """`MANIFEST_UNKNOWN`; nothing else comes near a terminal."""
    if not isinstance(value, str) or len(value) > _MAX_CODE:
        return ""
    return value if value.isascii() and value.replace("_", "").isalnum() else ""
