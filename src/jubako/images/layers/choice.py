"""Which driver makes new layers, and why: the setting `storage-driver`, or the best that works.

    <run directory>/storage-driver     JSON: what the probe found, and where; gone after a reboot

The probe stores a tiny layer as EROFS in the root, mounts it below an overlay, and reads a file.
It does all that a container needs, on the file system where the root is.
"""

from __future__ import annotations

import json
import os

from jubako.errors import JubakoError, KernelError, Unsupported
from jubako.images.layers.temporary import temporary_directory
from jubako.images.tar import TarWriter
from jubako.linux import erofs
from jubako.linux.atomic import write_file
from jubako.linux.fds import Fd
from jubako.linux.mountapi import new_mount
from jubako.linux.mountinfo import filesystem_of
from jubako.linux.removal import remove_tree
from jubako.store import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.images.layers import LayerStore
    from jubako.store import Store

FILE = "storage-driver"
_CONTENT = b"The content of a layer stays in its archive.\n"


class Choice:
    """name: of the driver.  reason: why it is that one, for a person."""

    __slots__ = __match_args__ = ("name", "reason")

    def __init__(self, name: str, reason: str):
        self.name = name
        self.reason = reason


def choose(store: Store, layers: LayerStore) -> Choice:
    """The driver for new layers.

    Raises Unsupported if the setting asks for one that does not work here, InvalidArgument
    (settings).
    """
    wanted = settings.load(store.path).storage_driver
    if wanted == "overlay":
        return Choice("overlay", f"{settings.FILE} says so")
    problem = _problem(store, layers)
    if wanted == "erofs":
        if problem:
            raise Unsupported(
                f"storage driver erofs: {problem}",
                hint=f'set "storage-driver" to "overlay" in {store.path}/{settings.FILE}',
            )
        return Choice("erofs", f"{settings.FILE} says so")
    if problem:
        return Choice("overlay", f"erofs is not possible: {problem}")
    return Choice("erofs", "this kernel mounts layers without unpacking them")


def _problem(store: Store, layers: LayerStore) -> str:
    """Why EROFS layers do not work here; "" if they do.  Tried once after each boot."""
    path = f"{store.run_dir}/{FILE}"
    tried = {"kernel": os.uname().release, "device": os.stat(store.path).st_dev}
    found = _read(path)
    problem = found.pop("problem", None)
    if isinstance(problem, str) and found == tried:
        return problem
    problem, is_lasting = _probe(store, layers)
    if is_lasting:
        text = json.dumps({**tried, "problem": problem})
        write_file(path, text.encode(), durable=False)
    return problem


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(65536))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _probe(store: Store, layers: LayerStore) -> tuple[str, bool]:
    """What stands in the way, and whether that will be so until the next boot."""
    try:
        directory, lock = temporary_directory(store, f"{store.path}/layers")
        try:
            read = _read_through(layers, directory)
        finally:
            remove_tree(directory)
            os.close(lock)
    except KernelError as exc:
        return _reason(exc, store, layers), exc.errno in erofs.MEANINGS
    except JubakoError as exc:
        return str(exc), False
    except OSError as exc:
        return f"read a file of a layer: {exc.strerror}", False
    if read != _CONTENT:
        return "a file of a layer has other content than its archive", True
    return "", True


def _reason(error: KernelError, store: Store, layers: LayerStore) -> str:
    """Why EROFS cannot be mounted, without naming the kernel for what the file system lacks.

    The same layer is mounted from memory: ramfs is in every kernel, and EROFS reads files from it.
    """
    lacks = erofs.LACKS.get(error.errno or 0) if error.op == erofs.OP else None
    if lacks is None:
        return str(error)
    try:
        _mount_from_memory(layers)
    except KernelError as exc:
        return lacks if exc.errno == error.errno else str(error)
    kind = filesystem_of(store.path)
    return f"the root is on {kind}, from whose files this kernel mounts no EROFS"


def _mount_from_memory(layers: LayerStore) -> None:
    """Raises KernelError."""
    from jubako.images.layers.erofs.driver import INDEX, TAR

    why = "learn whether the kernel or the root's file system is in the way of EROFS layers"
    with Fd(new_mount("ramfs", why=why)) as memory:
        directory = f"/proc/self/fd/{memory}"
        _store_layer(layers, directory)
        os.close(erofs.mount(f"{directory}/{INDEX}", f"{directory}/{TAR}", why=why))


def _store_layer(layers: LayerStore, directory: str) -> None:
    """Make a layer of one file in an empty directory.  Raises KernelError."""
    tar: list[bytes] = []
    writer = TarWriter(lambda data: tar.append(bytes(data)))
    writer.add_file(b"file", _CONTENT)
    writer.close()
    layers.layer_driver("erofs").unpack(tar, directory)


def _read_through(layers: LayerStore, directory: str) -> bytes:
    """The content of the only file of a layer that is made in the empty `directory`."""
    layer, top = f"{directory}/layer", f"{directory}/top"
    os.mkdir(layer, 0o700)
    os.mkdir(top, 0o700)
    _store_layer(layers, layer)
    view = layers.open_layer(layer, top=top, why="try whether EROFS layers work here")
    try:
        file = os.open("file", os.O_RDONLY | os.O_CLOEXEC, dir_fd=view)
        try:
            return os.read(file, len(_CONTENT) + 1)
        finally:
            os.close(file)
    finally:
        os.close(view)
