"""Archives for tests of images."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jubako.images.layers import LayerStore
from jubako.images.tar import DIRECTORY, HARDLINK, REGULAR, SYMLINK, Entry, TarWriter


def archive(*members: tuple[bytes, bytes] | Entry | tuple[Entry, bytes]) -> bytes:
    """A tar of entries; (name, content) is a file, or a directory if the name ends in a slash."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for member in members:
        if isinstance(member, Entry):
            writer.add_header(member)
            continue
        first, content = member
        if isinstance(first, bytes):
            kind = DIRECTORY if first.endswith(b"/") else REGULAR
            first = Entry(first, kind, mode=0o755, size=len(content))
        writer.add(first, [content] if content else [])
    writer.close()
    return out.getvalue()


def link(name: bytes, target: bytes) -> Entry:
    return Entry(name, SYMLINK, mode=0o777, link=target)


def hard(name: bytes, target: bytes) -> Entry:
    return Entry(name, HARDLINK, link=target)


@contextmanager
def seen(layers: LayerStore, *diff_ids: str) -> Iterator[Path]:
    """What a stack of layers shows, whichever drivers have made them."""
    view = layers.open_view(diff_ids)
    try:
        yield Path(f"/proc/self/fd/{view}")
    finally:
        os.close(view)
