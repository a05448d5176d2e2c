"""Credential helpers: programs `docker-credential-NAME` that keep secrets for Docker's clients.

The protocol (github.com/docker/docker-credential-helpers): one word as argument, one text on
stdin, the answer on stdout; a status other than 0 means failure, whose reason is on stdout.

    get    URL                                   {"ServerURL": ..., "Username": ..., "Secret": ...}
    store  {"ServerURL", "Username", "Secret"}   nothing
    erase  URL                                   nothing
    list   nothing                               {"URL": "user name", ...}
"""

from __future__ import annotations

import json
import os
import re

from jubako.errors import InvalidArgument, NotFound, Unavailable
from jubako.linux import process
from jubako.registry.headers import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PREFIX = "docker-credential-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TIMEOUT_S = 120.0  # a helper may ask its user to unlock a key ring
_MAX_OUTPUT = 1 << 20  # bytes
_MAX_REASON = 500  # characters of a helper's words that are repeated in an error
_NONE_FOUND = "credentials not found in native keychain"  # the protocol's text for "no such"


class CredentialHelper:
    """One helper program, by the name that a configuration gives it (`pass`, `ecr-login`).

    Every method raises Unavailable if the program is missing, fails, says too much or takes more
    than two minutes; InvalidArgument for a name that is a path.  No error repeats a secret.
    """

    def __init__(self, name: str):
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"credential helper {name[:100]!r}: not the name of a program")
        self.program = _PREFIX + name

    def get(self, url: str) -> tuple[str, str] | None:
        """User name and secret for a registry, or None if the helper has none."""
        try:
            answer = self._object("get", url)
        except NotFound:
            return None
        name, secret = answer.get("Username", ""), answer.get("Secret", "")
        if not isinstance(name, str) or not isinstance(secret, str):
            raise self._failure("get", "its answer has no texts for Username and Secret")
        return name, secret

    def store(self, url: str, username: str, secret: str) -> None:
        """Keep a secret; an older one for the same registry is replaced."""
        record = {"ServerURL": url, "Username": username, "Secret": secret}
        try:
            self._run("store", json.dumps(record))
        except Unavailable as exc:
            text = str(exc)  # in which a helper may repeat what it was given
            for form in filter(None, (secret, json.dumps(secret)[1:-1])):
                text = text.replace(form, "***")
            raise Unavailable(text, subject=exc.subject) from None

    def erase(self, url: str) -> None:
        """Forget the secret for a registry; no error if there is none."""
        try:
            self._run("erase", url)
        except NotFound:
            pass

    def list(self) -> dict[str, str]:
        """The user names by registry, for all that the helper knows."""
        answer = self._object("list", "unused")
        return {url: name for url, name in answer.items() if isinstance(name, str)}

    def _object(self, action: str, text: str) -> dict[str, Any]:
        try:
            answer = json.loads(self._run(action, text))
        except (ValueError, RecursionError):
            raise self._failure(action, "its answer is not JSON") from None
        if not isinstance(answer, dict):
            raise self._failure(action, "its answer is not a JSON object")
        return answer

    def _run(self, action: str, text: str) -> bytes:
        done = process.run(
            [self.program, action],
            stdin=text.encode(),
            env=os.environ,  # helpers find their key rings and their user's agents by it
            timeout_s=_TIMEOUT_S,
            limit_bytes=_MAX_OUTPUT,
            secret=True,
            why="the credential helper named in Docker's configuration",
        )
        if done.status == 0:
            return done.stdout
        reason = printable((done.stdout or done.stderr).decode(errors="replace"), _MAX_REASON)
        if reason == _NONE_FOUND:
            raise NotFound(f"{self.program} {action}: {reason}", subject=self.program)
        raise self._failure(action, reason or f"exit status {done.status}")

    def _failure(self, action: str, reason: str) -> Unavailable:
        return Unavailable(f"{self.program} {action}: {reason}", subject=self.program)
