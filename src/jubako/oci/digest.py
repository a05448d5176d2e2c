"""Content digests, `algorithm:encoded` (image-spec descriptor.md#digests), and canonical JSON."""

from __future__ import annotations

import json
import re

from jubako.errors import IntegrityError, InvalidDigest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from typing import Any

_GRAMMAR = r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+\Z"
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}  # hex digits; the algorithms we compute
_HEX = frozenset("0123456789abcdef")


class Digest(str):
    """A checked digest.  It compares and hashes as its text, so it serves as key and column.

    Make one with `Digest.parse` (text from outside), `Digest.of` (bytes) or `from_hasher`.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Check `text`.  Raises InvalidDigest with the words of Docker's digest library."""
        algorithm, _, encoded = text.partition(":")
        length = _LENGTHS.get(algorithm)
        if len(encoded) == length and _HEX.issuperset(encoded):
            return cls(text)
        # Only a bad one has to wait for a regular expression to be compiled.
        if not re.match(_GRAMMAR, text) or len(encoded) == length:
            raise InvalidDigest("invalid checksum digest format", subject=text)
        if length is None:
            raise InvalidDigest("unsupported digest algorithm", subject=text)
        raise InvalidDigest("invalid checksum digest length", subject=text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The SHA-256 digest of `data`."""
        import hashlib  # it loads OpenSSL: 2 ms that a start does not need

        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hasher(cls, hasher: hashlib._Hash) -> Digest:
        """The digest of all that `hasher` (one of `new_hasher`) has seen."""
        return cls(f"{hasher.name}:{hasher.hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]

    def new_hasher(self) -> hashlib._Hash:
        """A fresh hasher of this digest's algorithm."""
        import hashlib

        return hashlib.new(self.algorithm)

    def check(self, data: bytes, what: str) -> None:
        """Raise IntegrityError, naming `what` and both digests, unless `data` has this digest."""
        hasher = self.new_hasher()
        hasher.update(data)
        self.check_hasher(hasher, what)

    def check_hasher(self, hasher: hashlib._Hash, what: str) -> None:
        """The same for data that a hasher has seen."""
        found = Digest.from_hasher(hasher)
        if found != self:
            raise IntegrityError(f"{what}: expected {self}, found {found}", subject=self)


def chain_ids(diff_ids: list[str]) -> list[Digest]:
    """The chain ID of each prefix of a stack, lowest first (config.md#layer-chainid)."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else Digest(diff_id))
    return chain


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8: equal values give equal bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", errors="surrogateescape")
