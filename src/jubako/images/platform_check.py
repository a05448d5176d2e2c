"""Whether an image is for the platform that somebody asks for."""

from __future__ import annotations

from jubako.errors import NotFound
from jubako.oci import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def require_platform(config: Mapping[str, Any], wanted: str, name: str) -> None:
    """Check what `--platform` says against an image's configuration.

    wanted: `os/arch[/variant]`.  name: the image's, for the error.
    Raises InvalidArgument (no platform), NotFound with Docker's words.
    """
    platform = platforms.parse(wanted)
    actual = platforms.of_config(config)
    if not platforms.matches(platform, actual):
        raise NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {platforms.text(platform)}, actual: {platforms.text(actual)}",
            subject=name,
        )
