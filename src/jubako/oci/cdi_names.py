"""Names of CDI devices, `vendor.com/class=name` (Container Device Interface, SPEC.md)."""

from __future__ import annotations

import re

# compiled when they are first needed
_VENDOR = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_CLASS = r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?"
MAX_LENGTH = 1024


def is_qualified(text: str) -> bool:
    """Whether `text` names a CDI device in full; a path of a device node never does."""
    return split(text) is not None


def split(text: str) -> tuple[str, str] | None:
    """(kind, name) of `vendor.com/class=name`; None when it is something else."""
    if len(text) > MAX_LENGTH:
        return None
    match = re.fullmatch(f"({_VENDOR}/{_CLASS})=({_NAME})", text, re.ASCII)
    return (match[1], match[2]) if match else None


def is_kind(text: str) -> bool:
    """Whether `text` is a `vendor.com/class`."""
    return bool(re.fullmatch(f"{_VENDOR}/{_CLASS}", text[: MAX_LENGTH + 1], re.ASCII))


def is_name(text: str) -> bool:
    """Whether `text` may be the name of a device within its kind."""
    return bool(re.fullmatch(_NAME, text[: MAX_LENGTH + 1], re.ASCII))
