"""What the parts of `ContainerService` have in common."""

from __future__ import annotations

from functools import cached_property

from jubako.containers import recover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.lifecycle import Lifecycle
    from jubako.containers.services import Services
    from jubako.containers.table import Container


class Part:
    """The containers of one root, repaired before anybody looks."""

    def __init__(self, services: Services):
        self._services = services
        self._recovered = False

    @cached_property
    def _lifecycle(self) -> Lifecycle:
        from jubako.containers.lifecycle import Lifecycle

        return Lifecycle(self._services)

    def settle(self) -> None:
        """Repair what crashes left, once for each engine object, as every method does first."""
        self._recover()

    def _recover(self) -> None:
        """Once for each engine object, before it looks at any state."""
        if not self._recovered:
            self._recovered = True
            recover.recover(self._services)

    def _get(self, reference: str) -> Container:
        self._recover()
        return self._services.table.get(reference)

    def recover(self) -> None:
        """Repair what crashes left, now, and delete what belongs to no container.

        Goes on after failures and raises all of them at the end.
        """
        self._recovered = True
        recover.recover_all(self._services)
