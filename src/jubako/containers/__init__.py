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

from jubako.containers.service import ContainerService

__all__ = ["ContainerService"]
