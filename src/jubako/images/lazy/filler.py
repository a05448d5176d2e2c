"""Fetching the parts of one layer: each once, whoever asks first."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from jubako.errors import IntegrityError
from jubako.images.content.partial import Partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images.lazy.layer import LazyLayer
    from jubako.oci.manifest import Descriptor
    from jubako.registry.repository import Repository


class Filler:
    """Safe for threads.

    partial: the blob as far as it has come (see `images.content.partial`), from where a part is
    taken if it is there; else the registry is asked for the part alone.
    """

    def __init__(
        self, layer: LazyLayer, descriptor: Descriptor, repository: Repository, partial: Partial
    ):
        self.layer = layer
        self.descriptor = descriptor
        self.repository = repository
        self.partial = partial
        self._busy: set[int] = set()
        self._changed = threading.Condition()

    def fill(self, offset: int, size: int) -> None:
        """Return when these bytes of the data are there.

        Raises IntegrityError (what comes is not what the table promised), KernelError, and what the
        registry says.
        """
        for number in self.layer.overlapping(offset, size):
            self.fill_part(number)

    def fill_part(self, number: int) -> None:
        """The same for one part."""
        with self._changed:
            while number in self._busy:
                self._changed.wait()
            if self.layer.is_filled(number):
                return
            self._busy.add(number)
        try:
            self._fetch(number)
        finally:
            with self._changed:
                self._busy.discard(number)
                self._changed.notify_all()

    def _fetch(self, number: int) -> None:
        begin, end = self.layer.blob_range(number)
        kept = self._kept(begin, end)
        if kept:
            with suppress(IntegrityError):  # left by a crash of the machine, say
                self.layer.fill(number, kept)
                return
        self.layer.fill(number, self.repository.read_range(self.descriptor, begin, end - begin))

    def _kept(self, begin: int, end: int) -> bytes:
        """These bytes of the blob if they have come already."""
        if end > self.partial.size:
            return b""
        try:
            with open(self.partial.path, "rb", buffering=0) as file:
                return os.pread(file.fileno(), end - begin, begin)
        except OSError:
            return b""  # it was taken over, or thrown away
