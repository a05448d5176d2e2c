"""Control groups: version 1, version 2, and hosts that have both.

    layout = detect()                              where the hierarchies are mounted
    group = Cgroup("/jubako/4f2a...", layout)      a path below each mount point; nothing is made
    group.create(spec["linux"]["resources"])       directories and limits
    group.join_self()                              in the child, before it unshares anything
    group.remove()                                 when the last process is gone

    v1      one directory in each hierarchy, `tasks` to join
    hybrid  the same, and in the v2 hierarchy only when a limit needs a controller that is there
    v2      one directory, controllers switched on in every ancestor

Each controller has a module with `apply_v1`/`apply_v2` (OCI `linux.resources` -> files) and
`stats_v1`/`stats_v2` (files -> the shape of `runc events --stats`).
"""

from __future__ import annotations

from jubako.linux.cgroups.group import Cgroup
from jubako.linux.cgroups.layout import Hierarchy, Layout, detect

__all__ = ["Cgroup", "Hierarchy", "Layout", "detect"]
