"""Credential helpers: a program on PATH that speaks the protocol, and programs that do not."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, Unavailable
from jubako.linux import trace
from jubako.registry import credential_helper
from jubako.registry.credential_helper import CredentialHelper
from jubako.registry.credentials import DOCKER_KEY, DockerConfig, Login
from tests.fixtures.credential_helper import install_helper


@pytest.fixture
def helper_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `docker-credential-test`, which is on PATH now, keeps its secrets."""
    return install_helper(tmp_path / "bin", monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> DockerConfig:
    return DockerConfig(str(tmp_path / "docker"))


def configure(config: DockerConfig, **content: Any) -> None:
    os.makedirs(config.directory, exist_ok=True)
    Path(config.path).write_text(json.dumps(content))


def content_of(config: DockerConfig) -> Any:
    return json.loads(Path(config.path).read_text())


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> CredentialHelper:
    """A helper `odd` that is this script of sh."""
    directory = tmp_path / "odd"
    directory.mkdir(exist_ok=True)
    path = directory / "docker-credential-odd"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return CredentialHelper("odd")


def test_the_protocol(helper_file: Path) -> None:
    helper = CredentialHelper("test")
    assert helper.get("reg.example") is None
    assert helper.list() == {}
    helper.store("reg.example", "me", 'pass"word\n')
    assert helper.get("reg.example") == ("me", 'pass"word\n')
    assert helper.list() == {"reg.example": "me"}
    helper.erase("reg.example")
    helper.erase("reg.example")
    assert helper.get("reg.example") is None


def test_a_store_for_all_registries(helper_file: Path, config: DockerConfig) -> None:
    configure(config, credsStore="test")
    assert not config.store("docker.io", Login("me", "s3cret"))
    config.store("reg.example", Login("you", identity_token="token"))
    assert content_of(config) == {
        "credsStore": "test",
        "auths": {DOCKER_KEY: {}, "reg.example": {}},
    }
    kept = json.loads(helper_file.read_text())
    assert kept[DOCKER_KEY]["Secret"] == "s3cret"
    assert kept["reg.example"] == {
        "ServerURL": "reg.example", "Username": "<token>", "Secret": "token",
    }  # fmt: skip
    assert config.get("docker.io") == Login("me", "s3cret")
    assert config.get("reg.example") == Login(identity_token="token")
    assert config.domains() == {DOCKER_KEY: "me", "reg.example": "<token>"}
    config.erase("docker.io")
    config.erase("reg.example")
    assert json.loads(helper_file.read_text()) == {}
    assert content_of(config) == {"credsStore": "test", "auths": {}}


def test_a_helper_for_one_registry(helper_file: Path, config: DockerConfig) -> None:
    configure(config, credHelpers={"reg.example": "test", "plain.example": ""})
    config.store("reg.example", Login("me", "s3cret"))
    assert config.store("plain.example", Login("a", "b"))
    assert config.store("other.example", Login("c", "d"))
    assert list(json.loads(helper_file.read_text())) == ["reg.example"]
    assert config.get("reg.example") == Login("me", "s3cret")
    assert config.get("plain.example") == Login("a", "b")
    assert config.domains() == {"reg.example": "me", "plain.example": "a", "other.example": "c"}


def test_the_file_is_not_asked_where_a_helper_is(helper_file: Path, config: DockerConfig) -> None:
    configure(config, credsStore="test", auths={"reg.example": {"auth": "YTpi"}})
    assert config.get("reg.example") is None


def test_a_key_ring_is_taken_for_the_first_login(
    helper_file: Path, config: DockerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.symlink("docker-credential-test", helper_file.parent / "docker-credential-secretservice")
    monkeypatch.setenv("PATH", f"{helper_file.parent}:{os.path.dirname(sys.executable)}")
    assert not config.store("reg.example", Login("me", "s3cret"))
    assert content_of(config) == {"credsStore": "secretservice", "auths": {"reg.example": {}}}
    assert config.get("reg.example") == Login("me", "s3cret")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'the key ring\x1b[2J is locked'; exit 1", "the key ring.*is locked"),
        ("echo 'on stderr' >&2; exit 3", "on stderr"),
        ("exit 4", "exit status 4"),
        ("kill -9 $$", "exit status 137"),
        ("echo nonsense", "its answer is not JSON"),
        ("echo '[]'", "its answer is not a JSON object"),
        ("""echo '{"Username": 1, "Secret": "x"}'""", "no texts for Username and Secret"),
        ("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", "bytes of output"),
    ],
)
def test_failures_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    helper = install(tmp_path, monkeypatch, script)
    with pytest.raises(Unavailable, match=f"docker-credential-odd.*{words}") as info:
        helper.get("reg.example")
    assert str(info.value).isprintable()


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_helper, "_TIMEOUT_S", 0.3)
    helper = install(tmp_path, monkeypatch, "exec sleep 100")
    with pytest.raises(Unavailable, match="no end within"):
        helper.get("reg.example")


def test_one_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="docker-credential-nosuch is not installed"):
        CredentialHelper("nosuch").get("reg.example")
    for name in ("", "../x", "/bin/sh", "a/b", "-x"):
        with pytest.raises(InvalidArgument, match="not the name of a program"):
            CredentialHelper(name)


def test_no_secret_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in errors, whatever the helper says, nor in traces."""
    lines: list[str] = []
    helper = install(tmp_path, monkeypatch, "cat; exit 1")
    previous = trace.set_sink(lambda event: lines.append(repr(event)))
    try:
        with pytest.raises(Unavailable) as info:
            helper.store("reg.example", "me", 's3cr"et')
    finally:
        trace.set_sink(previous)
    assert "***" in str(info.value)
    for text in (str(info.value), *lines):
        assert "s3cr" not in text
    assert lines


def test_a_failed_login_leaves_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: DockerConfig
) -> None:
    install(tmp_path, monkeypatch, "exit 1")
    configure(config, credsStore="odd", auths={"reg.example": {}})
    before = Path(config.path).read_text()
    with pytest.raises(Unavailable):
        config.store("new.example", Login("a", "b"))
    with pytest.raises(Unavailable):
        config.erase("reg.example")
    assert Path(config.path).read_text() == before
