"""The monitor's part in the explanation of somebody else's command (`jubako stop --explain`).

    command ── link `explain` in the container's run directory ──> its pipe
       │ signal                                     ▲
       └──────────────> init ends ──> monitor ── accept() ── tells what it takes down

A monitor that this command has started tells anyhow, until it makes itself small; see
`jubako.containers.monitor.slim`.
"""

from __future__ import annotations

from jubako.linux import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services

_LINK = "explain"


def invite(services: Services, container_id: str) -> None:
    """Before a container ends: if this command is explained, its monitor is to tell as well."""
    if trace.listening():
        trace.invite(f"{services.run_directory(container_id)}/{_LINK}")


def accept(services: Services, container_id: str) -> None:
    """In the monitor, when the container has ended: from here on things are taken down."""
    trace.accept(f"{services.run_directory(container_id)}/{_LINK}")
    trace.set_stage("end")
