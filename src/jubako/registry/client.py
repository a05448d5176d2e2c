"""What a pull, a push or a login speaks to registries with."""

from __future__ import annotations

from jubako.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from jubako.oci.reference import Reference
    from jubako.registry.credentials import CredentialSource, Login
    from jubako.registry.exchange import Exchange
    from jubako.registry.hosts import Hosts
    from jubako.registry.repository import Repository


class Client:
    """Connections, tokens and patience for one pull or push; safe for threads.

    hosts: how registries are reached.  credentials: asked once for each registry.
    on_retry: told a reason and the seconds before each wait.  on_warning: told once what a registry
    wants its users to know.  Both may be called from any thread.
    Nothing is sent before something is asked for.  `close` (or the end of a `with`) also ends what
    other threads wait for.  Raises Unsupported without the package urllib3.
    """

    def __init__(
        self,
        hosts: Hosts,
        credentials: CredentialSource,
        *,
        on_retry: Callable[[str, float], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ):
        self._hosts = hosts
        self._exchange = _open(hosts, credentials, on_retry=on_retry, on_warning=on_warning)

    def repository(self, reference: Reference) -> Repository:
        """The repository of a reference, whose tag and digest do not matter here."""
        from jubako.registry.repository import Repository

        return Repository(self._exchange, reference)

    def search(self, domain: str, term: str, *, limit: int = 25) -> list[dict[str, Any]]:
        """Repositories that a registry finds for a term; see `search.search`."""
        from jubako.registry import search

        return search.search(self._exchange, domain, term, limit=limit)

    def check_login(self, domain: str, login: Login) -> str:
        """Ask a registry whether a login is good; its identity token, or "" if it gives none.

        Raises Unauthorized if the login is refused, Unavailable if nobody answers.
        """
        from jubako.registry import search
        from jubako.registry.credentials import FixedCredentials

        exchange = _open(self._hosts, FixedCredentials(domain, login), offline=True)
        try:
            search.ping(exchange, domain)
            return exchange.authorizer.identity_token(domain)
        finally:
            exchange.close()

    def close(self) -> None:
        """End all connections.  May be called twice, and from any thread."""
        self._exchange.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(hosts: Hosts, credentials: CredentialSource, **options: Any) -> Exchange:
    try:
        from jubako.registry.exchange import Exchange
    except ModuleNotFoundError as exc:
        if exc.name != "urllib3":
            raise
        raise Unsupported(
            "speaking with registries needs the Python package urllib3",
            hint="install it: python3 -m pip install 'urllib3>=2.3'",
        ) from exc
    return Exchange(hosts, credentials, **options)
