"""Whatever an image's configuration says: it is refused in words, or everything that reads it goes
on working."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jubako import Engine
from jubako.errors import JubakoError
from tests.integration.pull_tools import layer_of

LAYER = layer_of({"bin/sh": b"#!"})
DIFF_ID = "sha256:" + hashlib.sha256(LAYER).hexdigest()

TEXTS = st.one_of(
    st.sampled_from(
        ["", "/", "root", "0:0", "-1", "a=b", "=", "x" * 5000, "\0", "\x1b[2J", "\ud83d\ude00"]
        + ["2024-02-30T25:61:61Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"]
        + ["80/tcp", "99999/udp", "1-3/sctp", "80/x", "..", "/../..", "/proc", "relative", "/a:/b"]
        + ["SIGTERM", "9", "SIGNOPE", "NONE", "CMD", "CMD-SHELL", "linux", "windows", "amd64"]
    ),
    st.text(max_size=8),
)
NUMBERS = st.sampled_from([0, 1, -1, 10, 10**9, -(2**63), 2**63, 10**30])
LISTS = st.none() | st.lists(TEXTS, max_size=3)
SETS: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.dictionaries(
    TEXTS, st.just({}), max_size=3
)
DEFAULTS = st.fixed_dictionaries(
    {},
    optional={
        "User": TEXTS,
        "WorkingDir": TEXTS,
        "StopSignal": TEXTS,
        "StopTimeout": NUMBERS,
        "Env": LISTS,
        "Cmd": LISTS,
        "Entrypoint": LISTS,
        "OnBuild": LISTS,
        "Shell": LISTS,
        "Labels": st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
        "ExposedPorts": SETS,
        "Volumes": SETS,
        "Healthcheck": st.none()
        | st.fixed_dictionaries(
            {},
            optional={"Test": LISTS, "Interval": NUMBERS, "Timeout": NUMBERS, "Retries": NUMBERS},
        ),
        "ArgsEscaped": st.booleans(),
        "Hostname": TEXTS,
        "Memory": NUMBERS,
    },
)
HISTORY = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "created": TEXTS,
            "created_by": TEXTS,
            "author": TEXTS,
            "comment": TEXTS,
            "empty_layer": st.booleans(),
        },
    ),
    max_size=4,
)
CONFIGS = st.fixed_dictionaries(
    {"rootfs": st.just({"type": "layers", "diff_ids": [DIFF_ID]})},
    optional={
        "architecture": TEXTS,
        "variant": TEXTS,
        "os": st.sampled_from(["linux", "", "Linux"]),
        "created": TEXTS,
        "author": TEXTS,
        "comment": TEXTS,
        "docker_version": TEXTS,
        "history": HISTORY,
        "config": st.none() | DEFAULTS,
        "os.version": TEXTS,
    },
)


@pytest.mark.root
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(CONFIGS)
@example({"rootfs": {"type": "layers", "diff_ids": [DIFF_ID]}, "config": None, "history": []})
def test_whatever_a_configuration_says(engine: Engine, config: dict[str, Any]) -> None:
    images = engine.images
    if not images.layers.exists(DIFF_ID):
        images.import_tar(io.BytesIO(LAYER), "base")
    data = json.dumps(config).encode()
    manifest = [{"Config": "config.json", "RepoTags": ["fuzz:1"], "Layers": ["layer"]}]
    archive = layer_of({"manifest.json": json.dumps(manifest).encode(), "config.json": data})
    try:
        images.load(io.BytesIO(archive))
    except JubakoError as exc:
        assert str(exc).isprintable()
        return
    image_id = images.resolve("fuzz:1")
    assert image_id == "sha256:" + hashlib.sha256(data).hexdigest()
    for found in (images.inspect("fuzz:1"), images.history("fuzz:1"), images.list(all=True)):
        json.dumps(found, ensure_ascii=False).encode()
    images.list({"label": ["a"], "until": ["1h"]})
    images.save(["fuzz:1"], io.BytesIO())
    try:
        made = engine.containers.create({"Image": "fuzz:1"}, {"NetworkMode": "none"})
    except JubakoError as exc:
        str(exc).encode()
    else:
        shown = engine.containers.inspect(made["Id"])
        json.dumps(shown, ensure_ascii=False).encode()
        engine.containers.remove(made["Id"], volumes=True)
    images.remove("fuzz:1", force=True)
