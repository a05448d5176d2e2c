"""How this root reaches registries: its settings, and the credentials of the user or of a call."""

from __future__ import annotations

from jubako.registry.client import Client
from jubako.registry.credentials import DockerConfig, FixedCredentials, Login
from jubako.registry.hosts import Hosts
from jubako.store import settings
from jubako.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.registry.credentials import CredentialSource
    from jubako.store import Store

__all__ = ["Login", "open_client"]


def open_client(
    store: Store,
    domain: str,
    login: Login | None = None,
    on_retry: Callable[[str, float], None] | None = None,
) -> Client:
    """A client to be closed by the caller.

    login: instead of what `~/.docker/config.json` says, and for the registry `domain` only: its
    mirrors never see it.  on_retry: told what failed and after how many seconds it is tried again.
    Raises InvalidArgument (settings), KernelError.
    """
    found = settings.load(store.path)
    hosts = Hosts(
        mirrors=found.registry_mirrors,
        insecure=found.insecure_registries,
        attempts=found.max_download_attempts,
        user_agent=f"jubako/{__version__}",
    )
    credentials: CredentialSource = DockerConfig()
    if login is not None:
        credentials = FixedCredentials(domain, login)
    return Client(hosts, credentials, on_retry=on_retry)
