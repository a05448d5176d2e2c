"""Commands on an engine that answers from a table: what they ask for and print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jubako.cli.flags import Refused, UsageError
from jubako.errors import CleanupErrors, Conflict, InvalidArgument, NotFound, Unsupported
from tests.unit.cli.recorder import Recorder, run


def _missing(name: str, **_: Any) -> None:
    if name == "nope":
        raise NotFound(f"No such container: {name}")


def test_each_name_is_printed_and_failures_come_last() -> None:
    session = Recorder(containers={"pause": _missing})
    with pytest.raises(NotFound, match="No such container: nope"):
        run(session, "pause", "a", "nope", "b")
    assert session.stdout == "a\nb\n"


def test_several_at_once_keep_their_order_and_their_errors() -> None:
    session = Recorder(containers={"stop": _missing})
    with pytest.raises(NotFound, match="No such container: nope"):
        run(session, "stop", "-t", "0", "a", "nope", "b")
    assert session.stdout == "a\nb\n"

    def fail(name: str, **_: Any) -> None:
        raise Conflict(f"{name} is busy", hint="wait") if name == "a" else KeyError(name)

    session = Recorder(containers={"remove": fail})
    with pytest.raises(CleanupErrors) as caught:
        run(session, "rm", "a", "b")
    first, second = caught.value.errors
    assert isinstance(first, Conflict) and first.hint == "wait"
    assert str(second) == "b: internal error: KeyError: 'b'"


def test_rm_force_forgives_what_is_gone() -> None:
    session = Recorder(containers={"remove": _missing})
    assert run(session, "rm", "-f", "nope", "/a/") == 0
    assert session.stdout == "/a/\n"
    assert session.stderr == "jubako: No such container: nope\n"
    with pytest.raises(InvalidArgument, match="container name cannot be empty"):
        run(Recorder(containers={"remove": _missing}), "rm", "/")


def test_start_names_what_failed() -> None:
    session = Recorder(containers={"start": _missing, "prepare_start": None})
    with pytest.raises(CleanupErrors) as caught:
        run(session, "start", "a", "nope")
    assert [str(error) for error in caught.value.errors] == [
        "No such container: nope",
        "failed to start containers: nope",
    ]
    assert session.stdout == "a\n"


def test_rename_names_what_failed() -> None:
    with pytest.raises(CleanupErrors) as caught:
        run(Recorder(containers={"rename": lambda old, new: _missing(old)}), "rename", "nope", "x")
    assert str(caught.value.errors[1]) == "failed to rename container named nope"
    with pytest.raises(InvalidArgument, match="may be empty"):
        run(Recorder(containers={}), "rename", " ", "x")


def test_kill_and_stop_pass_their_flags() -> None:
    session = Recorder(containers={"kill": None})
    run(session, "kill", "a")
    run(session, "kill", "-s", "HUP", "a")
    assert [call[2] for call in session.calls] == [{"signal": "KILL"}, {"signal": "HUP"}]
    session = Recorder(containers={"stop": None, "restart": None})
    run(session, "stop", "a")
    run(session, "stop", "-t", "0", "-s", "INT", "a")
    run(session, "restart", "--time=3", "a")
    assert [call[2] for call in session.calls] == [
        {"timeout_s": None, "signal": None},
        {"timeout_s": 0, "signal": "INT"},
        {"timeout_s": 3, "signal": None},
    ]


PORTS = {
    "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "10"}],
    "443/tcp": None,
}


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["9/udp -> 127.0.0.1:10", "80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]),
        (["80"], ["0.0.0.0:8080", "[::]:8080"]),
        (["9/udp"], ["127.0.0.1:10"]),
    ],
)
def test_port(words: list[str], lines: list[str]) -> None:
    session = Recorder(containers={"inspect": {"NetworkSettings": {"Ports": PORTS}}})
    run(session, "port", "c", *words)
    assert session.stdout.splitlines() == lines


def test_port_refuses() -> None:
    def port(word: str) -> None:
        run(
            Recorder(containers={"inspect": {"NetworkSettings": {"Ports": PORTS}}}),
            "port",
            "c",
            word,
        )

    with pytest.raises(NotFound, match="No public port '443' published for c"):
        port("443")
    with pytest.raises(InvalidArgument, match=r"invalid port \(x\): strconv.ParseUint"):
        port("x")


def test_top_has_wide_columns() -> None:
    processes = {"Titles": ["PID", "CMD"], "Processes": [["1", "sleep 600"], ["22", "cat"]]}
    session = Recorder(containers={"top": processes})
    run(session, "top", "c", "-o", "pid,cmd")
    assert (
        session.stdout
        == "PID                 CMD\n1                   sleep 600\n22                  cat\n"
    )
    assert session.calls[0][1] == ("c", ["-o", "pid,cmd"])


def test_wait_prints_exit_codes() -> None:
    def wait(name: str) -> int:
        _missing(name)
        return 3

    session = Recorder(containers={"wait": wait})
    with pytest.raises(NotFound):
        run(session, "wait", "a", "nope", "b")
    assert session.stdout == "3\n3\n"


DOCUMENTS: dict[str, dict[str, Any]] = {
    "a": {"Id": "1", "X": [{"é": "<&>"}], "Y": {}, "Z": []},
    "b": {"Id": "2"},
}


def _find(name: str, **_: Any) -> dict[str, Any]:
    if name not in DOCUMENTS:
        raise NotFound(f"get {name}: no such volume")
    return DOCUMENTS[name]


def test_inspect_prints_what_it_finds_then_fails() -> None:
    session = Recorder(volumes={"inspect": _find})
    with pytest.raises(NotFound):
        run(session, "volume_inspect", "a", "nope")
    assert session.stdout == (
        '[\n    {\n        "Id": "1",\n        "X": [\n            {\n                "é": "<&>"\n'
        '            }\n        ],\n        "Y": {},\n        "Z": []\n    }\n]\n'
    )
    session = Recorder(volumes={"inspect": _find})
    with pytest.raises(NotFound):
        run(session, "volume_inspect", "nope")
    assert session.stdout == "[]\n"


def test_inspect_formats() -> None:
    session = Recorder(volumes={"inspect": _find})
    run(session, "volume_inspect", "-f", "json", "b", "b")
    run(session, "volume_inspect", "-f", "{{.Id}}", "a", "b")
    assert session.stdout == '[{"Id":"2"},{"Id":"2"}]\n1\n2\n'
    session = Recorder(volumes={"inspect": _find})
    with pytest.raises(NotFound):
        run(session, "volume_inspect", "-f", "{{.Id}}", "nope")
    assert session.stdout == "\n"
    assert run(session, "volume_inspect", "-f", "{{", "a") == 64
    assert session.stderr == "jubako: template parsing error: template: :1: unclosed action\n"
    with pytest.raises(InvalidArgument, match="template parsing error: .*no entry for key"):
        run(session, "volume_inspect", "-f", "{{.Nope}}", "a")


def test_inspect_looks_everywhere() -> None:
    nothing = {"inspect": NotFound("no")}
    session = Recorder(
        containers=nothing, images={"inspect": _find}, networks=nothing, volumes=nothing
    )
    run(session, "inspect", "-f", "{{.Id}}", "b")
    assert session.stdout == "2\n"
    run(session, "inspect", "--size", "-f", "x", "b")
    assert session.stderr == "WARNING: --size ignored for image\n"
    with pytest.raises(NotFound, match="No such object: nope"):
        run(session, "inspect", "nope")
    with pytest.raises(NotFound, match="^no$"):
        run(session, "inspect", "--type", "network", "b")
    with pytest.raises(Refused, match='unknown type: "x": must be one of "container", "image"'):
        run(session, "inspect", "--type", "x", "b")
    with pytest.raises(Refused, match="type is empty"):
        run(session, "inspect", "--type=", "b")


def test_rmi() -> None:
    def remove(ref: str, **_: Any) -> list[dict[str, str]]:
        if ref == "nope":
            raise NotFound("No such image: nope:latest")
        return [{"Untagged": f"{ref}:latest"}, {"Deleted": "sha256:1"}]

    session = Recorder(images={"remove": remove})
    with pytest.raises(NotFound):
        run(session, "rmi", "nope", "a")
    assert session.stdout == "Untagged: a:latest\nDeleted: sha256:1\n"
    assert run(session, "rmi", "-f", "--no-prune", "nope") == 0
    assert session.stderr == "jubako: No such image: nope:latest\n"
    assert session.calls[-1][2] == {"force": True, "prune": False}


def test_prune_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    session = Recorder(containers={"prune": (["a", "b"], 2746000)})
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(session, "container_prune") == 0
    assert session.stdout == (
        "WARNING! This will remove all stopped containers.\n"
        "Are you sure you want to continue? [y/N] "
    )
    assert not session.calls
    session.stdout = ""
    monkeypatch.setattr("sys.stdin", io.StringIO("Y\n"))
    run(session, "container_prune", "--filter", "label=x")
    assert session.stdout.endswith("Deleted Containers:\na\nb\n\nTotal reclaimed space: 2.746MB\n")
    assert session.calls == [("prune", ({"label": ["x"]},), {})]


def test_volume_create() -> None:
    session = Recorder(volumes={"create": {"Name": "v"}})
    run(session, "volume_create", "--label", "a=b", "-o", "type=tmpfs", "-o", "device=x=y", "v")
    assert session.calls == [
        (
            "create",
            ("v",),
            {
                "driver": "local",
                "labels": {"a": "b"},
                "options": {"type": "tmpfs", "device": "x=y"},
                "uid": None,
                "gid": None,
                "mode": None,
            },
        )
    ]
    run(session, "volume_create", "--uid", "0", "--gid", "33", "--mode", "0750", "v")
    given = session.calls[-1][2]
    assert [given[name] for name in ("uid", "gid", "mode")] == [0, 33, 0o750]
    with pytest.raises(Refused, match="through both --name and as a positional arg"):
        run(session, "volume_create", "--name", "x", "v")


def test_logs_pass_times_and_tails() -> None:
    session = Recorder(containers={"logs": ()})
    run(session, "logs", "-n", "5", "-t", "--since", "1700000000", "c")
    run(session, "logs", "--tail", "all", "-f", "c")
    assert [(call[2]["tail"], call[2]["since"], call[2]["follow"]) for call in session.calls] == [
        (5, 1700000000.0, False),
        (None, None, True),
    ]


def test_filters_need_a_value() -> None:
    with pytest.raises(UsageError, match="bad format of filter"):
        run(Recorder(containers={"list": []}), "ps", "-f", "foo")
    session = Recorder(containers={"list": []})
    run(session, "ps", "-f", "", "-f", " Name = x ")
    assert session.calls[0][2]["filters"] == {"name": ["x"]}


def test_import_from_a_url_is_refused_with_a_hint() -> None:
    with pytest.raises(Unsupported) as caught:
        run(Recorder(images={}), "import_", "https://example.invalid/x.tar")
    assert caught.value.hint == "curl -L https://example.invalid/x.tar | jubako import -"


def test_export_leaves_no_file_behind_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    target.write_bytes(b"old")

    def export(name: str, stream: Any) -> None:
        stream.write(b"half")
        raise NotFound("No such container: c")

    with pytest.raises(NotFound):
        run(Recorder(containers={"export": export}), "export", "-o", str(target), "c")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.tar", b"old")]
    run(
        Recorder(containers={"export": lambda name, stream: stream.write(b"whole")}),
        "export", "-o", str(target), "c",
    )  # fmt: skip
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("out.tar", b"whole")
    ]
