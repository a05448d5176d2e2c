"""Sorting as people read: `web2` before `web10`."""

from __future__ import annotations

import re


def natural_key(text: str) -> list[tuple[int, str | int, str]]:
    """A sort key under which runs of digits count as numbers."""
    parts = re.findall(r"\d+|\D+", text, re.ASCII)
    return [(0, int(part), part) if part[0].isdigit() else (1, part, "") for part in parts]
