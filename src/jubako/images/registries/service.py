"""What is asked of registries beside images: logins, searches, and lists of manifests.

Credentials are those of Docker's configuration, `~/.docker/config.json`, and so are the lists of
manifests that wait to be pushed: whoever changes between the two clients keeps them.
"""

from __future__ import annotations

from typing import NamedTuple

from jubako.errors import Conflict, InvalidArgument, InvalidReference, NotFound
from jubako.images.registries.remote import open_client
from jubako.oci import platform as platforms
from jubako.oci.reference import DEFAULT_DOMAIN, Reference
from jubako.oci.reference import parse as parse_reference
from jubako.registry.credentials import DockerConfig, Login, host_of
from jubako.registry.hosts import split_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from jubako.images.registries.manifest_lists import ManifestLists
    from jubako.registry.client import Client
    from jubako.store import Store

    Condition = Callable[[dict[str, Any]], bool]

DEFAULT_SEARCH = 25  # results, as Docker's daemon asks for
MAX_SEARCH = 100
SUCCEEDED = "Login Succeeded"
_HUB_NAMES = ("", "docker.io", "index.docker.io")

# What Go knew when Docker's client was written; it refuses anything else in a list.
_PLATFORMS = {
    "darwin": ("386", "amd64", "arm", "arm64"),
    "dragonfly": ("amd64",),
    "freebsd": ("386", "amd64", "arm"),
    "linux": tuple("386 amd64 arm arm64 loong64 mips64 mips64le ppc64le riscv64 s390x".split()),
    "netbsd": ("386", "amd64", "arm"),
    "openbsd": ("386", "amd64", "arm"),
    "plan9": ("386", "amd64"),
    "solaris": ("amd64",),
    "windows": ("386", "amd64", "arm64"),
}


class LoggedIn(NamedTuple):
    """A login that was accepted and kept.

    status: Docker's word for it.  unencrypted: the file in which the password now stands, readable
    for its owner; None if a helper or the file had it already.
    """

    status: str
    unencrypted: str | None


class PushedList(NamedTuple):
    """A list that is in its registry now.

    digest: its index's.  copied: (reference, digest) of each manifest that came from another
    repository of the registry.
    """

    digest: str
    copied: Sequence[tuple[str, str]]


def domain_of(server: str) -> str:
    """The registry that a user names: `host[:port]`, a URL, or nothing for Docker Hub.

    Raises InvalidArgument.
    """
    host = host_of(server)
    if host in _HUB_NAMES:
        return DEFAULT_DOMAIN
    split_host(host)
    return host


