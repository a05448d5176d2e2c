"""Putting state and kernel back in step after a crash, a kill or a reboot.

    boot_id set, its lock free         the monitor died, or the machine was started anew:
                                       take down what it left, record the end
    boot_id set, its lock held         all is well
    status `removing`, lock free       a removal was interrupted: finish it
    status `paused`, freezer free      who froze it for a moment died: let it go on
    directory or use of a volume
    without a row                      a creation or removal was interrupted: delete it

There is no daemon to notice a crash, so every command looks before it reads or changes state; with
nothing to repair it costs one query.  The repairs are in `jubako.containers.repair`, which few
commands have to import.
"""

from __future__ import annotations

import os

from jubako.errors import JubakoError, Unavailable, raise_all
from jubako.store import boot_id
from jubako.store.lock import is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container


def recover(services: Services) -> list[JubakoError]:
    """Repair every container that needs it and that no other command is working on.

    Returns what went wrong; the next command tries again.
    """
    claims = services.table.claims()
    if not claims:
        return []
    repaired = False
    errors: list[JubakoError] = []
    this_boot = boot_id()
    for container_id, status, its_boot in claims:
        if its_boot == this_boot and not _needs_repair(services, container_id, status):
            continue
        from jubako.containers.repair import repair

        try:
            with services.store.lock(container_id, timeout_s=0):
                repaired = True
                repair(services, container_id)
        except Unavailable:
            continue  # a command is at work on it, and will leave it in order
        except JubakoError as exc:
            errors.append(exc)
    if repaired:
        from jubako.containers.repair import tidy

        errors += tidy(services)
    return errors


def recover_all(services: Services) -> None:
    """The same, and whatever else a crash may have left.  Raises all that went wrong at the end."""
    from jubako.containers.repair import sweep, tidy

    errors = recover(services)
    sweep(services)
    raise_all([*errors, *tidy(services)])


def _needs_repair(services: Services, container_id: str, status: str) -> bool:
    """Whether one of this boot needs it."""
    if status == "removing":
        return True
    if status == "paused" and was_left_frozen(services, container_id):
        return True
    return not is_held(services.monitor_lock(container_id))


def was_left_frozen(services: Services, container_id: str) -> bool:
    path = services.freezer_lock(container_id)
    return os.path.exists(path) and not is_held(path)


def monitor_is_dead(services: Services, container: Container) -> bool:
    return container.boot_id != boot_id() or not is_held(services.monitor_lock(container.id))
