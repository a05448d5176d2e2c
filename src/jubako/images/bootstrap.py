"""Base images straight from a distribution's signed archive: no registry, no stranger's image.

mmdebstrap does the work.  The result depends on the archive's state alone: all times are at most
the date of its Release file (or SOURCE_DATE_EPOCH), and logs and caches are left out.
"""

from __future__ import annotations

import os
import re
import shlex

from jubako.errors import InvalidArgument, Unavailable
from jubako.images.layers.temporary import temporary_directory
from jubako.images.making import import_tar
from jubako.images.tar import TarWriter
from jubako.linux.process import SEARCH_PATH, find_program, run
from jubako.linux.removal import remove_tree
from jubako.oci import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from jubako.images import ImageService

DISTRIBUTIONS = ("debian", "ubuntu")
VARIANTS = frozenset(
    ("extract", "custom", "essential", "apt", "minbase", "required", "buildd", "important")
    + ("debootstrap", "standard", "-")
)
_WORD = re.compile(r"[a-z0-9][a-z0-9.+-]*\Z")
_PACKAGE = re.compile(r"[a-z0-9?~(][^\s,]*\Z")
_TIMEOUT_S = 3600.0  # a slow mirror; the progress of the download is apt's business
_RELEASE_LIMIT_BYTES = 4 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")

# What differs from machine to machine and run to run, or serves nobody in an image.
_CLEAN_HOOK = (
    'cd "$1" && rm -rf etc/hostname etc/resolv.conf var/cache/ldconfig/aux-cache'
    " var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb"
    " var/cache/debconf/*-old var/lib/dpkg/*-old"
    " && find var/log -type f -delete"
)
# As in the distribution's own container images: packages must not start services, and apt keeps
# no archives that would only make layers larger.
_SERVICES_HOOK = (
    'mkdir -p "$1/usr/sbin" && cd "$1/usr/sbin"'
    " && printf '#!/bin/sh\\nexit 101\\n' > policy-rc.d && chmod 755 policy-rc.d"
)
_APT_CLEAN = (
    '"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb'
    ' /var/cache/apt/*.bin || true";'
)
_APT_CONFIGURATION = {
    "docker-clean": (
        f"DPkg::Post-Invoke {{ {_APT_CLEAN} }};",
        f"APT::Update::Post-Invoke {{ {_APT_CLEAN} }};",
        'Dir::Cache::pkgcache "";',
        'Dir::Cache::srcpkgcache "";',
    ),
    "docker-no-languages": ('Acquire::Languages "none";',),
    "docker-gzip-indexes": ('Acquire::GzipIndexes "true";',),
    "docker-autoremove-suggests": ('Apt::AutoRemove::SuggestsImportant "false";',),
}
_APT_HOOK = 'cd "$1/etc/apt/apt.conf.d"' + "".join(
    f" && printf '%s\\n' {' '.join(map(shlex.quote, lines))} > {name}"
    for name, lines in _APT_CONFIGURATION.items()
)


def bootstrap(
    images: ImageService,
    target: str,
    *,
    mirror: str | None,
    include: Sequence[str],
    variant: str,
    tag: str | None,
    progress: Callable[[str], None] | None,
) -> str:
    """See `ImageService.bootstrap`."""
    distribution, _, suite = target.rpartition(":")
    distribution = distribution or "debian"
    if distribution not in DISTRIBUTIONS:
        known = ", ".join(DISTRIBUTIONS)
        raise InvalidArgument(f"cannot bootstrap {distribution[:40]!r}: known are {known}")
    if not _WORD.match(suite):
        raise InvalidArgument(f"not a suite: {suite[:40]!r}", hint="for example debian:bookworm")
    if variant not in VARIANTS:
        raise InvalidArgument(f"unknown variant {variant[:40]!r} of mmdebstrap")
    for package in include:
        if not _PACKAGE.match(package):
            raise InvalidArgument(f"not a package name: {package[:80]!r}")
    _require_mmdebstrap()
    say = progress or (lambda text: None)
    say(f"Reading the Release file of {suite}")
    epoch = _epoch(suite, mirror)
    path, lock = temporary_directory(images.store, f"{images.store.path}/layers")
    try:
        say(f"Bootstrapping {distribution} {suite} ({variant})")
        _run_mmdebstrap(suite, f"{path}/root.tar", mirror, include, variant, epoch)
        say("Importing")
        with open(f"{path}/root.tar", "rb") as stream:
            return import_tar(
                images,
                _WithDev(stream, epoch),
                tag or f"{distribution}:{suite}",
                changes=(f"ENV PATH={_PATH}", 'CMD ["bash"]'),
                message=f"from the signed archive of {distribution}",
                platform=None,
                created_ns=epoch * 1_000_000_000,
                created_by=_describe(suite, include, variant, epoch),
            )
    finally:
        remove_tree(path)
        os.close(lock)


