"""`system df`, `system prune`, `events`, `why`, `info`: Docker's output for the same data."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jubako.cli.flags import Refused
from jubako.golang.template import TemplateError
from tests.unit.cli.recorder import Recorder, run

_IMAGE = "sha256:c567f5f41a56400ffe959bcfb8e72559a4fabcc8b7d96edf6e14954207f73799"
_CONTAINER = "9ef2f8ec318c256a61faea8bb7971bef062f5278caa0727cb414ebc651098c79"


def _summary(total: int, active: int, size: int, reclaimable: int) -> dict[str, int]:
    return {
        "TotalCount": total,
        "ActiveCount": active,
        "TotalSize": size,
        "Reclaimable": reclaimable,
    }


def _usage() -> dict[str, Any]:
    created = int(time.time()) - 15 * 60
    image = {"Id": _IMAGE, "RepoTags": ["fi-bb:1"], "RepoDigests": [], "Created": created}
    container = {
        "Id": _CONTAINER,
        "Names": ["/fi-c1"],
        "Image": "fi-bb:1",
        "ImageID": _IMAGE,
        "Command": "sleep 1000000",
        "Created": created,
        "Ports": [],
        "Labels": {},
        "State": "running",
        "Status": "Up 15 minutes",
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {"none": {}}},
        "Mounts": [{"Driver": "local", "Name": "a"}, {"Driver": "local", "Name": "b"}],
        "SizeRw": 20999999,
        "SizeRootFs": 23000000,
    }
    return {
        "LayersSize": 5948000,
        "Images": [{**image, "Size": 1982680, "SharedSize": 1982640, "Containers": 3}],
        "Containers": [container],
        "Volumes": [
            {
                "Name": "fi-vol",
                "Driver": "local",
                "Scope": "local",
                "Mountpoint": "/v",
                "Labels": None,
                "UsageData": {"RefCount": 1, "Size": 0},
            }
        ],
        "BuildCache": [],
        "ImageUsage": _summary(5, 2, 5948000, 5948000),
        "ContainerUsage": _summary(16, 5, 20999999, 0),
        "VolumeUsage": _summary(4, 3, 0, 0),
        "BuildCacheUsage": _summary(0, 0, 0, 0),
    }


def _df(*words: str) -> str:
    session = Recorder(system={"disk_usage": _usage()})
    assert run(session, "system_df", *words) == 0
    return session.stdout


def test_df() -> None:
    assert _df() == (
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
        "Images          5         2         5.948MB   5.948MB (100%)\n"
        "Containers      16        5         21MB      0B (0%)\n"
        "Local Volumes   4         3         0B        0B\n"
        "Build Cache     0         0         0B        0B\n"
    )


def test_df_in_other_forms() -> None:
    first = '{"Active":"2","Reclaimable":"5.948MB (100%)","Size":"5.948MB","TotalCount":"5"'
    assert _df("--format", "json").startswith(first + ',"Type":"Images"}\n')
    assert _df("--format", "table {{.Type}}\t{{.Size}}").splitlines()[:2] == [
        "TYPE            SIZE",
        "Images          5.948MB",
    ]
    with pytest.raises(TemplateError, match="field ID in type \\*formatter.diskUsageImagesContext"):
        _df("--format", "table {{.ID}}")


def test_df_verbose() -> None:
    assert _df("-v") == (
        "Images space usage:\n"
        "\n"
        "REPOSITORY   TAG       IMAGE ID       CREATED          SIZE      SHARED SIZE   "
        "UNIQUE SIZE   CONTAINERS\n"
        "fi-bb        1         c567f5f41a56   15 minutes ago   1.98MB    1.983MB       "
        "40B           3\n"
        "\n"
        "Containers space usage:\n"
        "\n"
        "CONTAINER ID   IMAGE     COMMAND           LOCAL VOLUMES   SIZE      "
        "CREATED          STATUS          NAMES\n"
        '9ef2f8ec318c   fi-bb:1   "sleep 1000000"   2               21MB      '
        "15 minutes ago   Up 15 minutes   fi-c1\n"
        "\n"
        "Local Volumes space usage:\n"
        "\n"
        "VOLUME NAME   LINKS     SIZE\n"
        "fi-vol        1         0B\n"
        "\n"
        "Build cache usage: 0B\n"
        "\n"
        "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
    )


def test_df_verbose_through_a_template() -> None:
    assert _df("-v", "--format", "{{range .Volumes}}{{.Name}} {{.Links}}{{end}}") == "fi-vol 1\n"
    assert _df("-v", "--format", "json").startswith('{"Images":[{"Containers":"3","CreatedAt":')


_DONE = {
    "ContainersDeleted": ["c1"],
    "NetworksDeleted": [],
    "VolumesDeleted": ["v1"],
    "ImagesDeleted": [{"Untagged": "bb:1"}, {"Deleted": "sha256:1"}],
    "SpaceReclaimed": 6,
}


def test_prune_says_what_it_removed() -> None:
    session = Recorder(system={"prune": _DONE})
    assert run(session, "system_prune", "-af", "--volumes", "--filter", "label=a=b") == 0
    assert session.stdout == (
        "Deleted Containers:\nc1\n\nDeleted Volumes:\nv1\n\n"
        "Deleted Images:\nuntagged: bb:1\ndeleted: sha256:1\n\nTotal reclaimed space: 6B\n"
    )
    given = ({"label": ["a=b"]},)
    assert session.calls == [("prune", given, {"all_images": True, "volumes": True})]


def _asked(monkeypatch: pytest.MonkeyPatch, module: str, *words: str) -> str:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    session = Recorder(system={"prune": _DONE, "prune_networks": []})
    assert run(session, module, *words) == 0
    assert session.calls == []
    return session.stdout


def test_prune_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _asked(monkeypatch, "system_prune") == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all dangling images\n"
        "  - unused build cache\n"
        "\n"
        "Are you sure you want to continue? [y/N] "
    )
    words = ("-a", "--filter", "label=b", "--filter", "until=1s", "--filter", "label=a")
    assert _asked(monkeypatch, "system_prune", *words) == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all images without at least one container associated to them\n"
        "  - all build cache\n"
        "\n"
        "  Items to be pruned will be filtered with:\n"
        "  - label=a\n"
        "  - label=b\n"
        "  - until=1s\n"
        "\n"
        "Are you sure you want to continue? [y/N] "
    )
    assert "  - all anonymous volumes not used by" in _asked(
        monkeypatch, "system_prune", "--volumes"
    )
    assert _asked(monkeypatch, "network_prune").startswith(
        "WARNING! This will remove all custom networks not used by at least one container.\n"
    )


def test_until_and_volumes_exclude_each_other() -> None:
    with pytest.raises(Refused, match='"until" filter is not supported with "--volumes"'):
        run(Recorder(), "system_prune", "--volumes", "--filter", "until=1h")


def test_events_ask_for_what_the_flags_say() -> None:
    session = Recorder(system={"events": []})
    words = ("--since", "1700000000.123456789", "--until", "1700000001", "-f", "type=image")
    assert run(session, "events", *words) == 0
    ((_, _, given),) = session.calls
    assert int(given["since"] * 10**9) == 1700000000123456789
    assert int(given["until"]) == 1700000001
    assert given["filters"] == {"type": ["image"]}


def test_why() -> None:
    answer = {
        "Id": _CONTAINER,
        "Name": "web",
        "Image": "bb",
        "EarlierOfThisName": 1,
        "Findings": [
            {"Level": "ok", "Text": "It is well."},
            {"Level": "problem", "Text": "word " * 30},
        ],
        "Timeline": [
            {
                "At": "2024-05-06T07:08:09.123456789Z",
                "Action": "die",
                "Attributes": {"exitCode": "1"},
                "By": "somebody",
            }
        ],
    }
    session = Recorder(system={"why": answer})
    assert run(session, "why", "web") == 0
    assert session.stdout == (
        "web (9ef2f8ec318c, image bb)\n"
        "+ It is well.\n"
        f"! {('word ' * 19).strip()}\n"
        f"  {('word ' * 11).strip()}\n"
        "  another container of this name came before; `why` takes their IDs, too.\n"
        "\n"
        "What happened last:\n"
        "  2024-05-06 07:08:09Z  die (exitCode=1) by somebody\n"
    )
    session = Recorder(system={"why": answer})
    assert run(session, "why", "--format", "{{.Name}} {{len .Findings}}", "web") == 0
    assert session.stdout == "web 2\n"
    assert run(session, "why", "--format", "{{", "web") == 64


def test_info_and_version_through_templates() -> None:
    session = Recorder()
    session._engine = _Engine()  # type: ignore[assignment]  # all that the two commands ask for
    assert run(session, "info", "-f", "{{.Driver}} {{.ClientInfo.Context}} {{.ServerErrors}}") == 0
    assert run(session, "version", "-f", "{{.Client.Version}} {{.Server.Os}}") == 0
    assert session.stdout == "overlay default []\n1 linux\n"
    with pytest.raises(TemplateError, match="can't evaluate field Foo in type system.dockerInfo"):
        run(session, "info", "-f", "{{.Foo}}")
    with pytest.raises(TemplateError, match="can't evaluate field Foo in type system.versionInfo"):
        run(session, "version", "-f", "{{.Foo}}")


class _Engine:
    def info(self) -> dict[str, Any]:
        return {"Driver": "overlay"}

    def version(self) -> dict[str, Any]:
        return {"Version": "1", "ApiVersion": "1.51", "Os": "linux", "Arch": "amd64"}
