"""One open root: its paths, its state database, its locks.

    /var/lib/jubako/        Store.path      survives a reboot
      state.db              SQLite in WAL mode, tables in `jubako.store.schema`
    /run/jubako/<key>/      Store.run_dir   gone after a reboot
      locks/<name>          flock(2) files
      <container id>/       sockets and pid files of a monitor

Roots do not know each other: everything that an engine names in the kernel (bridge, nftables table,
cgroup parent) carries `Store.name`, which is derived from the root's real path.
"""

from __future__ import annotations

from jubako.store.faults import point
from jubako.store.lock import Lock
from jubako.store.store import DEFAULT_ROOT, Store, boot_id

__all__ = ["DEFAULT_ROOT", "Lock", "Store", "boot_id", "point"]
