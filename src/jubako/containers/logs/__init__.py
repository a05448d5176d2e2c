"""What a container writes: kept in files and read back, or sent to a log server.

    containers/<id>/<id>-json.log          the current file of `json-file` and `local`
    containers/<id>/<id>-json.log.1        the one before, .2 … older; `.gz` behind when compressed
    containers/<id>/container-cached.log   likewise, for the drivers that send to a server

Drivers: `json-file` (Docker's format), `local` (the same records, always compressed when rotated),
`none`, and `syslog`, `fluentd`, `gelf`, `journald`, of which `logs` shows a local copy.  Unlike
Docker's, a `json-file` log is rotated when no option asks for it: an engine must not fill the disk
by default.
"""

from __future__ import annotations

from jubako.containers.logs.driver import open_driver, take_over

__all__ = ["open_driver", "take_over"]
