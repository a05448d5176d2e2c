"""Pre-content events, as the kernel under the tests has them."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.linux import fanotify


@pytest.fixture
def group(tmp_path: Path) -> Iterator[int]:
    """A group that is told before `file` is read, which is a hole."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    os.truncate(path, 1 << 20)
    fd = fanotify.fanotify_init(why="a test")
    try:
        try:
            fanotify.fanotify_mark(fd, str(path), why="a test")
        except KernelError as exc:
            pytest.skip(f"needs Linux 6.14 and ext4, xfs or btrfs: {exc}")
        yield fd
    finally:
        os.close(fd)


def read_in_child(path: Path, offset: int, size: int, expected: bytes | int) -> int:
    """A child that reads, and ends with 0 if it got `expected`: content, or an errno."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fd = os.open(path, os.O_RDONLY)
            try:
                status = int(os.pread(fd, size, offset) != expected)
            except OSError as exc:
                status = int(exc.errno != expected)
        finally:
            os._exit(status)
    return child


def next_event(group: int) -> fanotify.Event:
    assert select.select([group], [], [], 10)[0]
    [event] = fanotify.read_events(group)
    return event


def test_a_hole_is_filled_before_it_is_read(group: int, tmp_path: Path) -> None:
    child = read_in_child(tmp_path / "file", 8192, 7, b"content")
    event = next_event(group)
    assert event.offset <= 8192 and event.offset + event.size >= 8192 + 7
    os.pwrite(event.fd, b"content", 8192)  # raises no event of its own
    fanotify.respond(group, event.fd)
    os.close(event.fd)
    assert os.waitpid(child, 0)[1] == 0
    assert fanotify.read_events(group) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_read_can_be_made_to_fail(group: int, tmp_path: Path, number: int) -> None:
    child = read_in_child(tmp_path / "file", 0, 1, number)
    event = next_event(group)
    os.close(event.fd)  # its number is enough
    fanotify.respond(group, event.fd, number)
    assert os.waitpid(child, 0)[1] == 0


def test_nobody_waits_for_an_answer_to_what_was_not_asked(group: int) -> None:
    with pytest.raises(KernelError) as caught:
        fanotify.respond(group, 77)
    assert caught.value.errno == errno.ENOENT


def test_without_the_mark_there_is_no_event(group: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    fanotify.fanotify_mark(group, str(path), remove=True, why="a test")
    assert path.read_bytes()[:1] == b"\0"
    assert fanotify.read_events(group) == []


def test_not_on_every_file_system(tmp_path: Path) -> None:
    fd = fanotify.fanotify_init(why="a test")
    try:
        with pytest.raises(KernelError) as caught:
            fanotify.fanotify_mark(fd, "/dev/shm", why="a test")
        assert caught.value.errno in (errno.EOPNOTSUPP, errno.EINVAL)
    finally:
        os.close(fd)
