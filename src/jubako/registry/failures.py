"""No answer, or not all of one: what the network, TLS and proxies do, in words.

The words are those of the Go programs that people know from Docker: `dial tcp: lookup x: no such
host`, `x509: certificate signed by unknown authority`.
"""

from __future__ import annotations

import errno
import os
import ssl
from http.client import IncompleteRead, RemoteDisconnected

from urllib3 import exceptions

from jubako.registry.headers import printable

_UNKNOWN_AUTHORITY = frozenset((2, 18, 19, 20, 21, 24))  # X509_V_ERR_*, see x509_vfy.h
_WRONG_TIME = frozenset((9, 10))
_WRONG_NAME = frozenset((62, 64))
# What OpenSSL makes of an answer that is no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
_NEVER_TRANSIENT = frozenset((errno.ECONNREFUSED, errno.EACCES, errno.EPERM))


class TransportFailure(Exception):
    """No answer, or not all of it.

    reason: in words, without secrets.  transient: another try may succeed.  plain: the host speaks
    http where https was asked for.  mute: it said nothing at all, as such a host also may.
    """

    def __init__(
        self, reason: str, *, transient: bool = True, plain: bool = False, mute: bool = False
    ):
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
        self.plain = plain
        self.mute = mute


def of_exception(exc: Exception, host: str) -> TransportFailure | None:
    """What an exception of urllib3 or a socket means for who asked `host`.

    None: it is none of those, so a fault of ours that must show.
    """
    if isinstance(exc, exceptions.ProxyError):
        inner = of_exception(exc.original_error, host)
        reason = inner.reason if inner else printable(str(exc.original_error), 200)
        return TransportFailure(
            f"proxyconnect: {reason}", transient=bool(inner and inner.transient)
        )
    if isinstance(exc, exceptions.NameResolutionError):
        return TransportFailure(f"dial tcp: lookup {host}: no such host", transient=False)
    if isinstance(exc, exceptions.NewConnectionError):
        return _not_connected(exc.__cause__)
    if isinstance(exc, exceptions.ConnectTimeoutError):
        return TransportFailure("dial tcp: i/o timeout", mute=True)
    if isinstance(exc, exceptions.TimeoutError):
        return TransportFailure("i/o timeout: the registry sends nothing")
    if isinstance(exc, exceptions.SSLError):
        return _tls(exc.args[0] if exc.args else exc, host)
    if isinstance(exc, ssl.SSLError):
        return _tls(exc, host)
    if isinstance(exc, exceptions.ProtocolError):
        return _broken(exc.args[-1] if exc.args else exc)
    if isinstance(exc, OSError):
        return _broken(exc)
    if isinstance(exc, exceptions.LocationValueError | exceptions.InvalidHeader):
        return TransportFailure(printable(str(exc), 200), transient=False)
    if isinstance(exc, exceptions.HTTPError):
        return TransportFailure(printable(str(exc), 200))
    return None


def _not_connected(cause: BaseException | None) -> TransportFailure:
    number = cause.errno if isinstance(cause, OSError) else None
    words = os.strerror(number).lower() if number else "no connection"
    transient = number not in _NEVER_TRANSIENT
    return TransportFailure(f"dial tcp: connect: {words}", transient=transient, mute=True)


def _tls(cause: object, host: str) -> TransportFailure:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TransportFailure(
            f"tls: failed to verify certificate: x509: {_verification(cause, host)}",
            transient=False,
        )
    reason = (cause.reason or "") if isinstance(cause, ssl.SSLError) else ""
    if any(word in reason for word in _NO_TLS):
        return TransportFailure(
            "http: server gave HTTP response to HTTPS client", transient=False, plain=True
        )
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "EOF" in reason:
        return TransportFailure("tls: unexpected EOF", mute=True)
    words = printable(reason.replace("_", " ").lower() or str(cause), 200)
    return TransportFailure(f"tls: {words}", transient=False)


def _verification(cause: ssl.SSLCertVerificationError, host: str) -> str:
    if cause.verify_code in _UNKNOWN_AUTHORITY:
        return "certificate signed by unknown authority"
    if cause.verify_code in _WRONG_TIME:
        return "certificate has expired or is not yet valid"
    if cause.verify_code in _WRONG_NAME:
        return f"certificate is not valid for {host}"
    return printable(cause.verify_message or "certificate not accepted", 200)


def _broken(cause: object) -> TransportFailure:
    """A connection that ended in the middle of something."""
    if isinstance(cause, RemoteDisconnected):
        return TransportFailure("EOF", mute=True)
    if isinstance(cause, IncompleteRead):
        return TransportFailure("unexpected EOF")
    if isinstance(cause, OSError) and cause.errno:
        return TransportFailure(os.strerror(cause.errno).lower(), mute=True)
    return TransportFailure(f"malformed HTTP response: {printable(str(cause), 200)}")
