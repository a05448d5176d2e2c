"""TLS to a log server."""

from __future__ import annotations

import os
import ssl

from jubako.errors import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any


def check(options: dict[str, Any], prefix: str) -> None:
    """Whether the files can be used.  Raises StartError with Docker's sentence after `prefix`.

    options: `ca`, `cert`, `key` (paths, "" for none), `verify`.
    """
    for path, text in (
        (options["ca"], f'could not read CA certificate "{options["ca"]}"'),
        (options["cert"], "Could not load X509 key pair"),
        (options["key"], "Could not load X509 key pair"),
    ):
        try:
            if path:
                os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise StartError(f"{prefix}{text}: open {path}: {reason}") from exc
    try:
        _context(options)
    except OSError as exc:  # ssl.SSLError is one
        raise StartError(f"{prefix}{exc}") from exc


def _context(options: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options["ca"] or None)
    if options["cert"]:
        context.load_cert_chain(options["cert"], options["key"] or None)
    if not options["verify"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def wrap(
    options: dict[str, Any], sock: socket.socket, host: str, *, handshake: bool
) -> ssl.SSLSocket:
    """The socket with TLS; without `handshake` the caller does that.  Raises OSError."""
    return _context(options).wrap_socket(
        sock, server_hostname=host, do_handshake_on_connect=handshake
    )
