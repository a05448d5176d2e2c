"""What the help says about the volume commands, in Docker's words."""

from __future__ import annotations

from jubako.cli.texts.text import INSPECT_FORMAT, LIST_FORMAT, Text

TEXTS = {
    "volume_create": Text(
        "Create a volume",
        {
            "driver": "Specify volume driver name",
            "gid": "Group that the volume belongs to, a number",
            "label": "Set metadata for a volume",
            "mode": "Permissions of the volume's directory, in octal",
            "opt": "Set driver specific options",
            "uid": "User that the volume belongs to, a number",
        },
    ),
    "volume_ls": Text(
        "List volumes",
        {
            "filter": 'Provide filter values (e.g. "dangling=true")',
            "format": LIST_FORMAT,
            "quiet": "Only display volume names",
        },
    ),
    "volume_inspect": Text(
        "Display detailed information on one or more volumes",
        {
            "format": INSPECT_FORMAT,
        },
    ),
    "volume_rm": Text(
        "Remove one or more volumes",
        {
            "force": "Force the removal of one or more volumes",
        },
        "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    ),
    "volume_prune": Text(
        "Remove unused local volumes",
        {
            "all": "Remove all unused volumes, not just anonymous ones",
            "filter": 'Provide filter values (e.g. "label=<label>")',
            "force": "Do not prompt for confirmation",
        },
    ),
}
