"""`ps`, `images` and the other lists: the output is what Docker printed for the same data."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from jubako.golang.template import TemplateError
from jubako.images.times import parse_ns
from tests.unit.cli.recorder import Recorder, run

BUSY = "d97d4fdf3d6cfa2260d32145c39b9c7dbc23a1dba746146bc146bde5fe1761eb"
ENDED = "57dbe86b7f814e16acad8c9a4481eab27e0079fe090939c679b890e3ed5b941d"
IMAGE = "sha256:4f338a57ec9d6f66862ef4803d4587eadf5860683914e91e247bb0986dea1ecb"
PORTS = (
    "7000-7002/tcp, 127.0.0.1:19000-19002->19000-19002/tcp, 0.0.0.0:18080->80/tcp, "
    "[::]:18080->80/tcp"
)


def _published(private: int, public: int, *addresses: str) -> list[dict[str, Any]]:
    return [
        {"IP": address, "PrivatePort": private, "PublicPort": public, "Type": "tcp"}
        for address in addresses
    ]


def _container(**more: Any) -> dict[str, Any]:
    return {
        "Image": "bb:1",
        "ImageID": IMAGE,
        "Created": int(time.time()) - 315 * 86400,  # far from any change of the text
        "SizeRootFs": 1982319,
        "SizeRw": 0,
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
        **more,
    }


CONTAINERS = [
    _container(
        Id=BUSY,
        Names=["/c2"],
        Command="sleep 600",
        Ports=[
            *_published(80, 18080, "0.0.0.0", "::"),
            *_published(19000, 19000, "127.0.0.1"),
            *_published(19001, 19001, "127.0.0.1"),
            *_published(19002, 19002, "127.0.0.1"),
            *({"PrivatePort": number, "Type": "tcp"} for number in (7000, 7001, 7002)),
        ],
        Labels={"a": "b"},
        State="running",
        Status="Up 26 seconds",
    ),
    _container(
        Id=ENDED,
        Names=["/c1"],
        Command="sh -c 'echo \"hi <there>\"; exit 3'",
        Ports=[],
        Labels={"foo": "bar", "a": "b", "com.ex.name": "x"},
        State="exited",
        Status="Exited (3) 26 seconds ago",
        Mounts=[
            {"Type": "bind", "Source": "/tmp"},
            {"Type": "volume", "Name": "0123456789abcdef", "Source": "/x", "Driver": "local"},
        ],
    ),
]


def _ps(*words: str) -> Recorder:
    session = Recorder(containers={"list": CONTAINERS})
    assert run(session, "ps", *words) == 0
    return session


def test_ps() -> None:
    busy = "Up 26 seconds               "
    ended = "Exited (3) 26 seconds ago   "
    command = '"sh -c \'echo \\"hi <th…"'
    width = len(PORTS) + 3
    head = "CONTAINER ID   IMAGE     COMMAND                   CREATED         STATUS"
    assert _ps("-a").stdout.split("\n") == [
        f"{head:{len(head) + 22}}{'PORTS':{width}}NAMES",
        f'{BUSY[:12]}   bb:1      "sleep 600"               10 months ago   {busy}{PORTS}   c2',
        f"{ENDED[:12]}   bb:1      {command}   10 months ago   {ended}{'':{width}}c1",
        "",
    ]


def test_ps_asks_for_what_the_flags_say() -> None:
    session = _ps("-a", "-n", "3", "-f", "name=x", "--filter", "label=a=b", "-f", "label=c", "-s")
    assert session.calls == [
        (
            "list",
            (),
            {
                "all": True,
                "limit": 3,
                "filters": {"name": ["x"], "label": ["a=b", "c"]},
                "size": True,
            },
        )
    ]
    assert session.stdout.split("\n")[0].endswith("NAMES     SIZE")
    assert session.stdout.split("\n")[1].endswith("c2        0B (virtual 1.98MB)")
    assert _ps("-l").calls[0][2]["limit"] == 1
    assert _ps().calls[0][2]["limit"] is None


def test_ps_quiet_and_whole() -> None:
    assert _ps("-q").stdout == f"{BUSY[:12]}\n{ENDED[:12]}\n"
    assert _ps("-q", "--no-trunc").stdout == f"{BUSY}\n{ENDED}\n"
    session = _ps("-q", "--format", "x")
    assert session.stdout == f"{BUSY[:12]}\n{ENDED[:12]}\n"
    assert session.stderr == (
        "WARNING: Ignoring custom format, because both --format and --quiet are set.\n"
    )
    assert '"sh -c \'echo \\"hi <there>\\"; exit 3\'"' in _ps("--no-trunc").stdout


@pytest.mark.parametrize(
    ("layout", "lines"),
    [
        (
            "table {{.ID}}\\t{{.Names}}",
            ["CONTAINER ID   NAMES", f"{BUSY[:12]}   c2", f"{ENDED[:12]}   c1"],
        ),
        ('{{.Names}}: {{.Label "foo"}}', ["c2: ", "c1: bar"]),
        (
            'table {{.Names}}\t{{.Label "com.ex.name"}}',
            ["NAMES     name", "c2        ", "c1        x"],
        ),
        (
            "table {{.Names}}\\t{{upper .State}}",
            ["NAMES     STATE", "c2        RUNNING", "c1        EXITED"],
        ),
        (
            "table {{.Names | upper}} {{json .ID}}",
            ["NAMES CONTAINER ID", f'C2 "{BUSY[:12]}"', f'C1 "{ENDED[:12]}"'],
        ),
        ("tablex {{.Names}}", ["x NAMES", "x c2", "x c1"]),
        ("x\\ty\\n{{.Names}}", ["x\ty", "c2", "x\ty", "c1"]),
        (
            "table {{.Names}} {{truncate .ID 3}} {{pad .Names 1 1}}|",
            ["NAMES CONTAINER ID  NAMES |", "c2 d97  c2 |", "c1 57d  c1 |"],
        ),
        ('table {{"a"}}', ["a", "a", "a"]),
        ("{{.Platform}} {{.LocalVolumes}}", ["<nil> 0", "<nil> 1"]),
        ("{{json .Ports}}", [json.dumps(PORTS), '""']),
        (
            "{{.Labels}}|{{.Mounts}}|{{.Networks}}",
            [
                "a=b||bridge",
                "a=b,com.ex.name=x,foo=bar|/tmp,0123456789abcd…|bridge",
            ],
        ),
    ],
)
def test_ps_templates(layout: str, lines: list[str]) -> None:
    session = _ps("--format", layout)
    assert session.stdout == "\n".join([*lines, ""])
    assert session.calls[0][2]["size"] is False


@pytest.mark.parametrize(
    ("layout", "size"), [("{{.Size}}", True), ("{{json .}}", True), ("json", False)]
)
def test_ps_asks_for_sizes_only_when_shown(layout: str, size: bool) -> None:
    assert _ps("--format", layout).calls[0][2]["size"] is size
    assert _ps("--format", layout, "--size=false").calls[0][2]["size"] is False


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            "{{.Foo}}",
            'failed to execute template: template: :1:2: executing "" at <.Foo>: '
            "can't evaluate field Foo in type *formatter.ContainerContext",
        ),
        (
            "table {{.Foo}}",
            'failed to execute template: template: :1:8: executing "" at <.Foo>: '
            "can't evaluate field Foo in type *formatter.ContainerContext",
        ),
        ("{{", "failed to parse template: template: :1: unclosed action"),
        (
            '{{.Names "x"}}',
            'failed to execute template: template: :1:2: executing "" at <.Names>: '
            "wrong number of args for Names: want 0 got 1",
        ),
        (
            "{{.ID.Foo}}",
            'failed to execute template: template: :1:5: executing "" at <.ID.Foo>: '
            "can't evaluate field Foo in type string",
        ),
    ],
)
def test_ps_refuses_bad_templates(layout: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        _ps("--format", layout)
    assert str(caught.value) == message


def test_ps_json_is_one_object_a_line_with_html_escaped() -> None:
    busy, ended, end = _ps("--format", "json").stdout.split("\n")
    assert end == ""
    assert list(json.loads(busy)) == [
        "Command", "CreatedAt", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Names",
        "Networks", "Platform", "Ports", "RunningFor", "Size", "State", "Status",
    ]  # fmt: skip
    assert "0.0.0.0:18080-\\u003e80/tcp" in busy
    assert json.loads(ended)["Command"] == '"sh -c \'echo \\"hi <th…"'


def _image(**more: Any) -> dict[str, Any]:
    return {"Id": IMAGE, "Created": int(time.time()) - 7300, "Size": 1982319, **more}


IMAGES = [
    _image(RepoTags=["bb:1", "reg:5000/x/bb:2"], RepoDigests=["bb@sha256:abc"]),
    _image(RepoTags=[], RepoDigests=[]),
    _image(RepoTags=[], RepoDigests=["only@sha256:def"]),
]


def _images(*words: str) -> Recorder:
    session = Recorder(images={"list": IMAGES})
    assert run(session, "images", *words) == 0
    return session


def test_images() -> None:
    assert _images("-a").stdout == (
        "REPOSITORY      TAG       IMAGE ID       CREATED       SIZE\n"
        "bb              1         4f338a57ec9d   2 hours ago   1.98MB\n"
        "reg:5000/x/bb   2         4f338a57ec9d   2 hours ago   1.98MB\n"
        "<none>          <none>    4f338a57ec9d   2 hours ago   1.98MB\n"
        "only            <none>    4f338a57ec9d   2 hours ago   1.98MB\n"
    )
    assert _images("-q").stdout == f"{IMAGE[7:19]}\n" * 4
    assert _images("-q", "--no-trunc").stdout == f"{IMAGE}\n" * 4


def test_images_with_digests() -> None:
    lines = _images("--digests").stdout.split("\n")
    assert lines[0].split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["bb", "1", "sha256:abc"],
        ["reg:5000/x/bb", "2", "<none>"],
        ["<none>", "<none>", "<none>"],
        ["only", "<none>", "sha256:def"],
    ]


def test_images_by_name_is_a_filter() -> None:
    call = _images("bb*", "-f", "dangling=true").calls[0]
    assert call == ("list", ({"dangling": ["true"], "reference": ["bb*"]},), {"all": False})


def test_images_named_like_a_command_get_a_hint() -> None:
    session = Recorder(images={"list": []})
    session.path = "jubako images"
    run(session, "images", "ls")
    assert session.stderr == '\nNo images found matching "ls": did you mean "jubako image ls"?\n'
    session.path = "jubako image ls"
    session.stderr = ""
    run(session, "images", "ls")
    assert session.stderr == ""


def test_history() -> None:
    steps = [
        {"Id": IMAGE, "Created": int(time.time()) - 7300, "CreatedBy": "CMD [\"sh\"]\tx" + "y" * 60,
         "Size": 0, "Comment": "c"},
        {"Id": "<missing>", "Created": 0, "CreatedBy": "", "Size": 1982319, "Comment": ""},
    ]  # fmt: skip
    session = Recorder(images={"history": steps})
    run(session, "history", "x")
    assert session.stdout == (
        "IMAGE          CREATED       CREATED BY                                      SIZE      "
        "COMMENT\n"
        '4f338a57ec9d   2 hours ago   CMD ["sh"] xyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…   0B        c\n'
        "<missing>      N/A                                                           1.98MB    \n"
    )


def test_unknown_times_of_images() -> None:
    """As real images have them: a config without `created` is Go's zero time in the API."""
    created = parse_ns("") // 1_000_000_000
    image = _image(RepoTags=["bb:1"], RepoDigests=[], Created=created)
    session = Recorder(images={"list": [image]})
    run(session, "images", "--format", "table {{.CreatedSince}}\t{{.CreatedAt}}")
    assert session.stdout.splitlines()[1].split() == ["N/A", "N/A"]
    step = {"Id": IMAGE, "Created": created, "CreatedBy": "", "Size": 0, "Comment": ""}
    for flags in ([], ["--human=false"]):
        session = Recorder(images={"history": [step]})
        run(session, "history", *flags, "--format", "{{.CreatedSince}} {{.CreatedAt}}", "x")
        assert session.stdout == "N/A N/A\n"


