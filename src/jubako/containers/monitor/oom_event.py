"""The program that writes the event `oom` for a monitor, which knows no database."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The entry point of the interpreter.  Never returns."""
    try:
        from jubako.containers import events
        from jubako.containers.table import ContainerTable
        from jubako.store import Store

        root, container_id = sys.argv[1:]
        store = Store(root)
        container = ContainerTable(store).find(container_id)
        if container is not None:
            events.emit(store, container.record, "oom")
    finally:
        os._exit(0)
