"""What makes a container again, and that it makes the same one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jubako.cli import run_options
from jubako.cli.commands import run as run_command
from jubako.cli.flags import parse
from jubako.containers.definition.config import merge
from jubako.containers.reproduce import Source, command, compose, program, read, yaml

ID = "0123456789abcdef" * 4
IMAGE: dict[str, Any] = {
    "config": {
        "Env": ["PATH=/bin", "LANG=C"],
        "Cmd": ["sh"],
        "Labels": {"maker": "us"},
        "ExposedPorts": {"443/tcp": {}},
        "Volumes": {"/var/data": {}},
        "WorkingDir": "/srv",
        "StopSignal": "SIGINT",
    }
}
WITH_ENTRYPOINT: dict[str, Any] = {"config": {**IMAGE["config"], "Entrypoint": ["/entry", "-v"]}}

WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
PATH = st.from_regex(r"/[a-z]{1,6}(/[a-z]{1,4})?", fullmatch=True)
PORT = st.integers(1, 65535)


def built(words: list[str], image: dict[str, Any]) -> tuple[Any, Any]:
    """What the container of a command line is."""
    declared = run_command.COMMAND
    call = parse(declared.flags, words, interspersed=declared.interspersed)
    config, host = run_options.build(call)
    if call.flag("detach"):
        config["AttachStdin"] = config["AttachStdout"] = config["AttachStderr"] = False
        config["StdinOnce"] = False
    merged, merged_host, _ = merge(config, host, image, container_id=ID)
    return merged, merged_host


def record(words: list[str], image: dict[str, Any]) -> Any:
    config, host = built(words, image)
    return {"Id": ID, "Name": "web", "ImageRef": "box", "Config": config, "HostConfig": host}


def source(words: list[str], image: dict[str, Any] = IMAGE) -> Source:
    return read(record(words, image), image)


def again(words: list[str], image: dict[str, Any]) -> tuple[Any, Any, list[str]]:
    """The container that the command made from the container makes, and the command's words."""
    groups, _ = command.arguments(source(words, image))
    parsed = [word for group in groups for word in group]
    assert parsed[0] == "run"
    return *built(parsed[1:], image), parsed[1:]


