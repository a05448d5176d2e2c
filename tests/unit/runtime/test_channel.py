"""Messages between creator and init."""

from __future__ import annotations

import os
import socket

import pytest

from jubako.errors import InvalidArgument, JubakoError, KernelError, StartError, Unsupported
from jubako.runtime.channel import Channel, Errno


def test_a_message_with_descriptors() -> None:
    one, two = Channel.pair()
    read, write = os.pipe()
    one.send("console", descriptors=[write], size=[1, 2])
    got = two.receive()
    assert got is not None
    message, (copy,) = got
    assert message == {"kind": "console", "size": [1, 2]}
    assert not os.get_inheritable(copy)
    os.write(copy, b"x")
    assert os.read(read, 1) == b"x"
    for fd in (read, write, copy):
        os.close(fd)
    one.close()
    two.close()


def test_the_end_is_a_case_of_its_own() -> None:
    one, two = Channel.pair()
    one.send("ready")
    one.close()
    assert two.receive() == ({"kind": "ready"}, [])
    assert two.receive() is None
    with pytest.raises(KernelError, match="send go"):
        two.send("go")
    two.close()


@pytest.mark.parametrize(
    "error",
    [
        KernelError("mount", 2, path="/x", detail="tmpfs", hint="try"),
        StartError("no", exit_code=126, subject="p"),
        InvalidArgument("wrong", hint="right"),
        Unsupported("never"),
    ],
)
def test_an_error_arrives_as_it_was(error: JubakoError) -> None:
    one, two = Channel.pair()
    one.send_error(error)
    with pytest.raises(type(error)) as caught:
        two.receive()
    assert vars(caught.value) == vars(error)
    assert str(caught.value) == str(error)
    one.close()
    two.close()


def test_errors_of_others_are_mapped() -> None:
    one, two = Channel.pair()
    one.send_error(FileNotFoundError(2, "x", "/path"))
    with pytest.raises(KernelError, match="/path: No such file") as caught:
        two.receive()
    assert caught.value.errno == 2
    one.send_error(ValueError("odd"))
    with pytest.raises(JubakoError, match="ValueError: odd"):
        two.receive()
    one.close()
    two.close()


def test_four_bytes_are_the_trampolines() -> None:
    end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.send((8).to_bytes(4, "little"))
    channel = Channel(other)
    with pytest.raises(Errno) as caught:
        channel.receive()
    assert caught.value.errno == 8
    end.close()
    channel.close()
