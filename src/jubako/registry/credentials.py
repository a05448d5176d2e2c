"""Credentials for registries, in the file of Docker's clients: `~/.docker/config.json`.

    {
        "auths": {
            "https://index.docker.io/v1/": {"auth": "<base64 of name:password>"},
            "registry.example:5000": {"auth": "...", "identitytoken": "..."}
        },
        "credsStore": "pass",                         a helper for all registries
        "credHelpers": {"ghcr.io": "secretservice"},  a helper for one; "" is the file itself
        ...                                           what else is there stays as it is
    }

The directory is `$DOCKER_CONFIG` if that is set.  Secrets in the file are only encoded; with a
helper (`jubako.registry.credential_helper`) they are elsewhere, and `auths` has an empty entry.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import stat
from typing import NamedTuple, Protocol

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import atomic
from jubako.registry.credential_helper import CredentialHelper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

DOCKER_DOMAIN = "docker.io"
DOCKER_KEY = "https://index.docker.io/v1/"  # what Docker Hub has been called since 2013
_MAX_BYTES = 4 << 20
_TOKEN_USER = "<token>"  # the user name under which helpers keep an identity token
_AUTH_KEYS = ("auth", "identitytoken", "registrytoken", "username", "password", "serveraddress")


class Login(NamedTuple):
    """What proves to a registry who asks.

    username, password: for Basic, and for asking a token server.  identity_token: what a token
    server gave to be used instead of the password.  registry_token: a Bearer token to be used as
    it is.  Secrets are not part of its `repr`.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Login(username={self.username!r})"

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat."""
        pair = encode_pair(self.username, self.password)
        texts = (self.password, self.identity_token, self.registry_token)
        return tuple(text for text in texts if text) + ((pair,) if self.password else ())


def encode_pair(username: str, password: str) -> str:
    """`name:password` in base64, as Basic authentication and Docker's file have it.

    UTF-8, and what is not comes as surrogates from the command line and goes as the bytes it was.
    """
    return base64.b64encode(f"{username}:{password}".encode(errors="surrogateescape")).decode()


class CredentialSource(Protocol):
    """Where a client gets the credentials for a registry from."""

    def get(self, domain: str) -> Login | None:
        """The credentials for `domain` (`docker.io`, `localhost:5000`), or None."""


class FixedCredentials:
    """Credentials that a caller gave for one registry, and for no other."""

    def __init__(self, domain: str, login: Login):
        self._domain = domain
        self._login = login

    def get(self, domain: str) -> Login | None:
        return self._login if domain == self._domain else None


def host_of(address: str) -> str:
    """`host[:port]` of what users write for a registry: `https://host:5000/v2/`, `host:5000`."""
    for scheme in ("https://", "http://"):
        address = address.removeprefix(scheme)
    return address.partition("/")[0]


def key_of(domain: str) -> str:
    """The name of a registry in the configuration."""
    return DOCKER_KEY if domain == DOCKER_DOMAIN else domain


class DockerConfig:
    """The configuration file of Docker's clients, as far as it is about registries.

    directory: None is `$DOCKER_CONFIG`, else `~/.docker`.  A missing file is an empty one.
    Every method reads the file anew.  Safe beside other processes that use this class; Docker's
    own client takes no lock.

    Methods raise InvalidArgument (the file is damaged: path and place in the message), KernelError
    (it cannot be read or written), Unavailable (a helper fails).
    """

    def __init__(self, directory: str | None = None):
        if directory is None:
            directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self.directory = directory
        self.path = f"{directory}/config.json"

    def get(self, domain: str) -> Login | None:
        """The credentials for a registry, from its helper or from the file; None without any."""
        content = self._read()
        key = key_of(domain)
        helper = self._helper(content, key)
        login = _from_helper(helper, key) if helper else self._from_file(content, key)
        return login if login else None

    def domains(self) -> dict[str, str]:
        """Every registry that has credentials, by its name in the file, with the user's name.

        The user's name is "" where only a token is known.
        """
        content = self._read()
        store = self._text(content, "credsStore")
        found = CredentialHelper(store).list() if store else {}
        for key in [*self._auths(content), *self._texts(content, "credHelpers")]:
            helper = self._helper(content, key)
            if store and helper is not None and helper.program == CredentialHelper(store).program:
                continue
            found.pop(key, None)
            login = _from_helper(helper, key) if helper else self._from_file(content, key)
            if login:
                found[key] = login.username
        return found

    def store(self, domain: str, login: Login) -> bool:
        """Keep credentials; what was kept for the registry before is replaced.

        The first ones go to the system's key ring, if `docker-credential-pass` or
        `docker-credential-secretservice` is installed, and that becomes `credsStore`.
        Returns whether a password was written to the file, readable for its owner.
        """
        key = key_of(domain)
        with self._changing() as content:
            self._adopt_key_ring(content)
            helper = self._helper(content, key)
            auths = content["auths"] = self._auths(content)
            before = auths.get(key, {})
            entry = {name: kept for name, kept in before.items() if name == "email"}
            if helper is None:
                entry |= _encode(login)
            elif login.identity_token:
                helper.store(key, _TOKEN_USER, login.identity_token)
            else:
                helper.store(key, login.username, login.password)
            auths[key] = entry
        return helper is None and bool(login.password) and entry != before

    def erase(self, domain: str) -> None:
        """Forget the credentials for a registry; no error if there are none.

        For a registry other than Docker Hub, entries of old clients with a scheme go as well.
        """
        keys = [key_of(domain)]
        if domain != DOCKER_DOMAIN:
            keys += [f"http://{domain}", f"https://{domain}"]
        with self._changing() as content:
            for key in keys:
                helper = self._helper(content, key)
                if helper is not None and (key == keys[0] or key in content.get("auths", {})):
                    helper.erase(key)
                content.get("auths", {}).pop(key, None)

    # --- what the file says ----------------------------------------------------------------------

    def _helper(self, content: Mapping[str, Any], key: str) -> CredentialHelper | None:
        name = self._texts(content, "credHelpers").get(key)
        if name is None:
            name = self._text(content, "credsStore")
        return CredentialHelper(name) if name else None

    def _adopt_key_ring(self, content: dict[str, Any]) -> None:
        """As Docker's client does before the first login: prefer a key ring to the file."""
        if content.get("credsStore") or content.get("credHelpers") or content.get("auths"):
            return
        import shutil  # with all compressions; a pull does without

        name = "pass" if shutil.which("pass") else "secretservice"
        if shutil.which(f"docker-credential-{name}"):
            content["credsStore"] = name

    def _from_file(self, content: Mapping[str, Any], key: str) -> Login | None:
        auths = self._auths(content)
        if key not in auths:  # old clients wrote the URL
            key = next((one for one in auths if host_of(one) == key), key)
        return self._decode(key, auths[key]) if key in auths else None

    def _decode(self, key: str, entry: Mapping[str, Any]) -> Login:
        for name in _AUTH_KEYS:
            if not isinstance(entry.get(name, ""), str):
                raise self._damaged(f"auths: {key}: {name} is not a text")
        username, password = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            try:
                pair = base64.b64decode(entry["auth"], validate=True)
            except (binascii.Error, ValueError):
                raise self._damaged(f"auths: {key}: auth is not base64 of name:password") from None
            username, colon, password = pair.decode(errors="surrogateescape").partition(":")
            if not colon or not username:
                raise self._damaged(f"auths: {key}: auth is not base64 of name:password")
            password = password.strip("\0")
        return Login(
            username, password, entry.get("identitytoken", ""), entry.get("registrytoken", "")
        )

    def _auths(self, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        auths = {} if content.get("auths") is None else content["auths"]
        if not isinstance(auths, dict) or not all(isinstance(one, dict) for one in auths.values()):
            raise self._damaged("auths is not an object of objects")
        return auths

    def _texts(self, content: Mapping[str, Any], name: str) -> dict[str, str]:
        texts = {} if content.get(name) is None else content[name]
        if not isinstance(texts, dict) or not all(isinstance(one, str) for one in texts.values()):
            raise self._damaged(f"{name} is not an object of texts")
        return texts

    def _text(self, content: Mapping[str, Any], name: str) -> str:
        text = "" if content.get(name) is None else content[name]
        if not isinstance(text, str):
            raise self._damaged(f"{name} is not a text")
        return text

    def _damaged(self, reason: str) -> InvalidArgument:
        return InvalidArgument(
            f"read {self.path}: {reason}",
            hint="repair the file or remove it and log in again",
            subject=self.path,
        )

    # --- the file itself -------------------------------------------------------------------------

    def _read(self) -> dict[str, Any]:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise KernelError.from_oserror("open", exc, path=self.path) from exc
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise self._damaged("it is not a regular file")
            with open(fd, "rb", closefd=False) as file:
                data = file.read(_MAX_BYTES + 1)
        finally:
            os.close(fd)
        return self._parse(data)

    def _parse(self, data: bytes) -> dict[str, Any]:
        if len(data) > _MAX_BYTES:
            raise self._damaged(f"it is larger than {_MAX_BYTES} bytes")
        if not data.strip():
            return {}
        try:
            content = json.loads(data.decode())  # of bytes, it would take UTF-16 too
        except (ValueError, RecursionError) as exc:
            reason = str(exc) if isinstance(exc, json.JSONDecodeError) else "no text in UTF-8"
            raise self._damaged(f"it is not JSON: {reason}") from None
        if not isinstance(content, dict):
            raise self._damaged("it is not a JSON object")
        self._auths(content)
        return content

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """Read the file, let the caller change what it says, and write it if it did."""
        target = os.path.realpath(self.path)  # the link stays, the file it names is replaced
        directory = os.path.dirname(target)
        try:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise KernelError.from_oserror("open", exc) from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            content = self._read()
            before = _serialise(content)
            yield content
            after = _serialise(content)
            if after != before:
                _replace(target, after)
        finally:
            os.close(fd)


def _from_helper(helper: CredentialHelper, key: str) -> Login | None:
    found = helper.get(key)
    if found is None:
        return None
    username, secret = found
    if username == _TOKEN_USER:
        return Login(identity_token=secret)
    return Login(username, secret)


def _encode(login: Login) -> dict[str, str]:
    """An entry of `auths`, as Docker's client writes it."""
    pair = login.username or login.password
    entry = {
        "auth": encode_pair(login.username, login.password) if pair else "",
        "identitytoken": login.identity_token,
        "registrytoken": login.registry_token,
    }
    return {name: text for name, text in entry.items() if text}


def _serialise(content: Mapping[str, Any]) -> bytes:
    # A lone surrogate is kept as the escape that it came as.
    text = json.dumps(content, indent="\t", ensure_ascii=False)
    return text.encode(errors="backslashreplace")


def _replace(path: str, data: bytes) -> None:
    """Write a file that only its owner may read; the owner stays whoever it was."""
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    atomic.write_file(path, data, 0o600)
    if before is None or before.st_uid == os.geteuid():
        return
    try:
        os.chown(path, before.st_uid, before.st_gid)
    except OSError as exc:
        if exc.errno != errno.EPERM:
            raise KernelError.from_oserror("chown", exc, path=path) from exc
