"""Capabilities of a container."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.containers.definition import capabilities, config
from jubako.errors import InvalidArgument
from jubako.linux import caps
from jubako.oci import runtime_defaults


def of(**host: Any) -> list[str]:
    _, merged, _ = config.merge({"Cmd": ["x"]}, host, None)
    return capabilities.of(merged)


def test_default() -> None:
    assert of() == list(runtime_defaults.CAPABILITIES)


def test_add_and_drop_accept_short_and_lower_names() -> None:
    names = of(CapAdd=["net_admin", "CAP_SYS_TIME"], CapDrop=["mknod", "Cap_Kill"])
    assert "CAP_NET_ADMIN" in names and "CAP_SYS_TIME" in names
    assert "CAP_MKNOD" not in names and "CAP_KILL" not in names
    assert names[-2:] == ["CAP_NET_ADMIN", "CAP_SYS_TIME"]


def test_drop_all() -> None:
    assert of(CapDrop=["all"]) == []
    assert of(CapDrop=["ALL"], CapAdd=["CHOWN", "chown"]) == ["CAP_CHOWN"]


def test_add_all() -> None:
    everything = caps.available()
    assert of(CapAdd=["ALL"]) == everything
    assert of(CapAdd=["ALL"], CapDrop=["CHOWN"]) == [n for n in everything if n != "CAP_CHOWN"]
    assert of(CapAdd=["ALL"], CapDrop=["ALL"]) == everything


def test_adding_a_default_does_not_repeat_it() -> None:
    assert of(CapAdd=["CHOWN"]) == list(runtime_defaults.CAPABILITIES)


def test_privileged_has_everything_whatever_else_is_asked() -> None:
    assert of(Privileged=True, CapDrop=["ALL"]) == caps.available()


def test_unknown_name() -> None:
    with pytest.raises(InvalidArgument, match='^unknown capability: "CAP_FOO"$'):
        capabilities.normalise(["foo"])


def test_nothing_is_inheritable_or_ambient() -> None:
    sets = capabilities.sets(["CAP_CHOWN"])
    assert sets == {kind: ["CAP_CHOWN"] for kind in ("bounding", "effective", "permitted")}
