"""The texts of one command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

INSPECT_FORMAT = (
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to docs/cli.md for more information about formatting output with templates"
)
INSPECT_AS = (
    "Print what would make the container again, instead of JSON\n"
    "'run':              A command line\n"
    "'compose':          A compose file\n"
    "'python':           A Python program"
)
LIST_FORMAT = (
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to docs/cli.md for more information about formatting output with templates"
)


class Text:
    """summary: one imperative sentence.  flags: flag name to usage.  long: instead of the summary
    on the command's own help page.
    """

    __slots__ = ("summary", "flags", "long")

    def __init__(self, summary: str, flags: Mapping[str, str] | None = None, long: str = ""):
        self.summary = summary
        self.flags = flags or {}
        self.long = long
