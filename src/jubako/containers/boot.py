"""What becomes of the containers when the machine starts and before it stops.

After a boot those run again whose policy is `always`, or `unless-stopped` and no user has stopped
them.  Before the machine goes down every container is stopped in its own way; that is no user's
stop, so the same ones run again afterwards.
"""

from __future__ import annotations

from jubako.containers.monitor.restart import wanted_at_boot
from jubako.containers.times import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container


def to_start(services: Services) -> list[str]:
    """The names of those to start after a boot, in the order in which they were created: whoever
    shares a namespace of another, or is linked to it, is younger."""
    found = [container for container in services.table.all() if _wanted(container)]
    return [container.name for container in reversed(found)]


def _wanted(container: Container) -> bool:
    if container.active or container.started == NEVER:
        return False
    policy = container.record["HostConfig"]["RestartPolicy"]
    return wanted_at_boot(policy, stop_requested=container.stop_requested)


def to_stop(services: Services) -> list[str]:
    """The names of those that run, the youngest first."""
    return [container.name for container in services.table.all() if container.active]
