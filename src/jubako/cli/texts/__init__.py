"""Help texts, apart from the code that runs: `jubako run` never loads them."""

from __future__ import annotations

from jubako.cli.texts import container, image, network, registry, system, volume
from jubako.cli.texts.text import Text

TEXTS: dict[str, Text] = {
    **container.TEXTS,
    **image.TEXTS,
    **network.TEXTS,
    **registry.TEXTS,
    **system.TEXTS,
    **volume.TEXTS,
}

GROUPS = {
    "completion": "Generate the autocompletion script for the specified shell",
    "container": "Manage containers",
    "image": "Manage images",
    "manifest": "Manage image manifests and manifest lists",
    "network": "Manage networks",
    "system": "Manage Jubako",
    "volume": "Manage volumes",
}

GLOBAL = {
    "debug": "Print every change of the kernel's state to stderr",
    "root": "Directory that holds images, containers and volumes (overrides JUBAKO_ROOT)",
    "version": "Print version information and quit",
}

# Docker's commands that are known but not here yet, and what there is instead.
LATER = {
    "build": "build a file system with other tools, then use `jubako import` or `jubako load`",
    "builder": "building images is not part of this version",
    "buildx": "building images is not part of this version",
    "compose": "start each container with `jubako run`",
    "context": "`--root` chooses between engines",
    "image build": "build a file system with other tools, then use `jubako import`",
    "network connect": "networks that users define are not part of this version",
    "network create": "networks that users define are not part of this version",
    "network disconnect": "networks that users define are not part of this version",
    "network rm": "networks that users define are not part of this version",
    "plugin": "there are no plugins",
    "swarm": "there is no swarm",
}
