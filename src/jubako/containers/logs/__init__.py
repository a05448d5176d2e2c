"""What a container writes, kept in files and read back.

    containers/<id>/<id>-json.log      the current file
    containers/<id>/<id>-json.log.1    the one before, .2 … older; `.gz` behind it when compressed

Drivers: `json-file` (Docker's format), `local` (the same records, always compressed when rotated)
and `none`.  Unlike Docker's, a `json-file` log is rotated when no option asks for it: an engine
must not fill the disk by default.
"""

from __future__ import annotations

from jubako.containers.logs.options import LogOptions, parse_options
from jubako.containers.logs.writer import LogWriter, open_writer

__all__ = ["LogOptions", "LogWriter", "open_writer", "parse_options"]
