"""What `why` has found out: statements with their facts, most important first."""

from __future__ import annotations

from jubako.system.why import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Finding = dict[str, Any]

OK, NOTE, PROBLEM = "ok", "note", "problem"


def finding(
    kind: str, level: str, text: str, *, at_ns: int | None = None, **facts: object
) -> Finding:
    """One statement.

    kind: what it is about (`state`, `end`, `start`, `oom`, `restart`, `health`, `log`,
    `resources`, `network`).  level: `ok`, `note` or `problem`.  text: whole sentences.
    at_ns: when.  facts: the same for programs.
    """
    found: Finding = {"Kind": kind, "Level": level, "Text": text, "Facts": facts}
    if at_ns is not None:
        found["At"] = words.rfc3339(at_ns)
    return found
