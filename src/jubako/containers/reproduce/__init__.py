"""What would make a container again: a command, a compose file, a Python program.

    record ──defaults.minimal──▶ request: only what image and engine would not do by themselves
                                    │
              ┌─────────────────────┼────────────────────┐
              ▼                     ▼                    ▼
          command.py            compose.py           program.py

What a form cannot say is in a comment of its text, never left out in silence.
"""

from __future__ import annotations

from jubako.containers.definition import defaults
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord, Json, Secret
    from jubako.containers.services import Services

FORMS = ("run", "compose", "python")


class Source:
    """What a form is written from.

    config, host: the minimal request, to which every form adds what it likes.  endpoint: what was
    asked for on its network.  secrets: names and places, without content.  lost: what of the
    container no request can ask for.
    """

    __slots__ = ("name", "image", "config", "host", "endpoint", "secrets", "lost")

    def __init__(
        self,
        name: str,
        image: str,
        config: Json,
        host: Json,
        endpoint: Json,
        secrets: list[Secret],
        lost: list[str],
    ):
        self.name = name
        self.image = image
        self.config = config
        self.host = host
        self.endpoint = endpoint
        self.secrets = secrets
        self.lost = lost


def reproduce(services: Services, record: ContainerRecord, form: str) -> str:
    """The text, one of FORMS, that makes the container again from its image.

    Raises InvalidArgument (an unknown form), NotFound (the image).
    """
    if form not in FORMS:
        raise InvalidArgument(
            f"unknown form {form!r}: must be one of {', '.join(FORMS)}", subject=form
        )
    source = read(record, services.images.config(record["ImageId"]))
    if form == "run":
        from jubako.containers.reproduce.command import write
    elif form == "compose":
        from jubako.containers.reproduce.compose import write
    else:
        from jubako.containers.reproduce.program import write
    return write(source)


def read(record: ContainerRecord, image: Mapping[str, Any]) -> Source:
    """The container's minimal request; image: the image JSON."""
    from jubako.containers import changes
    from jubako.containers.definition.config import merge

    stored = (dict(record["Config"]), dict(record["HostConfig"]))
    config, host = defaults.minimal(*stored, image, record["Id"])
    try:
        again, again_host, _ = merge(config, host, image, container_id=record["Id"])
    except InvalidArgument:
        lost = []
    else:
        differing = changes.differences((again, again_host), stored)
        lost = [one.path for one in differing if one.path not in _UNIMPORTANT]
    for key in ("ConsoleSize", "ContainerIDFile"):
        host.pop(key, None)
    config.pop("Image", None)
    return Source(
        record["Name"],
        record["ImageRef"],
        config,
        host,
        record.get("EndpointConfig") or {},
        list(record.get("Secrets") or ()),
        lost,
    )


_UNIMPORTANT = frozenset(("HostConfig.ConsoleSize", "HostConfig.ContainerIDFile"))