def flag(name: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return value.map(lambda text: [f"--{name}={text}"])


FLAGS = st.one_of(
    st.sampled_from(
        "-d -i -t --rm --init --init=false --privileged --read-only -P --oom-kill-disable"
        " --no-healthcheck --network=none --network=host --network=bridge --ipc=host --ipc=none"
        " --pid=host --uts=host --cgroupns=host --cgroupns=private --restart=no"
        " --security-opt=no-new-privileges --security-opt=seccomp=unconfined"
        " --security-opt=systempaths=unconfined --security-opt=label=disable --entrypoint="
        " --log-driver=none --log-driver=local -astdout -astderr -astdin"
        " --restart=always --restart=on-failure:3 --restart=unless-stopped"
        " --volumes-from=other:ro --device=/dev/null --device=/dev/null:/dev/zero:r"
        " --device-cgroup-rule=c|1:3|rwm --gpus=all --gpus=2 --device=vendor.com/class=name"
        " --tmpfs=/t --tmpfs=/t:size=1m,mode=700 --ulimit=nofile=10:20 --ulimit=core=0"
        " --mac-address=02:42:ac:11:00:09 --userns=host".replace("|", " ").split(" ")
    )
    .filter(lambda word: word not in ("1:3", "rwm"))
    .map(lambda word: [word.replace("=c", "=c 1:3 rwm") if "cgroup-rule" in word else word]),
    flag("env", st.tuples(NAME, WORD).map("=".join)),
    flag("label", st.tuples(NAME, WORD).map("=".join)),
    flag("annotation", st.tuples(NAME, WORD).map("=".join)),
    flag("log-opt", st.tuples(NAME, WORD).map("=".join)),
    flag("hostname", NAME),
    flag("domainname", NAME),
    flag("user", WORD),
    flag("workdir", PATH),
    flag("stop-signal", st.sampled_from(["TERM", "9", "SIGHUP"])),
    flag("stop-timeout", st.integers(-1, 90).map(str)),
    flag("entrypoint", WORD),
    flag("name", NAME),
    flag("memory", st.integers(6 << 20, 1 << 40).map(str)),
    flag("memory-swap", st.sampled_from(["-1", "0", "100g"])),
    flag("memory-reservation", st.sampled_from(["6m", "1000000001"])),
    flag("memory-swappiness", st.integers(-1, 100).map(str)),
    flag("shm-size", st.sampled_from(["64m", "1g", "12345"])),
    flag("cpus", st.sampled_from(["1", "1.5", "0.01", "0.123456789"])),
    flag("cpu-shares", st.integers(0, 1024).map(str)),
    flag("cpu-quota", st.integers(0, 100000).map(str)),
    flag("cpuset-cpus", st.sampled_from(["0", "0-1"])),
    flag("pids-limit", st.integers(-1, 100).map(str)),
    flag("oom-score-adj", st.integers(-1000, 1000).map(str)),
    flag("cap-add", st.sampled_from(["ALL", "NET_ADMIN"])),
    flag("cap-drop", st.sampled_from(["ALL", "CHOWN"])),
    flag("dns", st.sampled_from(["1.1.1.1", "::1"])),
    flag("dns-search", NAME),
    flag("dns-option", WORD),
    flag("add-host", NAME.map(lambda name: f"{name}:10.0.0.1")),
    flag("group-add", NAME),
    flag("health-cmd", WORD),
    flag("health-interval", st.sampled_from(["1s", "1m30s", "1.5s", "2h", "1234567ns"])),
    flag("health-retries", st.integers(1, 9).map(str)),
    flag("publish", PORT.map(str)),
    flag("publish", st.tuples(PORT, PORT).map(lambda pair: f"127.0.0.1:{pair[0]}:{pair[1]}/udp")),
    flag("publish", PORT.map(lambda port: f"[::1]::{port}")),
    flag("expose", PORT.map(lambda port: f"{port}/sctp")),
    flag("volume", PATH),
    flag("volume", st.tuples(NAME, PATH).map(lambda pair: f"vol{pair[0]}:{pair[1]}:ro,z")),
    flag("volume", st.tuples(PATH, PATH).map(":".join)),
    flag("mount", PATH.map(lambda path: f"type=tmpfs,dst={path},tmpfs-size=1m,tmpfs-mode=1700")),
    flag("mount", PATH.map(lambda path: f'type=bind,"src=/a,b""c",dst={path},consistency=cached')),
    flag("mount", PATH.map(lambda path: f"type=volume,dst={path},volume-nocopy,chown")),
    flag("mount", PATH.map(lambda path: f"type=image,src=other,dst={path},image-subpath=a/b")),
    flag(
        "mount",
        PATH.map(lambda path: f"type=volume,src=vv,dst={path},volume-opt=o=1,volume-label=a=b"),
    ),
    flag(
        "mount",
        PATH.map(
            lambda path: (
                f"type=bind,src=/tmp,dst={path},ro,bind-recursive=readonly,"
                "bind-propagation=rprivate"
            )
        ),
    ),
    flag("sysctl", st.sampled_from(["net.ipv4.ip_forward=1", "kernel.sem=1 2"])),
    flag("runtime", NAME),
    flag("cgroup-parent", PATH),
    flag("device-read-bps", st.sampled_from(["/dev/vda:1mb", "/dev/vda:7"])),
    flag("blkio-weight", st.sampled_from(["0", "10", "1000"])),
    flag("storage-opt", st.just("size=1g")),
    flag("health-on-failure", st.sampled_from(["none", "restart", "kill"])),
)


def _possible(words: list[str], image: dict[str, Any]) -> bool:
    from jubako.errors import InvalidArgument

    try:
        _, host = built(words, image)
    except InvalidArgument:
        return False
    targets = [mount["Target"] for mount in host.get("Mounts", ())]
    return len(targets) == len(set(targets))  # `create` refuses two mounts at one place


@settings(max_examples=60, deadline=None)
@given(
    st.lists(FLAGS, max_size=8),
    st.lists(WORD, max_size=3),
    st.sampled_from([IMAGE, WITH_ENTRYPOINT, {"config": {"Cmd": ["x"]}}]),
)
def test_the_command_makes_the_same_container(
    flags: list[list[str]], arguments: list[str], image: dict[str, Any]
) -> None:
    words = [*(word for group in flags for word in group), "box", *arguments]
    if not _possible(words, image):
        return
    config, host = built(words, image)
    config_again, host_again, parsed = again(words, image)
    assert config_again == config, parsed
    assert host_again == host, parsed


def test_only_what_was_asked_for_is_in_it() -> None:
    assert command.write(source(["-d", "box"])) == "jubako run -d --name web box"
    text = command.write(source(["-d", "-m", "64m", "-e", "A=b", "box", "ls", "-l"]))
    assert text == "jubako run -d --name web --memory 64m --env A=b box ls -l"


def test_words_are_quoted_for_a_shell() -> None:
    found = source(["-d", "-e", "A=a b$c'd\n", "-e", "B=" + "long " * 20, "box", "echo", "*", ""])
    text = command.write(found)
    assert " \\\n" in text
    shown = subprocess.run(
        ["sh", "-c", "jubako() { printf '%s\\0' \"$@\"; }\n" + text],
        capture_output=True,
        check=True,
        text=True,
    )
    groups, _ = command.arguments(found)
    assert shown.stdout.split("\0")[:-1] == [word for group in groups for word in group]


def test_a_long_command_is_broken() -> None:
    words = [word for number in range(9) for word in ("-e", f"NAME{number}=value")]
    lines = command.write(source(["-d", *words, "box"])).splitlines()
    assert lines[0] == "jubako run \\" and lines[1] == "  -d \\" and lines[-1] == "  box"


def test_what_the_command_cannot_say_is_said() -> None:
    value = record(["-d", "box"], IMAGE)
    value["HostConfig"]["SecurityOpt"] = ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']
    value["Config"]["Healthcheck"] = {"Test": ["CMD", "a", "b"]}
    value["Config"]["Labels"] = {}  # an edit took the image's away
    text = command.write(read(value, IMAGE))
    assert text.splitlines()[:3] == [
        "# not reproduced: Config.Labels.maker",
        "# not reproduced: Config.Healthcheck.Test",
        "# not reproduced: HostConfig.SecurityOpt.seccomp",
    ]


def test_secrets_have_names_and_places() -> None:
    value = record(["-d", "box"], IMAGE)
    value["Secrets"] = [
        {"Name": "a", "File": "/x", "Target": "/run/secrets/a", "Uid": 0, "Gid": 0, "Mode": 0o444},
        {
            "Name": "b",
            "Env": "B",
            "Kept": "b.0",
            "Target": "/etc/b",
            "Uid": 5,
            "Gid": 0,
            "Mode": 0o400,
        },
    ]
    found = read(value, IMAGE)
    assert command.write(found) == (
        "jubako run -d --name web --secret id=a,src=/x"
        " --secret id=b,env=B,target=/etc/b,uid=5,mode=0400 box"
    )
    document, _ = compose.build(found)
    assert document["secrets"] == {"a": {"file": "/x"}, "b": {"environment": "B"}}
    assert document["services"]["web"]["secrets"][1] == {
        "source": "b",
        "target": "/etc/b",
        "uid": "5",
        "mode": 0o400,
    }
    assert "Kept" not in program.write(found)


class Engine:
    """Takes what a program gives to the engine."""

    created: list[tuple[Any, Any, Any]] = []
    started: list[str] = []

    def __init__(self) -> None:
        self.containers = self

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def create(self, config: Any, host: Any, **others: Any) -> dict[str, str]:
        self.created.append((config, host, others))
        return {"Id": "made"}

    def start(self, container: str) -> None:
        self.started.append(container)


def run_program(text: str) -> tuple[Any, Any, Any]:
    Engine.created, Engine.started = [], []
    exec(text.replace("from jubako import Engine", ""), {"Engine": Engine})
    assert Engine.started == ["made"]
    return Engine.created[0]


@settings(max_examples=20, deadline=None)
@given(st.lists(FLAGS, max_size=8), st.lists(WORD, max_size=3))
def test_the_program_makes_the_same_container(flags: list[list[str]], arguments: list[str]) -> None:
    words = [*(word for group in flags for word in group), "box", *arguments]
    if not _possible(words, IMAGE):
        return
    config, host = built(words, IMAGE)
    given_config, given_host, others = run_program(program.write(source(words)))
    merged = merge(given_config, given_host, IMAGE, container_id=ID)
    host["ConsoleSize"], merged[1]["ConsoleSize"] = [0, 0], [0, 0]
    assert merged[:2] == (config, host)
    assert others == {"name": "web"}


def compose_schema(repository: Path) -> Any:
    path = repository.parent / "shared" / "specs" / "compose" / "compose-spec.json"
    if not path.exists():
        pytest.skip("needs the schema of compose files")
    return json.loads(path.read_text())


def test_the_compose_file_follows_the_schema(repository: Path) -> None:
    import jsonschema

    validator = jsonschema.Draft7Validator(compose_schema(repository))

    @settings(max_examples=25, deadline=None)
    @given(st.lists(FLAGS, max_size=10), st.lists(WORD, max_size=3))
    def check(flags: list[list[str]], arguments: list[str]) -> None:
        words = [*(word for group in flags for word in group), "box", *arguments]
        if not _possible(words, IMAGE):
            return
        document, _ = compose.build(source(words))
        validator.validate(document)
        assert load(yaml.write(document)) == document

    check()


def test_a_compose_file() -> None:
    words = ["-d", "-p", "80:80", "-v", "data:/d", "-e", "PRICE=5$", "--restart", "always", "box"]
    assert (
        compose.write(source(words))
        == """\
services:
  web:
    image: box
    container_name: web
    environment:
      - "PRICE=5$$"
    network_mode: bridge
    restart: always
    ports:
      - "80:80"
    volumes:
      - "data:/d"
volumes:
  data:
    name: data
    external: true""".replace("    network_mode: bridge\n", "")
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("/a/b-c.d_e", "/a/b-c.d_e"),
        ("no", '"no"'),
        ("Null", '"Null"'),
        ("1e3", '"1e3"'),
        ("22:22", '"22:22"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("a\nb\t", '"a\\nb\\t"'),
        ('q"\\', '"q\\"\\\\"'),
        ("\x7f\x85\u2028\ufeff", '"\\u007f\\u0085\\u2028\\ufeff"'),
        ("é漢😀", '"é漢😀"'),
        (True, "true"),
        (7, "7"),
        (None, "null"),
    ],
)
def test_scalars(value: object, text: str) -> None:
    assert yaml.scalar(value) == text


def load(text: str) -> Any:
    """A reader of the YAML that we write: blocks of mappings and sequences, JSON's scalars."""
    lines = [(len(line) - len(line.lstrip()), line.strip()) for line in text.split("\n")]
    value, rest = _load(lines)
    assert not rest
    return value


def _scalar(text: str) -> Any:
    if text[:1] == '"' or text in ("true", "false", "null", "{}", "[]"):
        return json.loads(text)
    try:
        return int(text)
    except ValueError:
        return text


def _load(lines: list[tuple[int, str]]) -> tuple[Any, list[tuple[int, str]]]:
    depth = lines[0][0]
    if lines[0][1].startswith("- "):
        items: list[Any] = []
        while lines and lines[0][0] == depth and lines[0][1].startswith("- "):
            text = lines[0][1][2:]
            if _key(text) is None:
                items.append(_scalar(text))
                lines = lines[1:]
            else:
                value, lines = _load([(depth + 2, text), *lines[1:]])
                items.append(value)
        return items, lines
    found: dict[str, Any] = {}
    while lines and lines[0][0] == depth:
        key = _key(lines[0][1])
        assert key is not None, lines[0]
        name, text = key
        lines = lines[1:]
        if text:
            found[name] = _scalar(text)
        else:
            found[name], lines = _load(lines)
    return found, lines


def _key(text: str) -> tuple[str, str] | None:
    """(key, rest) of a line `key: rest`, None for a scalar."""
    if text.startswith('"'):
        name, end = json.JSONDecoder().raw_decode(text)
        return (name, text[end + 1 :].strip()) if text[end : end + 1] == ":" else None
    name, colon, rest = text.partition(":")
    return (name, rest.strip()) if colon and (not rest or rest[0] == " ") else None
