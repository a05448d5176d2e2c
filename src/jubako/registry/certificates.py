"""The certificates that a registry is trusted by, and those by which we show who we are.

Below `<directory>/<host>:<port>/` (`<host>/` too for port 443), in every directory of the list:

    *.crt               authorities, besides those of the system
    NAME.cert NAME.key  certificates of ours, each with its key

The directories are Docker's, Podman's and ours; for who is not root also those of the own
configuration.  OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name the system's authorities.
"""

from __future__ import annotations

import os

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence

_PROGRAMS = ("docker", "containers", "jubako")
_MAX_FILES = 100  # of one registry


def default_directories(environ: Mapping[str, str], *, root: bool) -> tuple[str, ...]:
    """Where Docker, Podman and Jubako look; the later ones add to the earlier."""
    found = [f"/etc/{program}/certs.d" for program in _PROGRAMS]
    home = environ.get("XDG_CONFIG_HOME") or (
        environ.get("HOME", "") and f"{environ['HOME']}/.config"
    )
    if home and not root:
        found += [f"{home}/{program}/certs.d" for program in _PROGRAMS]
    return tuple(found)


class Certificates:
    """The files for one host.

    authorities: PEM files.  pairs: certificate and key, PEM files.
    """

    __slots__ = ("authorities", "pairs")

    def __init__(self, authorities: tuple[str, ...], pairs: tuple[tuple[str, str], ...]):
        self.authorities = authorities
        self.pairs = pairs


def find(directories: Sequence[str], host: str, port: int) -> Certificates:
    """The files for a registry, from all directories.

    Raises InvalidArgument for a certificate without its key, or a key without its certificate.
    """
    names = [f"{host}:{port}", *([host] if port == 443 else [])]
    authorities: list[str] = []
    pairs: list[tuple[str, str]] = []
    for path in (f"{directory}/{name}" for directory in directories for name in names):
        files = set(_list(path))
        for name in sorted(files):
            stem, dot, suffix = name.rpartition(".")
            if dot and suffix == "crt":
                authorities.append(f"{path}/{name}")
            elif dot and suffix == "cert":
                if f"{stem}.key" not in files:
                    raise InvalidArgument(
                        f"missing key {stem}.key for client certificate {name} in {path}. "
                        "CA certificates must use the extension .crt",
                        subject=path,
                    )
                pairs.append((f"{path}/{name}", f"{path}/{stem}.key"))
            elif dot and suffix == "key" and f"{stem}.cert" not in files:
                raise InvalidArgument(
                    f"missing client certificate {stem}.cert for key {name} in {path}", subject=path
                )
    return Certificates(tuple(authorities), tuple(pairs))


def _list(path: str) -> Iterator[str]:
    try:
        yield from sorted(os.listdir(path))[:_MAX_FILES]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise InvalidArgument(f"certificates of a registry in {path}: {exc.strerror}") from exc


def make_context(files: Certificates, *, verify: bool) -> ssl.SSLContext:
    """A context for one host.

    verify: ask for a certificate that the system's or the host's authorities signed.
    Raises InvalidArgument that names the file which is no certificate or key.
    """
    import ssl

    context = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    path = ""
    try:
        for path in files.authorities:
            context.load_verify_locations(path)
        for path, key in files.pairs:
            context.load_cert_chain(path, key, password=_no_password)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        reason = exc.reason if isinstance(exc, ssl.SSLError) else exc
        raise InvalidArgument(
            f"certificate of a registry {path}: {reason}",
            hint="it and its key have to be PEM files, the key without a password",
            subject=path,
        ) from exc
    return context


def _no_password() -> str:
    """OpenSSL would otherwise ask on the terminal."""
    raise ValueError("its key has a password")
