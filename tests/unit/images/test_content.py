from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import IntegrityError, NotFound
from jubako.images.content.store import ContentStore
from jubako.oci.digest import Digest


class Root:
    """What the content store needs of a `Store`."""

    def __init__(self, path: Path):
        self.path = str(path)

    def directory(self, *names: str) -> str:
        path = os.path.join(self.path, *names)
        os.makedirs(path, exist_ok=True)
        return path


@pytest.fixture
def content(tmp_path: Path) -> Iterator[ContentStore]:
    yield ContentStore(Root(tmp_path))  # type: ignore[arg-type]
    left = os.listdir(tmp_path / "content" / ".ingest")
    assert left == [], "temporary files are left"


def test_what_was_written_is_read_back(content: ContentStore) -> None:
    digest = content.write(b"data")
    assert digest == Digest.of(b"data")
    assert content.write(b"data") == digest
    assert content.read(digest, 100) == b"data"
    assert b"".join(content.stream(digest)) == b"data"
    assert (content.size(digest), content.all()) == (4, {digest})
    assert os.stat(content.path(digest)).st_mode & 0o777 == 0o400


def test_a_blob_in_pieces_with_another_algorithm(content: ContentStore) -> None:
    import hashlib

    digest = Digest.parse("sha512:" + hashlib.sha512(b"onetwo").hexdigest())
    with content.ingest() as ingest:
        ingest.write(b"one")
        ingest.write(memoryview(b"two"))
        ingest.commit(digest, 6)
    assert content.read(digest, 6) == b"onetwo"


def test_wrong_size_and_wrong_digest_are_refused(content: ContentStore) -> None:
    digest = Digest.of(b"expected")
    with pytest.raises(IntegrityError, match="expected 8 bytes, found 3"):
        with content.ingest() as ingest:
            ingest.write(b"exp")
            ingest.commit(digest, 8)
    with pytest.raises(IntegrityError, match=f"expected {digest}, found sha256:"):
        with content.ingest() as ingest:
            ingest.write(b"another!")
            ingest.commit(digest, 8)
    assert not content.exists(digest) and content.all() == set()


def test_missing_and_damaged_blobs(content: ContentStore) -> None:
    digest = content.write(b"data")
    with pytest.raises(IntegrityError, match="more than 3 bytes"):
        content.read(digest, 3)
    os.chmod(content.path(digest), 0o600)
    Path(content.path(digest)).write_bytes(b"DATA")
    with pytest.raises(IntegrityError):
        content.read(digest, 100)
    with pytest.raises(IntegrityError):
        list(content.stream(digest))
    content.remove(digest)
    content.remove(digest)
    with pytest.raises(NotFound):
        content.read(digest, 100)


def test_recover_removes_only_what_nobody_writes(content: ContentStore) -> None:
    content.recover()
    with content.ingest() as ingest:
        ingest.write(b"data")
        directory = Path(content.path(Digest.of(b"x"))).parent.parent / ".ingest"
        (directory / "1-1").write_bytes(b"left by a killed process")
        content.recover()
        assert len(os.listdir(directory)) == 1
        ingest.commit(Digest.of(b"data"))
    assert content.exists(Digest.of(b"data"))