def test_volumes_sort_as_people_read() -> None:
    volumes = [
        {
            "Name": name,
            "Driver": "local",
            "Scope": "local",
            "Mountpoint": f"/{name}",
            "Labels": None,
        }
        for name in ("v10", "v2", "v1")
    ]
    session = Recorder(volumes={"list": volumes})
    run(session, "volume_ls")
    assert session.stdout == ("DRIVER    VOLUME NAME\nlocal     v1\nlocal     v2\nlocal     v10\n")
    session = Recorder(volumes={"list": volumes})
    run(session, "volume_ls", "--format", "{{.Name}} {{.Size}} {{.Links}}{{.Labels}}")
    assert session.stdout.startswith("v1 N/A N/A\n")


def test_networks() -> None:
    networks = [
        {"Name": name, "Id": f"{name}0123456789abcdef", "Driver": driver, "Scope": "local",
         "Created": "2024-01-01T00:00:00Z", "Labels": {}}
        for name, driver in (("none", "null"), ("bridge", "bridge"), ("host", "host"))
    ]  # fmt: skip
    for words, names in (
        ((), ["bridge", "host", "none"]),
        (("-f", "driver=host"), ["host"]),
        (("-f", "name=o"), ["host", "none"]),
        (("-f", "type=custom"), []),
        (("-f", "id=bridge0"), ["bridge"]),
    ):
        session = Recorder(networks={"list": networks})
        run(session, "network_ls", "--format", "{{.Name}}", *words)
        assert session.stdout.split() == names
    session = Recorder(networks={"list": networks})
    run(session, "network_ls")
    assert session.stdout.startswith(
        "NETWORK ID     NAME      DRIVER    SCOPE\nbridge012345   bridge "
    )


def test_an_empty_list_is_a_header_or_nothing() -> None:
    session = Recorder(containers={"list": []})
    run(session, "ps")
    assert session.stdout == (
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    )
    for words in (("-q",), ("--format", "json"), ("--format", "{{.ID}}")):
        session = Recorder(containers={"list": []})
        run(session, "ps", *words)
        assert session.stdout == ""