class _WithDev:
    """The tar with an empty /dev in front, which mmdebstrap leaves out together with its nodes."""

    def __init__(self, stream: BinaryIO, epoch: int):
        parts: list[bytes | memoryview] = []
        TarWriter(parts.append).add_directory(b"./dev/", mtime_ns=epoch * 1_000_000_000)
        self._first = b"".join(parts)
        self._stream = stream

    def read(self, size: int) -> bytes:
        first, self._first = self._first, b""
        return first or self._stream.read(size)


def _require_mmdebstrap() -> None:
    try:
        find_program("mmdebstrap")
    except Unavailable as exc:
        raise Unavailable(
            "bootstrap: mmdebstrap is not installed",
            hint="apt-get install mmdebstrap",
            subject="mmdebstrap",
        ) from exc


def _describe(suite: str, include: Sequence[str], variant: str, epoch: int) -> str:
    words = [f"--variant={variant}"]
    if include:
        words.append(f"--include={','.join(include)}")
    architecture = platforms.debian_architecture(platforms.host())
    return f"# mmdebstrap {' '.join(words)} --architectures={architecture} {suite} @{epoch}"


def _mirror_url(mirror: str | None) -> str | None:
    """The archive's URL, from itself or from a line of sources.list."""
    if mirror is None:
        return None
    words = re.sub(r"\[[^]]*\]", " ", mirror).split()
    url = next((word for word in words if "://" in word or word.startswith("file:/")), None)
    if url is None:
        raise InvalidArgument(
            f"not an archive's address: {mirror[:80]!r}",
            hint="give a URL such as http://mirror.example/debian, or a line of sources.list",
        )
    return url.rstrip("/")


def _default_mirror(suite: str) -> str:
    """Where mmdebstrap itself would get the suite: it writes that down before it fetches anything,
    and a hook that fails stops it there."""
    hook = '--setup-hook=cat "$1/etc/apt/sources.list"; exit 1'
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--format=null", hook, suite, "/dev/null"]
    why = "which archive the tool would take"
    done = run(argv, env={"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}, timeout_s=60, why=why)
    # what a hook prints comes out among mmdebstrap's own messages
    for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines():
        if line.startswith("deb ") and (url := _mirror_url(line)) is not None:
            return url
    raise Unavailable(
        f"bootstrap {suite}: mmdebstrap knows no archive that has it",
        hint="check the suite's name, or name the archive with --mirror",
    )


def _epoch(suite: str, mirror: str | None) -> int:
    """SOURCE_DATE_EPOCH, else the date of the suite's Release file.

    The file is not verified here: the date only makes results reproducible.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isascii() and given.isdigit():
        return int(given)
    archive = _mirror_url(mirror) or _default_mirror(suite)
    from email.utils import parsedate_to_datetime
    from urllib.error import URLError
    from urllib.request import urlopen

    reason = ""
    for name in ("InRelease", "Release"):
        url = f"{archive.removeprefix('copy:')}/dists/{suite}/{name}"
        try:
            with urlopen(url, timeout=60) as reply:
                text = reply.read(_RELEASE_LIMIT_BYTES).decode("utf-8", "replace")
        except (URLError, OSError, ValueError) as exc:
            reason = str(getattr(exc, "reason", exc))
            continue
        match = re.search(r"^Date:\s*(.+)$", text, re.MULTILINE)
        if match is not None:
            try:
                return int(parsedate_to_datetime(match[1]).timestamp())
            except ValueError:
                reason = f"its date is not understood: {match[1][:60]}"
    raise Unavailable(
        f"bootstrap {suite}: read {archive}/dists/{suite}/Release: {reason or 'it has no date'}",
        hint="check the suite's name, the mirror and the network",
    )


def _run_mmdebstrap(
    suite: str, out: str, mirror: str | None, include: Sequence[str], variant: str, epoch: int
) -> None:
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--format=tar", f"--variant={variant}"]
    if include:
        argv.append("--include=" + ",".join(include))
    # Device nodes are the runtime's business: a container gets its own /dev.
    argv += ["--skip=output/dev"]
    if variant not in ("extract", "custom", "-"):
        argv += ["--skip=chroot/policy-rc.d", f"--extract-hook={_SERVICES_HOOK}"]
        argv.append(f"--customize-hook={_APT_HOOK}")
    argv += [f"--customize-hook={_CLEAN_HOOK}", suite, out]
    if mirror is not None:
        argv.append(mirror)
    env = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(epoch)}
    for name in _PROXIES:
        for spelling in (name, name.upper()):
            if spelling in os.environ:
                env[spelling] = os.environ[spelling]
    done = run(argv, env=env, timeout_s=_TIMEOUT_S, why="make a root file system from the archive")
    if done.status:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        shown = [line for line in lines if line.startswith(("E:", "Err:"))] or lines[-3:]
        raise Unavailable(
            f"bootstrap {suite}: mmdebstrap failed ({done.status}): {'; '.join(shown[-4:])}",
            hint="check the suite's name, the mirror and the network",
        )
