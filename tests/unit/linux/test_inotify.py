"""inotify and the tables of sockets."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.linux import inotify, procnet


def test_a_change_in_a_directory_is_told(tmp_path: Path) -> None:
    fd = inotify.init()
    try:
        inotify.add_watch(fd, str(tmp_path), inotify.IN_MODIFY | inotify.IN_CREATE)
        assert not inotify.wait(fd, 0)
        (tmp_path / "file").write_text("x")
        assert inotify.wait(fd, 5)
        assert not inotify.wait(fd, 0)
    finally:
        os.close(fd)


def test_a_missing_file_cannot_be_watched(tmp_path: Path) -> None:
    fd = inotify.init()
    try:
        with pytest.raises(KernelError, match="inotify_add_watch .*/none") as caught:
            inotify.add_watch(fd, f"{tmp_path}/none", inotify.IN_MODIFY)
        assert caught.value.errno == errno.ENOENT
    finally:
        os.close(fd)


def test_listening_sockets_and_their_owner() -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("0.0.0.0", 0))
        found = {(one.protocol, one.address, one.port): one for one in procnet.listening()}
        one = found["tcp", *tcp.getsockname()]
        assert one.local_only and procnet.owner(one.inode) == os.getpid()
        assert not found["udp", *udp.getsockname()].local_only
        assert procnet.owner(1) == 0


def test_addresses_of_version_6() -> None:
    with socket.socket(socket.AF_INET6) as tcp:
        try:
            tcp.bind(("::1", 0))
        except OSError:
            pytest.skip("this network namespace has no IPv6")
        tcp.listen()
        port = tcp.getsockname()[1]
        (one,) = (one for one in procnet.listening() if one.port == port)
        assert (one.address, one.local_only) == ("::1", True)


def test_a_process_that_is_gone_has_no_sockets() -> None:
    assert procnet.listening(0) == []
