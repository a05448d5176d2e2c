"""Whiteouts: `.wh.` files of layer archives, and what overlayfs has in their place.

archive                overlayfs                     meaning
d/.wh.name             character device 0/0 d/name   `name` of lower layers is gone
d/.wh..wh..opq         xattr trusted.overlay.opaque  everything lower layers have in d is gone
"""

from __future__ import annotations

import os
import stat

PREFIX = b".wh."
META_PREFIX = b".wh..wh."  # of AUFS's own files, which no container ever sees
OPAQUE = b".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"

# Attributes through which a layer would steer overlayfs itself.
CONTROL_XATTRS = (b"trusted.overlay.", b"user.overlay.")


def is_device(status: os.stat_result) -> bool:
    """Whether this is overlayfs's whiteout."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
