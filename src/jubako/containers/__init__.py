"""Containers: their records, their life cycle, and the monitor beside each running one.

/var/lib/jubako/containers/<id>/
  upper/ work/                 the writable layer and overlayfs's working directory
  rootfs/                      where the monitor mounts the stack, in its own mount namespace
  hosts hostname resolv.conf   bound over those of the image
  config.json                  the OCI spec of the last start
  <id>-json.log[.N[.gz]]       what it wrote
/run/jubako/<key>/
  locks/<id>                   held by whoever changes the container's state
  locks/<id>.monitor           held by the monitor for life
  <id>/attach.sock             served by the monitor
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.service import ContainerService

__all__ = ["ContainerService"]


if not TYPE_CHECKING:  # loaded when it is used: a monitor that only serves needs other modules

    def __getattr__(name: str) -> object:
        if name != "ContainerService":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from jubako.containers.service import ContainerService

        return ContainerService
