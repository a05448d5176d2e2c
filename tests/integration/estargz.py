"""Layers with a table of contents, as stargz-snapshotter's docs/estargz.md describes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.integration.registry_images import Repository

TOC_ANNOTATION = "containerd.io/snapshot/stargz/toc.digest"
MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
JSON = dict[str, Any]
Member = tuple[tarfile.TarInfo, bytes]

_TYPES = {
    tarfile.DIRTYPE: "dir",
    tarfile.REGTYPE: "reg",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


class Layer(NamedTuple):
    """blob: the eStargz.  tar: what it holds.  toc: its table.  toc_digest: for the annotation."""

    blob: bytes
    tar: bytes
    toc: JSON
    toc_digest: str

    def put(self, repository: Repository) -> JSON:
        """Store the blob; its descriptor, with the annotation."""
        descriptor = repository.put_blob(self.blob, MEDIA_TYPE)
        return {**descriptor, "annotations": {TOC_ANNOTATION: self.toc_digest}}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """A member's metadata."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mtime = 1_700_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def members_of(tar: bytes) -> list[Member]:
    """The members of an existing tar."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            found.append((info, file.read() if file is not None else b""))
    return found


def make(
    members: Sequence[Member],
    *,
    chunk_bytes: int = 4 << 20,
    change: Callable[[JSON], None] = lambda toc: None,
) -> Layer:
    """A layer of these members.  change: of the table of contents, before it is written."""
    writer = _Writer()
    entries: list[JSON] = []
    for info, content in members:
        info.size = len(content)
        writer.add(info.tobuf(tarfile.PAX_FORMAT))
        entries += _entries(info, content, chunk_bytes, writer)
        writer.add(bytes(-len(content) % 512))
    toc: JSON = {"version": 1, "entries": entries}
    change(toc)
    table = json.dumps(toc).encode()
    writer.end_member()
    toc_at = len(writer.blob)
    last = entry("stargz.index.json", mode=0, mtime=0, size=len(table))
    writer.add(last.tobuf(tarfile.PAX_FORMAT) + table + bytes(-len(table) % 512 + 1024))
    writer.end_member()
    blob = bytes(writer.blob) + footer(toc_at)
    return Layer(blob, bytes(writer.tar), toc, digest(table))


def footer(toc_at: int) -> bytes:
    """An empty gzip member whose extra field tells where the table begins."""
    extra = b"SG" + struct.pack("<H", 22) + b"%016x" % toc_at + b"STARGZ"
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", len(extra))
    return head + extra + b"\x01\x00\x00\xff\xff" + bytes(8)


class _Writer:
    """Gzip members one after the other, and what they hold."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.tar = bytearray()
        self._open = bytearray()

    def add(self, data: bytes) -> None:
        self._open += data

    def end_member(self) -> None:
        if self._open:
            self.blob += gzip.compress(bytes(self._open), 6, mtime=0)
            self.tar += self._open
            self._open.clear()


def _entries(info: tarfile.TarInfo, content: bytes, chunk: int, writer: _Writer) -> list[JSON]:
    """The objects of one member in the table, whose content is written in members of its own."""
    found: JSON = {
        "name": info.name + "/" * info.isdir(),
        "type": _TYPES[info.type],
        "modtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.mtime)),
        "mode": info.mode,
        "uid": info.uid,
        "gid": info.gid,
    }
    if info.linkname:
        found["linkName"] = info.linkname
    if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        found |= {"devMajor": info.devmajor, "devMinor": info.devminor}
    xattrs = {
        key.removeprefix("SCHILY.xattr."): b64encode(value.encode()).decode()
        for key, value in info.pax_headers.items()
        if key.startswith("SCHILY.xattr.")
    }
    if xattrs:
        found["xattrs"] = xattrs
    if not info.isreg() or not content:
        return [found]
    found |= {"size": len(content), "digest": digest(content)}
    entries = []
    for at in range(0, len(content), chunk):
        piece = content[at : at + chunk]
        writer.end_member()
        part: JSON = {"offset": len(writer.blob), "chunkDigest": digest(piece)}
        if len(content) > chunk:
            part["chunkOffset"] = at
            if at + chunk < len(content):  # the last part is what is left
                part["chunkSize"] = len(piece)
        writer.add(piece)
        writer.end_member()
        entries.append(
            {**found, **part} if not at else {"name": info.name, "type": "chunk", **part}
        )
    return entries
