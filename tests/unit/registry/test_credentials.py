"""Docker's configuration file: read and written as Docker's client does, and when it is damaged."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument, KernelError
from jubako.registry.credentials import DOCKER_KEY, DockerConfig, FixedCredentials, Login, host_of


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerConfig:
    """An empty one, and no key ring on this machine."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return DockerConfig(str(tmp_path / "docker"))


def write(config: DockerConfig, content: Any) -> None:
    os.makedirs(config.directory, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    Path(config.path).write_bytes(data)


def read(config: DockerConfig) -> Any:
    return json.loads(Path(config.path).read_bytes())


def test_the_file_is_where_docker_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/some/where")
    assert DockerConfig().path == "/some/where/config.json"
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DockerConfig().path == f"{tmp_path}/.docker/config.json"


def test_it_is_written_as_docker_writes_it(config: DockerConfig) -> None:
    assert config.get("reg.example") is None
    assert config.store("reg.example", Login("me", "pass:word"))
    assert config.store("docker.io", Login("you", "x"))
    assert Path(config.path).read_text() == (
        '{\n\t"auths": {\n\t\t"reg.example": {\n\t\t\t"auth": "bWU6cGFzczp3b3Jk"\n\t\t},\n'
        '\t\t"https://index.docker.io/v1/": {\n\t\t\t"auth": "eW91Ong="\n\t\t}\n\t}\n}'
    )
    assert stat.S_IMODE(os.stat(config.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(config.directory).st_mode) == 0o700
    assert config.get("reg.example") == Login("me", "pass:word")
    assert config.get("docker.io") == Login("you", "x")
    assert config.domains() == {"reg.example": "me", DOCKER_KEY: "you"}
    assert os.listdir(config.directory) == ["config.json"]


def test_an_identity_token_is_stored_beside_the_name(config: DockerConfig) -> None:
    assert not config.store("reg.example", Login("me", identity_token="t"))
    entry = {"auth": encoded("me:"), "identitytoken": "t"}
    assert read(config) == {"auths": {"reg.example": entry}}
    assert config.get("reg.example") == Login("me", "", identity_token="t")


def test_the_same_login_again_changes_nothing(config: DockerConfig) -> None:
    assert config.store("reg.example", Login("me", "x"))
    before = os.stat(config.path)
    assert not config.store("reg.example", Login("me", "x"))
    assert os.stat(config.path).st_ino == before.st_ino


def test_what_others_wrote_stays_in_its_order(config: DockerConfig) -> None:
    content = {
        "zoo": {"b": 1, "a": [1.5, None, "ünï"]},
        "HttpHeaders": {"X": "y"},
        "auths": {"old.example": {"auth": encoded("a:b"), "email": "a@b"}},
        "proxies": {"default": {"httpProxy": "http://p"}},
    }
    write(config, content)
    config.store("old.example", Login("c", "d"))
    content["auths"] = {"old.example": {"email": "a@b", "auth": encoded("c:d")}}
    assert read(config) == content
    assert list(read(config)) == list(content)
    assert "ünï" in Path(config.path).read_text()
    config.erase("old.example")
    assert read(config) == {**content, "auths": {}}
    write(config, b'{"odd": "\\ud800"}')
    config.store("a.example", Login("a", "b"))
    assert b'"\\ud800"' in Path(config.path).read_bytes()


def test_old_clients_wrote_urls(config: DockerConfig) -> None:
    auths = {
        "https://reg.example/v1/": {"auth": encoded("a:b")},
        "http://other.example": {"username": "c", "password": "d"},
    }
    write(config, {"auths": auths})
    assert config.get("reg.example") == Login("a", "b")
    assert config.get("other.example") == Login("c", "d")
    assert config.get("example") is None
    config.erase("other.example")
    assert list(read(config)["auths"]) == ["https://reg.example/v1/"]


def test_a_symbolic_link_stays_one(config: DockerConfig, tmp_path: Path) -> None:
    os.mkdir(config.directory)
    target = tmp_path / "dotfiles" / "docker.json"
    target.parent.mkdir()
    os.symlink("../dotfiles/docker.json", config.path)
    config.store("reg.example", Login("a", "b"))  # it leads nowhere yet
    assert os.path.islink(config.path)
    assert os.listdir(target.parent) == ["docker.json"]
    config.erase("reg.example")
    assert os.path.islink(config.path)
    assert json.loads(target.read_text()) == {"auths": {}}


def test_the_mode_becomes_private_and_the_owner_stays(config: DockerConfig) -> None:
    write(config, {})
    os.chmod(config.path, 0o644)
    if os.geteuid() == 0:
        os.chown(config.path, 4711, 4712)
    before = os.stat(config.path)
    config.store("reg.example", Login("a", "b"))
    after = os.stat(config.path)
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_two_logins_at_once_are_both_kept(config: DockerConfig) -> None:
    names = [f"reg{number}.example" for number in range(8)]
    threads = [
        threading.Thread(
            target=lambda name=name: DockerConfig(config.directory).store(name, Login(name, "x"))
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(config.domains()) == names


def test_what_is_not_utf_8_comes_back(config: DockerConfig) -> None:
    config.store("reg.example", Login("a", "b\udcff"))
    assert read(config)["auths"]["reg.example"] == {"auth": "YTpi/w=="}
    assert config.get("reg.example") == Login("a", "b\udcff")


def test_forgetting_what_is_not_there_changes_nothing(config: DockerConfig) -> None:
    config.erase("reg.example")
    assert not os.path.exists(config.path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "it is not JSON: "),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b" " * (5 << 20), "larger than"),
        ({"auths": []}, "auths is not an object of objects"),
        ({"auths": {"reg.example": "x"}}, "auths is not an object of objects"),
        ({"auths": {"reg.example": {"auth": 7}}}, "auths: reg.example: auth is not a text"),
        ({"auths": {"reg.example": {"auth": "%%%"}}}, "auth is not base64 of name:password"),
        ({"auths": {"reg.example": {"auth": encoded("nocolon")}}}, "auth is not base64 of"),
        ({"auths": {"reg.example": {"auth": encoded(":x")}}}, "auth is not base64 of"),
        ({"auths": {"reg.example": {"auth": "/w=="}}}, "auth is not base64 of"),
        ({"auths": {"reg.example": {"identitytoken": ["x"]}}}, "identitytoken is not a text"),
        ({"credsStore": 7}, "credsStore is not a text"),
        ({"credHelpers": "x"}, "credHelpers is not an object of texts"),
        ({"credHelpers": {"reg.example": 1}}, "credHelpers is not an object of texts"),
        ({"credsStore": "../../bin/sh"}, "not the name of a program"),
        ({"credsStore": "a b"}, "not the name of a program"),
    ],
)
def test_damage_is_named(config: DockerConfig, content: Any, words: str) -> None:
    write(config, content)
    with pytest.raises(InvalidArgument, match=words) as info:
        config.get("reg.example")
    if "program" not in words:
        assert config.path in str(info.value)
        assert info.value.hint


def test_damage_is_not_written_over(config: DockerConfig) -> None:
    write(config, b'{"auths": ')
    for change in (lambda: config.store("a.example", Login("a", "b")), lambda: config.erase("a.b")):
        with pytest.raises(InvalidArgument):
            change()
    assert Path(config.path).read_bytes() == b'{"auths": '


def test_what_is_no_file_is_not_waited_for(config: DockerConfig) -> None:
    os.mkdir(config.directory)
    os.mkfifo(config.path)
    with pytest.raises(InvalidArgument, match="not a regular file"):
        config.get("reg.example")
    os.unlink(config.path)
    os.mkdir(config.path)
    with pytest.raises((InvalidArgument, KernelError)):
        config.get("reg.example")


def test_an_empty_file_is_an_empty_configuration(config: DockerConfig) -> None:
    write(config, b" \n")
    assert config.get("reg.example") is None
    write(config, {"auths": None, "credHelpers": None, "credsStore": None})
    assert config.store("reg.example", Login("a", "b"))
    assert config.get("reg.example") == Login("a", "b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
ENTRIES = st.dictionaries(
    st.sampled_from(["reg.example", "https://reg.example/x", "y"]),
    JSON | st.fixed_dictionaries({"auth": st.text(max_size=9) | JSON}),
)


@given(st.fixed_dictionaries({"auths": ENTRIES | JSON}, optional={"x": JSON}))
def test_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    config = DockerConfig(str(tmp_path_factory.getbasetemp() / "any-docker"))
    write(config, content)
    try:
        found = config.get("reg.example")
    except InvalidArgument:
        return
    assert found is None or found


@given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text())
def test_any_name_and_password_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, password: str
) -> None:
    config = DockerConfig(str(tmp_path_factory.getbasetemp() / "pairs-docker"))
    config.store("reg.example", Login(name, password))
    found = config.get("reg.example")
    assert found is not None
    assert (found.username, found.password) == (name, password.strip("\0"))


def test_secrets_are_not_shown() -> None:
    login = Login("me", "s3cret", "s3cret", "s3cret")
    assert "s3cret" not in repr(login)
    assert encoded("me:s3cret") in login.secrets()
    assert not Login()


def test_fixed_credentials_are_for_one_registry() -> None:
    source = FixedCredentials("reg.example", Login("a", "b"))
    assert source.get("reg.example") == Login("a", "b")
    assert source.get("mirror.example") is None


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("reg.example", "reg.example"),
        ("https://reg.example:5000/v2/", "reg.example:5000"),
        ("http://reg.example", "reg.example"),
        ("reg.example/path", "reg.example"),
        ("", ""),
    ],
)
def test_hosts_of_addresses(address: str, host: str) -> None:
    assert host_of(address) == host
