"""How this root reaches registries: its settings, and the credentials of the user or of a call."""

from __future__ import annotations

from jubako.errors import IntegrityError, InvalidArgument
from jubako.registry.client import Client
from jubako.registry.credentials import DockerConfig, FixedCredentials, Login
from jubako.registry.hosts import Hosts
from jubako.store import settings
from jubako.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jubako.oci.manifest import Descriptor
    from jubako.registry.credentials import CredentialSource
    from jubako.registry.repository import Repository
    from jubako.store import Store

__all__ = ["Login", "open_client", "read_blob"]


def open_client(
    store: Store,
    domain: str,
    login: Login | None = None,
    on_retry: Callable[[str, float], None] | None = None,
    *,
    on_warning: Callable[[str], None] | None = None,
    insecure: Sequence[str] = (),
) -> Client:
    """A client to be closed by the caller.

    login: instead of what `~/.docker/config.json` says, and for the registry `domain` only: its
    mirrors never see it.  on_retry: told what failed and after how many seconds it is tried again.
    on_warning: told what the registry wants its users to know.
    insecure: registries to be reached as if the settings called them so.
    Raises InvalidArgument (settings), KernelError.
    """
    found = settings.load(store.path)
    hosts = Hosts(
        mirrors=found.registry_mirrors,
        insecure=(*found.insecure_registries, *insecure),
        attempts=found.max_download_attempts,
        user_agent=f"jubako/{__version__}",
    )
    credentials: CredentialSource = DockerConfig()
    if login is not None:
        credentials = FixedCredentials(domain, login)
    return Client(hosts, credentials, on_retry=on_retry, on_warning=on_warning)


def read_blob(repository: Repository, descriptor: Descriptor, limit: int, what: str) -> bytes:
    """All of a small blob, checked: an image's configuration.

    limit: bytes.  what: names it in errors.  Raises InvalidArgument (larger), IntegrityError, and
    what `Repository.open_blob` raises.
    """
    if descriptor.size > limit:
        raise InvalidArgument(f"{what}: more than {limit} bytes")
    with repository.open_blob(descriptor) as stream:
        data = b"".join(stream)
    if len(data) != descriptor.size:
        raise IntegrityError(
            f"{what}: expected {descriptor.size} bytes, found {len(data)}",
            subject=descriptor.digest,
        )
    descriptor.digest.check(data, what)
    return data
