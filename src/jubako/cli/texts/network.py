"""What the help says about the network commands, in Docker's words."""

from __future__ import annotations

from jubako.cli.texts.text import INSPECT_FORMAT, LIST_FORMAT, Text

TEXTS = {
    "network_ls": Text(
        "List networks",
        {
            "filter": 'Provide filter values (e.g. "driver=bridge")',
            "format": LIST_FORMAT,
            "no-trunc": "Do not truncate the output",
            "quiet": "Only display network IDs",
        },
    ),
    "network_prune": Text(
        "Remove all unused networks",
        {
            "filter": 'Provide filter values (e.g. "until=<timestamp>")',
            "force": "Do not prompt for confirmation",
        },
    ),
    "network_inspect": Text(
        "Display detailed information on one or more networks",
        {
            "format": INSPECT_FORMAT,
            "verbose": "Verbose output for diagnostics",
        },
    ),
}
