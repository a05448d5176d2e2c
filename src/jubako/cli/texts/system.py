"""What the help says about the engine and the command line itself, in Docker's words."""

from __future__ import annotations

from jubako.cli.texts.text import INSPECT_AS, INSPECT_FORMAT, LIST_FORMAT, Text

TEXTS = {
    "events": Text(
        "Get real time events from the engine",
        {
            "filter": "Filter output based on conditions provided",
            "format": INSPECT_FORMAT,
            "since": "Show all events created since timestamp",
            "until": "Stream events until this timestamp",
        },
    ),
    "info": Text(
        "Display system-wide information",
        {
            "format": INSPECT_FORMAT,
        },
    ),
    "version": Text(
        "Show the Jubako version information",
        {
            "format": INSPECT_FORMAT,
        },
    ),
    "inspect": Text(
        "Return low-level information on Jubako objects",
        {
            "as": INSPECT_AS,
            "format": INSPECT_FORMAT,
            "size": "Display total file sizes if the type is container",
            "type": "Only inspect objects of the given type",
        },
    ),
    "system_df": Text(
        "Show jubako disk usage",
        {
            "all": "Account for every block of the root, and say what frees it",
            "format": LIST_FORMAT,
            "verbose": "Show detailed information on space usage",
        },
    ),
    "system_prune": Text(
        "Remove unused data",
        {
            "all": "Remove all unused images not just dangling ones",
            "filter": (
                'Provide filter values (e.g. "label=<key>=<value>"):\n'
                "label, label!, until; of images also reference=<pattern>, unused-for=<duration>"
            ),
            "force": "Do not prompt for confirmation",
            "volumes": "Prune anonymous volumes",
        },
    ),
    "system_start": Text(
        "Start the containers that their restart policies start after a boot",
    ),
    "system_stop": Text(
        "Stop all containers before a shutdown; their restart policies start them again",
        {"timeout": "Seconds to wait before killing the containers"},
    ),
    "system_recover": Text("Put state and kernel back in step after a crash"),
    "why": Text(
        "Tell what happened to a container, also to one that was removed",
        {
            "format": INSPECT_FORMAT,
        },
    ),
    "help": Text("Help about the command"),
    "completion": Text("Generate the autocompletion script for a shell"),
}