class RegistryService:
    """Logins, searches and manifest lists; what it changes is the user's, not the root's."""

    def __init__(self, store: Store):
        self.store = store

    # --- logins ----------------------------------------------------------------------------------

    def stored_login(self, server: str = "") -> Login | None:
        """The credentials that are kept for a registry.  Raises InvalidArgument, Unavailable."""
        return DockerConfig().get(domain_of(server))

    def login(self, server: str, username: str, password: str) -> LoggedIn:
        """Ask a registry whether it accepts a name and a password, and keep them if so.

        server: `host[:port]`; "" is Docker Hub.  If the registry gives an identity token, that is
        kept instead of the password.  Raises Unauthorized (refused; what was kept before stays),
        Unavailable, InvalidArgument (Docker's configuration is damaged).
        """
        domain = domain_of(server)
        if not username:
            raise InvalidArgument("username is empty")
        login = Login(username, password)
        with open_client(self.store, domain) as client:
            token = client.check_login(domain, login)
        if token:
            login = Login(username, identity_token=token)
        config = DockerConfig()
        written = config.store(domain, login)
        return LoggedIn(SUCCEEDED, config.path if written else None)

    def logout(self, server: str = "") -> None:
        """Forget the credentials for a registry; no error if there are none."""
        DockerConfig().erase(domain_of(server))

    # --- searches --------------------------------------------------------------------------------

    def search(
        self,
        term: str,
        *,
        filters: Mapping[str, Sequence[str]] | None = None,
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        """Repositories that a registry finds for a term, as the API's ImageSearchResponseItem.

        term: `name`, or `registry.example/name`.  filters: `stars` (at least), `is-official`, and
        `is-automated`, which nothing is any more.  limit: 1 to 100, 0 for 25.
        Raises InvalidArgument, Unsupported (the registry has no search), Unavailable.
        """
        conditions = _conditions(filters or {})
        limit = DEFAULT_SEARCH if limit <= 0 else limit
        if limit > MAX_SEARCH:
            raise InvalidArgument(f"limit {limit} is outside the range of [1, {MAX_SEARCH}]")
        domain, word = _split_term(term)
        with open_client(self.store, domain) as client:
            found = client.search(domain, word, limit=limit)
        return [item for item in found if all(holds(item) for holds in conditions)]

    # --- manifest lists --------------------------------------------------------------------------

    def manifest_inspect(
        self,
        manifest: str,
        manifest_list: str = "",
        *,
        verbose: bool = False,
        insecure: bool = False,
    ) -> Any:
        """The JSON of a manifest or index, of a local list first and else of a registry.

        manifest_list: look for `manifest` in this local list only, then in its registry.
        verbose: an object with `Ref`, `Descriptor`, `Raw` and the manifest; for an index a list.
        insecure: the registry may be reached by http and without a known certificate.
        Raises NotFound (`no such manifest: x`) and what a pull raises.
        """
        from jubako.images.registries import manifest_inspection as inspection

        reference = _normalised(manifest)
        lists = self._lists()
        if manifest_list:
            entry = lists.find(_normalised(manifest_list), reference)
            if entry is None:
                raise NotFound(f"No such manifest: {reference}", subject=manifest)
            return entry.to_json() if verbose else inspection.plain(entry.raw)
        entries = lists.entries(reference)
        if entries:
            return inspection.of_list(entries, verbose=verbose)
        with self._client(reference, insecure) as client:
            return inspection.of_registry(client.repository(reference), reference, verbose=verbose)

    def manifest_create(
        self,
        manifest_list: str,
        manifests: Sequence[str],
        *,
        amend: bool = False,
        insecure: bool = False,
    ) -> str:
        """Begin a local list of manifests that are in registries; returns its full reference.

        amend: a list of that name may exist already.  After a failure nothing has changed.
        Raises Conflict, NotFound, InvalidArgument (one of them is a list itself).
        """
        from jubako.images.registries import manifest_inspection as inspection

        try:
            name = _normalised(manifest_list)
        except InvalidReference as exc:
            text = f"error parsing name for manifest list {manifest_list}: {exc}"
            raise InvalidReference(text, subject=manifest_list) from exc
        lists = self._lists()
        if lists.exists(name) and not amend:
            raise Conflict("refusing to amend an existing manifest list with no --amend flag")
        entries = []
        for one in manifests:
            reference = _normalised(one)
            entry = lists.find(name, reference)
            if entry is None:
                with self._client(reference, insecure) as client:
                    entry = inspection.fetch_entry(client.repository(reference), reference)
            entries.append(entry)
        for entry in entries:
            lists.save(name, entry)
        return str(name)

    def manifest_annotate(
        self,
        manifest_list: str,
        manifest: str,
        *,
        architecture: str = "",
        os: str = "",
        os_version: str = "",
        os_features: Sequence[str] = (),
        variant: str = "",
    ) -> None:
        """Say for which platform a manifest of a local list is; "" leaves what it says.

        Raises NotFound, InvalidArgument (a platform that Docker does not know).
        """
        name, reference = _normalised(manifest_list), _normalised(manifest)
        lists = self._lists()
        entry = lists.find(name, reference)
        if entry is None:
            raise NotFound(
                f"manifest for image {manifest} does not exist in {manifest_list}", subject=manifest
            )
        before: dict[str, Any] = dict(entry.descriptor.platform or {"architecture": "", "os": ""})
        given = {
            "architecture": architecture,
            "os": os,
            "os.version": os_version,
            "os.features": list(os_features),
            "variant": variant,
        }
        after = before | {key: value for key, value in given.items() if value}
        if after["architecture"] not in _PLATFORMS.get(after["os"], ()):
            raise InvalidArgument(
                "manifest entry for image has unsupported os/arch combination: "
                f"{after['os']}/{after['architecture']}"
            )
        for value in (os_version, variant, *os_features):
            if value and not platforms.is_component(value):
                raise InvalidArgument(f"not a word of a platform: {value[:80]!r}")
        entry.descriptor.platform = after  # type: ignore[assignment]  # made of checked texts
        lists.save(name, entry)

    def manifest_push(
        self, manifest_list: str, *, purge: bool = False, insecure: bool = False
    ) -> PushedList:
        """Push a local list as an index; what of it is in other repositories is copied first.

        purge: remove the local list afterwards.  Raises NotFound (`No such manifest: x`),
        InvalidArgument (an entry of another registry or without a platform), and what a push
        raises.
        """
        from jubako.images.registries.manifest_pushing import push_list

        name = _normalised(manifest_list)
        lists = self._lists()
        entries = lists.entries(name)
        if not entries:
            raise NotFound(f"No such manifest: {name}", subject=manifest_list)
        with self._client(name, insecure) as client:
            pushed = push_list(client, name, entries)
        if purge:
            lists.remove(name)
        return pushed

    def manifest_remove(self, manifest_list: str) -> None:
        """Remove a local list.  Raises NotFound (`No such manifest: x`)."""
        name = _normalised(manifest_list)
        if not self._lists().remove(name):
            raise NotFound(f"No such manifest: {name}", subject=manifest_list)

    def _lists(self) -> ManifestLists:
        from jubako.images.registries.manifest_lists import ManifestLists

        return ManifestLists(f"{DockerConfig().directory}/manifests")

    def _client(self, reference: Reference, insecure: bool) -> Client:
        names = (reference.domain,) if insecure else ()
        return open_client(self.store, reference.domain, insecure=names)


def _normalised(text: str) -> Reference:
    return parse_reference(text).tagged()


def _split_term(term: str) -> tuple[str, str]:
    """The registry and the word of a search: `registry.example/word`, else Docker Hub."""
    if "://" in term:
        raise InvalidArgument(
            f"invalid repository name: repository name ({term}) should not have a scheme"
        )
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return domain_of(first), rest
    return DEFAULT_DOMAIN, term


def _conditions(filters: Mapping[str, Sequence[str]]) -> list[Condition]:
    """What results must fulfil.  Raises InvalidArgument with Docker's words."""
    conditions: list[Condition] = []
    for name, values in filters.items():
        if name == "stars":
            conditions.append(_at_least(max(_stars(value) for value in values)))
        elif name == "is-official":
            conditions.append(_official(_truth(name, values)))
        elif name == "is-automated":
            if _truth(name, values):  # Docker Hub has no such images any more
                conditions.append(lambda item: False)
        else:
            raise InvalidArgument(f"invalid filter '{name}'")
    return conditions


def _at_least(stars: int) -> Condition:
    return lambda item: bool(item["star_count"] >= stars)


def _official(wanted: bool) -> Condition:
    return lambda item: item["is_official"] is wanted


def _stars(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        reason = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise InvalidArgument(f"invalid filter 'stars={text}': {reason}") from None


def _truth(name: str, values: Sequence[str]) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    found = {words.get(value.lower()) for value in values}
    if len(found) != 1 or None in found:
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(values)}]'")
    return found == {True}
