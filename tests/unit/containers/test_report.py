"""Errors travel from the monitor to the command that launched it."""

from __future__ import annotations

import errno
import json

import pytest

from jubako import errors
from jubako.containers.report import pack_error, unpack_error
from jubako.errors import JubakoError, KernelError, StartError


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("no such thing", hint="look elsewhere", subject="x"),
        errors.Conflict("port is already allocated"),
        StartError("nonsense: not found", exit_code=127),
        KernelError("mount", errno.EPERM, path="/mnt", detail="overlay"),
    ],
)
def test_an_error_arrives_as_it_was_sent(error: JubakoError) -> None:
    arrived = unpack_error(json.loads(json.dumps(pack_error(error))))
    assert type(arrived) is type(error)
    for name in ("message", "hint", "subject", "exit_code", "http_status"):
        assert getattr(arrived, name) == getattr(error, name)
    if isinstance(error, KernelError):
        assert isinstance(arrived, KernelError)
        assert (arrived.errno, arrived.op) == (error.errno, error.op)


def test_a_foreign_error_says_where_it_happened() -> None:
    try:
        raise ValueError("odd")
    except ValueError as exc:
        message = unpack_error(pack_error(exc)).message
    assert message.startswith("internal error: ValueError: odd at ")
    assert "test_report.py" in message


def test_a_forged_class_is_only_an_error() -> None:
    assert type(unpack_error({"class": "os", "message": "x"})) is JubakoError
