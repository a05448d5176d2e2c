"""The options of the log driver `journald`."""

from __future__ import annotations

import re

from jubako.containers.logs.fields import attributes, tag
from jubako.containers.logs.targets import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord

SOCKET = "/run/systemd/journal/socket"


def plan(options: Mapping[str, str], record: ContainerRecord) -> dict[str, Any]:
    """The part of the plan that is this driver's."""
    label = tag(options, record, record["Id"][:12])
    return {
        "target": target(
            "unixgram",
            paths=(SOCKET,),
            memfd=True,
            refusal="journald is not enabled on this host",
        ),
        "fields": {
            "CONTAINER_ID": record["Id"][:12],
            "CONTAINER_ID_FULL": record["Id"],
            "CONTAINER_NAME": record["Name"],
            "CONTAINER_TAG": label,
            "IMAGE_NAME": record["ImageRef"],
            "SYSLOG_IDENTIFIER": label,
            **attributes(options, record, _field_name),
        },
    }


def _field_name(key: str) -> str:
    """A key as the journal takes it: capitals, digits and underscores, none of them in front."""
    return re.sub("[^A-Z0-9]", "_", key.upper()).lstrip("_") or "UNNAMED"
