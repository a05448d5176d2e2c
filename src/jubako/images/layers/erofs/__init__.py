"""The driver `erofs`: a layer's tar stays as it is, and an index shows it as a file system.

    layers/<hex>/tar      the archive, to the byte
    layers/<hex>/index    an EROFS image whose files lie in `tar` (see `format`, `build`)
    layers/<hex>/tree/    where it may be mounted
    layers/<hex>/root, opaque    marks, as with the overlay driver

What `mkfs.erofs --tar=i` of erofs-utils does, by the rules of the overlay driver.
"""

from __future__ import annotations

from jubako.images.layers.erofs.driver import ErofsDriver

__all__ = ["ErofsDriver"]
