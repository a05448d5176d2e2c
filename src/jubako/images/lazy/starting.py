"""The command's part of a lazy start: which layers can be used before they are here, and a helper.

The request that the helper gets, as a line of JSON:

    {"root": ..., "reference": "repository@sha256:...", "platform": null or text,
     "login": null or {...}, "layers": [{"diff_id": ...}, ...]}

It answers `{"ready": true}` or `{"error": class, "message", "hint"}`; then it is told, by an empty
line, that the image was written down.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from typing import NamedTuple

from jubako import errors
from jubako.errors import KernelError, Unavailable, Unsupported
from jubako.images.lazy import places, toc, zstd_chunked
from jubako.images.pulling.recording import record
from jubako.linux import fanotify
from jubako.oci import media

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.pulling.layer import Wanted
    from jubako.images.pulling.resolving import Target
    from jubako.images.registries.remote import Login
    from jubako.store import Store

LOCK = "lazy"
LOG = "lazy.log"  # in the run directory: what went wrong after the command had ended
_MAX_ANSWER = 1 << 20


class Layers(NamedTuple):
    """What is missing of an image.  lazy: can be used before it is here.  to_fetch: cannot."""

    lazy: list[Wanted]
    to_fetch: list[Wanted]


def choose(images: ImageService, target: Target) -> Layers:
    """What is to be done with the layers of an image; those that are arriving are left out.

    Raises Unsupported, in words, if nothing can be lazy here or in this image.
    """
    missing: dict[str, Wanted] = {}
    for layer in target.layers():
        if not images.layers.exists(layer.diff_id) and not places.find(images.store, layer.diff_id):
            missing[layer.diff_id] = layer
    lazy = [layer for layer in missing.values() if _has_toc(layer)]
    rest = [layer for layer in missing.values() if not _has_toc(layer)]
    if missing and not lazy:
        raise Unsupported("its layers have no table of contents (eStargz, zstd:chunked)")
    if lazy:
        _check_here(images)
    return Layers(lazy, rest)


def _has_toc(layer: Wanted) -> bool:
    blob = layer.descriptor
    kind = media.compression_of(blob.media_type)
    if kind == "zstd" and zstd_chunked.POSITION in blob.annotations:
        return find_spec("zstandard") is not None
    return kind == "gzip" and toc.ANNOTATION in blob.annotations


def _check_here(images: ImageService) -> None:
    choice = images.layers.choice()
    if choice.name != "erofs":
        raise Unsupported(f"it needs the storage driver erofs: {choice.reason}")
    path = f"{images.store.path}/state.db"
    group = -1
    try:
        why = "try whether this kernel can ask before a file is read"
        group = fanotify.fanotify_init(why=why)
        fanotify.fanotify_mark(group, path, why=why)
    except KernelError as exc:
        raise Unsupported(f"it needs Linux 6.14 and its pre-content events: {exc}") from exc
    finally:
        if group >= 0:
            os.close(group)


def start(
    images: ImageService,
    target: Target,
    layers: Layers,
    *,
    platform: str | None,
    login: Login | None,
) -> bool:
    """Write the image down with its lazy layers on their way; whether its name is new.

    Its other layers are here.  Raises what is wrong with a layer or the registry.
    """
    if not layers.lazy:
        return record(images, target, arriving=_arriving(images, target))
    request = {
        "root": images.store.path,
        "reference": str(target.reference.with_digest(target.digest)),
        "platform": platform,
        "login": login._asdict() if login is not None else None,
        "layers": [{"diff_id": layer.diff_id} for layer in layers.lazy],
    }
    to_helper, from_helper = _spawn(images.store, json.dumps(request).encode() + b"\n")
    try:
        _wait_until_ready(from_helper)
        new = record(images, target, arriving=_arriving(images, target))
        os.write(to_helper, b"\n")
        return new
    except BrokenPipeError as exc:
        raise Unavailable("the process that fetches the layers has died") from exc
    finally:
        os.close(to_helper)
        os.close(from_helper)


def _arriving(images: ImageService, target: Target) -> dict[str, int]:
    """The layers that have no row, and the bytes of their files."""
    return {
        layer.diff_id: places.size_bytes(images.store, layer.diff_id)
        for layer in target.layers()
        if not images.layers.exists(layer.diff_id)
    }


def _wait_until_ready(fd: int) -> None:
    with open(fd, "rb", closefd=False) as file:
        line = file.readline(_MAX_ANSWER)
    answer: dict[str, Any] = json.loads(line) if line else {}
    if answer.get("ready"):
        return
    if "error" in answer:
        kind = getattr(errors, answer["error"])
        if issubclass(kind, (KernelError, errors.CleanupErrors)):  # they are made in another way
            kind = Unavailable
        raise kind(answer["message"], hint=answer["hint"])
    raise Unavailable("the process that fetches the layers has died")


def _spawn(store: Store, request: bytes) -> tuple[int, int]:
    """Start the helper; descriptors to write to it, and to read from it."""
    path = [os.path.abspath(directory) for directory in sys.path]
    code = f"import sys; sys.path[:] = {path!r}; from jubako.images.lazy import guardian"
    argv = [sys.executable, "-I", "-S", "-c", f"{code}; guardian.main()"]
    read, to_helper = os.pipe2(os.O_CLOEXEC)
    from_helper, write = os.pipe2(os.O_CLOEXEC)
    try:
        log = os.open(
            f"{store.run_dir}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        actions = [
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_DUP2, write, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
        os.close(log)
        os.waitpid(pid, 0)
        os.write(to_helper, request)
    except OSError as exc:
        os.close(to_helper)
        os.close(from_helper)
        raise KernelError.from_oserror("posix_spawn", exc, path=argv[0]) from exc
    finally:
        os.close(read)
        os.close(write)
    return to_helper, from_helper
