"""Volumes: directories that outlive the containers that use them.

    <root>/volumes/<name>/_data      the content, as Docker lays it out
    <root>/volumes/.gone-<random>    a removed volume that is still being deleted
    <root>/volumes/.new-<random>     one that is being made
    table volumes                    name, driver, labels, options (the driver's; uid, gid, mode)
    table volume_uses                which container refers to which volume

A row is what makes a volume exist.  Its directory is moved in place before the row is committed and
moved away before the row's deletion is: a crash in between leaves an empty directory, which the
next `create` adopts, or a row without one, for which the next use makes an empty directory.  No
order of crashes shows a removed volume's content again, and none loses that of another.
"""

from __future__ import annotations

from jubako.volumes.service import VolumeService

__all__ = ["VolumeService"]
