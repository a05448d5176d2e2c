from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument, InvalidDigest
from jubako.images.config_check import parse_config
from jubako.oci.manifest import MAX_LAYERS

DIFF_ID = "sha256:" + "0" * 64
GOOD: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["A=b"], "Labels": {"x": "y"}, "ExposedPorts": {"80/tcp": {}}, "Cmd": None},
    "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
    "history": [{"created": "2024-01-01T00:00:00Z"}, {"empty_layer": True}],
    "unknown": {"is": "kept"},
}


def test_a_good_config_comes_back_whole() -> None:
    assert parse_config(json.dumps(GOOD).encode(), "config") == GOOD


def test_an_image_may_have_no_layers() -> None:
    data = {**GOOD, "rootfs": {"type": "layers", "diff_ids": None}}
    assert parse_config(json.dumps(data).encode(), "config")["rootfs"]["diff_ids"] == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rootfs": None}, "rootfs is missing"),
        ({"rootfs": {"type": "other", "diff_ids": []}}, "not of type layers"),
        ({"rootfs": {"type": "layers", "diff_ids": "x"}}, "not a list of digests"),
        ({"rootfs": {"type": "layers", "diff_ids": [DIFF_ID] * (MAX_LAYERS + 1)}}, "layers"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha512:" + "0" * 128]}}, "not a SHA-256"),
        ({"os": "windows"}, "cannot use an image for 'windows' on linux"),
        ({"os": 1}, "os is not a string"),
        ({"config": []}, "config is not an object"),
        ({"config": {"Env": "A=b"}}, "Env is not a list of strings"),
        ({"config": {"Env": [1]}}, "Env is not a list of strings"),
        ({"config": {"Labels": {"a": 1}}}, "Labels is not an object of strings"),
        ({"config": {"ExposedPorts": ["80"]}}, "ExposedPorts is not an object"),
        ({"config": {"User": 0}}, "User is not a string"),
        ({"config": {"Healthcheck": {"Test": "x"}}}, "Healthcheck is not a health check"),
        ({"history": [1]}, "history is not a list of history entries"),
        ({"history": [{"created_by": 1}]}, "history is not"),
        ({"created": 5}, "created is not a time"),
        ({"created": "yesterday"}, "created is not a time"),
        ({"created": "0000-01-01T00:00:00Z"}, "created is not a time"),
        ({"history": [{"created": "2024-13-01T00:00:00Z"}]}, "history is not"),
        ({"history": [{"created": 5}]}, "history is not"),
    ],
)
def test_wrong_types_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_config(json.dumps({**GOOD, **changed}).encode(), "config")


def test_malformed_digests_are_refused() -> None:
    data = {**GOOD, "rootfs": {"type": "layers", "diff_ids": ["sha256:../../x"]}}
    with pytest.raises(InvalidDigest):
        parse_config(json.dumps(data).encode(), "config")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'"x"', b"NaN"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_config(data, "config")


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "created", "author"]), values), values)
def test_any_json_is_accepted_or_refused(top: dict[str, Any], defaults: Any) -> None:
    try:
        parse_config(json.dumps({**GOOD, "config": defaults, **top}).encode(), "config")
    except InvalidArgument:
        return
