"""An interface set up by ioctl, in a network namespace of a child."""

from __future__ import annotations

import errno
import socket

import pytest

from jubako.errors import KernelError
from jubako.linux import interface, ns
from tests.unit.linux.child import in_child


def test_the_loopback_of_a_new_namespace_is_set_up() -> None:
    def scenario() -> None:
        ns.unshare(ns.CLONE_NEWNET)
        server = socket.create_server(("127.0.0.1", 80))
        with pytest.raises(OSError, match="unreachable"):
            socket.create_connection(("127.0.0.1", 80), 5)
        interface.set_up("lo")
        socket.create_connection(("127.0.0.1", 80), 5).close()
        server.close()

    in_child(scenario)


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(KernelError, match="set link up nothing0") as failed:
        interface.set_up("nothing0")
    assert failed.value.errno == errno.ENODEV
