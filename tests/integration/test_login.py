"""`login` and `logout` at a real registry, with Docker's texts, its file and its helpers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import Unauthorized
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.credential_helper import install_helper
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.fixtures.registry_faults import Answer, Request, answer, error

SUCCEEDED = "Login Succeeded\n"
INSECURE = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's `~/.docker/config.json`, which is not there yet."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def unencrypted(path: Path) -> str:
    return (
        f"\nWARNING! Your credentials are stored unencrypted in '{path}'.\n"
        "Configure a credential helper to remove this warning. See\n"
        "https://docs.docker.com/go/credential-store/\n\n"
    )


def auths(path: Path) -> Any:
    return json.loads(path.read_text())["auths"]


def test_login_and_logout(jubako: Jubako, registry_auth: Registry, docker_config: Path) -> None:
    registry = registry_auth
    words = ["login", "-u", registry.username, "--password-stdin", registry.host]
    assert jubako(*words, stdin=registry.password + "\n") == (
        0, SUCCEEDED, unencrypted(docker_config),
    )  # fmt: skip
    assert list(auths(docker_config)) == [registry.host]
    # the same again, as another client would write the address
    words[-1] = f"http://{registry.host}/v2/"
    assert jubako(*words, stdin=registry.password) == (0, SUCCEEDED, "")
    stored = jubako("login", registry.host)
    assert (stored.status, stored.stdout) == (0, SUCCEEDED)
    assert f"existing credentials... [Username: {registry.username}]\n" in stored.stderr
    done = jubako("logout", registry.host)
    assert done == (0, f"Removing login credentials for {registry.host}\n", "")
    assert auths(docker_config) == {}
    assert jubako("logout", registry.host).status == 0
    assert jubako("logout").stdout == "Removing login credentials for https://index.docker.io/v1/\n"


def test_a_refused_login_changes_nothing(
    jubako: Jubako, registry_auth: Registry, docker_config: Path
) -> None:
    words = ["login", "-u", registry_auth.username, registry_auth.host]
    jubako.ok(*words, "--password-stdin", stdin=registry_auth.password)
    before = docker_config.read_text()
    refused = jubako(*words, "-p", "s3cret-but-wrong")
    url = f"{registry_auth.url}/v2/"
    assert refused == (
        1,
        "",
        f"{INSECURE}jubako: login attempt to {url} failed with status: 401 Unauthorized\n",
    )
    assert docker_config.read_text() == before


def test_a_password_is_bytes(jubako: Jubako, registry_auth: Registry, docker_config: Path) -> None:
    words = ["login", "-u", registry_auth.username, registry_auth.host]
    refused = jubako(*words, "--password-stdin", stdin=b"\xff\xfe")
    assert refused.stderr.endswith("failed with status: 401 Unauthorized\n")
    refused = jubako(*words, "-p", "\udcff\udcfe")
    assert refused.stderr.endswith("failed with status: 401 Unauthorized\n")


@pytest.mark.parametrize(
    ("words", "stdin", "text"),
    [
        (["-u", "a", "-p", "b", "--password-stdin"], "", "cannot specify both --password and"),
        (["--password-stdin"], "x", "the --password-stdin option requires --username to be set"),
        (["-u", "", "-p", "x"], "", "username is empty"),
        (["-u", "a", "-p", ""], "", "password is empty"),
        (["-u", "a"], "", "Cannot perform an interactive login from a non TTY device"),
        (["-p", "a"], "", "Cannot perform an interactive login from a non TTY device"),
        (["-u", "a", "--password-stdin"], "\n", "Cannot perform an interactive login from a non"),
        ([], "", "Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_what_makes_no_sense(
    jubako: Jubako, docker_config: Path, words: list[str], stdin: str, text: str
) -> None:
    result = jubako("login", *words, "127.0.0.1:1", stdin=stdin)
    assert result.status == 1
    assert text in result.stderr
    assert not docker_config.exists()


def test_at_a_terminal(jubako: Jubako, registry_auth: Registry, docker_config: Path) -> None:
    terminal = jubako.terminal("login", registry_auth.host)
    terminal.expect("Username: ")
    terminal.send(f"{registry_auth.username}\n")
    terminal.expect("Password: ")
    terminal.send(f"{registry_auth.password}\n")
    shown = terminal.expect("Login Succeeded")
    assert terminal.wait() == 0
    assert registry_auth.password not in shown
    assert list(auths(docker_config)) == [registry_auth.host]


def test_a_stored_name_is_proposed(
    jubako: Jubako, registry_auth: Registry, docker_config: Path
) -> None:
    docker_config.parent.mkdir()
    old = {"auths": {registry_auth.host: {"username": registry_auth.username, "password": "old"}}}
    docker_config.write_text(json.dumps(old))
    terminal = jubako.terminal("login", registry_auth.host)
    terminal.expect("Login did not succeed, error: login attempt to")
    terminal.expect(f"Username ({registry_auth.username}): ")
    terminal.send("\n")
    terminal.expect("Password: ")
    terminal.send(f"{registry_auth.password}\n")
    terminal.expect("Login Succeeded")
    assert terminal.wait() == 0
    assert list(auths(docker_config)[registry_auth.host]) == ["auth"]


def test_prompts_that_get_no_answer(jubako: Jubako, docker_config: Path) -> None:
    terminal = jubako.terminal("login", "127.0.0.1:1")
    terminal.expect("Username: ")
    terminal.send("\n")
    terminal.expect("Non-null Username Required")
    assert terminal.wait() == 1
    terminal = jubako.terminal("login", "-u", "me", "127.0.0.1:1")
    terminal.expect("Password: ")
    terminal.send("\n")
    terminal.expect("Password Required")
    assert terminal.wait() == 1
    terminal = jubako.terminal("login", "-u", "me", "127.0.0.1:1")
    terminal.expect("Password: ")
    terminal.send("\x03")
    assert terminal.wait() == 130


def test_docker_hub_is_asked_about_at_a_terminal(jubako: Jubako, docker_config: Path) -> None:
    terminal = jubako.terminal("login")
    terminal.expect("Web-based login is not available")
    terminal.expect("Username: ")
    terminal.send("me\n")
    terminal.expect("A Personal Access Token (PAT) can be used instead.")
    terminal.expect("Password: ")
    terminal.send("\n")
    assert terminal.wait() == 1


def test_a_helper_keeps_the_password(
    jubako: Jubako,
    registry_auth: Registry,
    docker_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = install_helper(tmp_path / "bin", monkeypatch)
    docker_config.parent.mkdir()
    docker_config.write_text(json.dumps({"credHelpers": {registry_auth.host: "test"}}))
    words = ["login", "-u", registry_auth.username, "--password-stdin", registry_auth.host]
    assert jubako(*words, stdin=registry_auth.password) == (0, SUCCEEDED, "")
    assert auths(docker_config) == {registry_auth.host: {}}
    kept = json.loads(secrets.read_text())[registry_auth.host]
    assert (kept["Username"], kept["Secret"]) == (registry_auth.username, registry_auth.password)
    stored = jubako("login", registry_auth.host)
    assert (stored.status, stored.stdout) == (0, SUCCEEDED)
    jubako.ok("logout", registry_auth.host)
    assert json.loads(secrets.read_text()) == {}


def test_a_damaged_configuration_is_named(
    jubako: Jubako, registry_auth: Registry, docker_config: Path
) -> None:
    docker_config.parent.mkdir()
    docker_config.write_text('{"auths": ')
    for words in (["login", registry_auth.host], ["logout", registry_auth.host]):
        result = jubako(*words)
        assert result.status == 1
        assert f"read {docker_config}: it is not JSON" in result.stderr
        assert "hint: repair the file" in result.stderr
    assert docker_config.read_text() == '{"auths": '


# --- Bearer --------------------------------------------------------------------------------------


class TokenServer:
    """Makes a registry ask for tokens, which it gives to `me` with the password `s3cret`."""

    def __init__(self, registry: BadRegistry, *, identity: str = ""):
        self._identity = identity
        self.scopes: list[str] = []
        self._realm = f"http://{registry.other_name}/token"
        registry.on("[A-Z]+ /v2/", self._guard)
        registry.on("(GET|POST) /token", self._give)

    def _guard(self, good: Answer, request: Request) -> Answer:
        if request.headers.get("authorization") == "Bearer good-token":
            return good
        text = f'Bearer realm="{self._realm}",service="tests"'
        return error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=text)

    def _give(self, good: Answer, request: Request) -> Answer:
        basic = request.headers.get("authorization") == "Basic bWU6czNjcmV0"  # me:s3cret
        by_token = f"refresh_token={self._identity}&".encode() in request.body
        if not basic and not (self._identity and by_token):
            return answer(401, b'{"details": "incorrect username or password"}')
        self.scopes += re.findall("scope=([^&]*)", request.path + "&" + request.body.decode())
        content = {"token": "good-token", "expires_in": 300}
        if self._identity and "offline_token=true" in request.path:
            content["refresh_token"] = self._identity
        return answer(200, json.dumps(content).encode())


def test_a_login_by_tokens(jubako: Jubako, bad_registry: BadRegistry, docker_config: Path) -> None:
    TokenServer(bad_registry)
    words = ["login", "-u", "me", "--password-stdin", bad_registry.host]
    refused = jubako(*words, stdin="wr0ng-s3cret")
    assert refused.status == 1
    assert "credentials were refused: incorrect username or password" in refused.stderr
    assert "wr0ng" not in refused.stderr
    assert not docker_config.exists()
    assert jubako(*words, stdin="s3cret").stdout == SUCCEEDED
    assert auths(docker_config) == {bad_registry.host: {"auth": "bWU6czNjcmV0"}}


def test_an_identity_token_replaces_the_password(
    engine: Engine, bad_registry: BadRegistry, docker_config: Path, tmp_path: Path
) -> None:
    server = TokenServer(bad_registry, identity="for-later")
    done = engine.registries.login(bad_registry.host, "me", "s3cret")
    assert done == ("Login Succeeded", None)
    entry = auths(docker_config)[bad_registry.host]
    assert entry == {"auth": "bWU6", "identitytoken": "for-later"}
    bad_registry.add_image("app", [b"\0" * 1024])
    found = engine.registries.manifest_inspect(f"{bad_registry.host}/app")
    assert found["schemaVersion"] == 2
    assert server.scopes == ["repository%3Aapp%3Apull"]


def test_a_token_is_asked_for_once_for_a_whole_pull(
    engine: Engine, bad_registry: BadRegistry, docker_config: Path
) -> None:
    server = TokenServer(bad_registry)
    engine.registries.login(bad_registry.host, "me", "s3cret")
    bad_registry.add_image("app", [bytes(1024 * (1 + number)) for number in range(4)])
    server.scopes.clear()
    engine.images.pull(f"{bad_registry.host}/app")
    assert server.scopes == ["repository%3Aapp%3Apull"]
    assert len([line for line in bad_registry.lines() if "/blobs/" in line]) >= 5


def test_without_a_login_the_error_says_how(
    engine: Engine, registry_auth: Registry, docker_config: Path
) -> None:
    with pytest.raises(Unauthorized, match="pull access denied") as info:
        engine.images.pull(f"{registry_auth.host}/nothing")
    assert info.value.hint == f"log in with `jubako login {registry_auth.host}`"


def test_a_login_of_one_registry_is_not_sent_to_another(
    engine: Engine, bad_registry: BadRegistry, second_registry: BadRegistry, docker_config: Path
) -> None:
    TokenServer(bad_registry)
    engine.registries.login(bad_registry.host, "me", "s3cret")
    second_registry.on("GET /v2/", lambda good, request: answer(401, WWW_Authenticate="Basic"))
    with pytest.raises(Unauthorized):
        engine.registries.manifest_inspect(f"{second_registry.host}/app")
    assert all("authorization" not in one.headers for one in second_registry.requests)
    assert os.stat(docker_config).st_mode & 0o777 == 0o600
