"""`system df --all`: every block of the root, by what it is for.

The whole root is walked, on its own file system, and each inode counts once with the blocks that
it has allocated: the sum is what `du` says.
"""

from __future__ import annotations

import os

from jubako.errors import KernelError
from jubako.images.content.partial import DIRECTORY
from jubako.images.layers import INGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.services import Services

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system (stat(2))
_PRUNE = "image prune"
_FILES, _LOGS, _PROGRESS, _OTHER = (
    *("containers' files", "containers' logs", "work in progress", "other"),
)
# Kind: the command that frees it.  In the order in which they are shown.
_KINDS = {
    "layers of images": "image prune --all",
    "layers without image": _PRUNE,
    "compressed layers": 'image prune, with "blobs" set to "drop" or "rebuild"',
    "manifests and configs": "image prune --all",
    "blobs without image": _PRUNE,
    "interrupted downloads": _PRUNE,
    _PROGRESS: "the next command, if its process died",
    _FILES: "container prune",
    _LOGS: "container prune",
    "volumes": "volume prune --all",
    "database": "",
    "reserve for a full disk": "",
    _OTHER: "",
}


def disk_account(services: Services) -> list[dict[str, Any]]:
    """See `SystemService.disk_account`."""
    return _Account(services).items()


class _Account:
    def __init__(self, services: Services):
        self._root = services.store.path
        db = services.store.db
        self._layers = {
            row[0].partition(":")[2] for row in db.execute("SELECT diff_id FROM image_layers")
        }
        self._documents = {
            row[0] for row in db.execute("SELECT id FROM images UNION SELECT digest FROM manifests")
        }
        self._blobs = {
            row[0]
            for row in db.execute(
                "SELECT digest FROM blobs WHERE diff_id IN (SELECT diff_id FROM image_layers)"
            )
        }
        self._counts = dict.fromkeys(_KINDS, 0)
        self._sizes = dict.fromkeys(_KINDS, 0)
        self._seen: set[int] = set()

    def items(self) -> list[dict[str, Any]]:
        """The kinds that there are."""
        try:
            self._walk()
        except OSError as exc:
            raise KernelError.from_oserror("walk", exc, path=self._root) from exc
        return [
            {
                "Kind": kind,
                "Count": self._counts[kind],
                "Size": self._sizes[kind],
                "FreedBy": freed_by,
            }
            for kind, freed_by in _KINDS.items()
            if self._counts[kind]
        ]

    def _walk(self) -> None:
        top = os.lstat(self._root)
        self._add(_OTHER, top)
        waiting = [("", "")]
        while waiting:
            directory, kind = waiting.pop()
            try:
                found_there = os.scandir(f"{self._root}/{directory}")
            except FileNotFoundError:  # deleted meanwhile
                continue
            with found_there as entries:
                for entry in entries:
                    path = f"{directory}/{entry.name}" if directory else entry.name
                    found = kind or self._kind(path)
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if status.st_dev != top.st_dev:  # mounted there, by whoever
                        continue
                    self._add(found or _OTHER, status)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((path, found))

    def _kind(self, path: str) -> str:
        """What all is that lies at a path of the root; "" for a directory of several kinds."""
        top, _, rest = path.partition("/")
        if top == "layers":
            return self._layer(rest)
        if top == "content":
            return self._blob(rest)
        if top == "containers":
            _, _, name = rest.partition("/")
            return "" if not name else _LOGS if "-json.log" in name else _FILES
        if top.startswith("state.db"):
            return "database"
        return {"volumes": "volumes", "reserve": "reserve for a full disk"}.get(top, _OTHER)

    def _layer(self, name: str) -> str:
        if not name:
            return ""
        if name == INGEST:
            return _PROGRESS
        return "layers of images" if name in self._layers else "layers without image"

    def _blob(self, path: str) -> str:
        algorithm, _, encoded = path.partition("/")
        if algorithm in (INGEST, DIRECTORY):
            return _PROGRESS if algorithm == INGEST else "interrupted downloads"
        if not encoded:
            return ""
        digest = f"{algorithm}:{encoded}"
        if digest in self._documents:
            return "manifests and configs"
        return "compressed layers" if digest in self._blobs else "blobs without image"

    def _add(self, kind: str, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            if status.st_ino in self._seen:
                return
            self._seen.add(status.st_ino)
        self._counts[kind] += 1
        self._sizes[kind] += status.st_blocks * _BLOCK_BYTES
