"""Samples: what is read, how they are thinned out, where they stay."""

from __future__ import annotations

import json
from pathlib import Path

from jubako.containers.monitor import recorder, samples
from jubako.linux.cgroups import Cgroup, Hierarchy, Layout
from jubako.linux.loop import EventLoop


def _write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_text(content)


def test_version_1(tmp_path: Path) -> None:
    mounts = [
        Hierarchy(f"{tmp_path}/{name}", 1, [name]) for name in ("memory", "cpuacct", "cpu", "pids")
    ]
    _write(
        tmp_path / "memory" / "x",
        {
            "memory.usage_in_bytes": "100\n",
            "memory.max_usage_in_bytes": "200\n",
            "memory.limit_in_bytes": "9223372036854771712\n",
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        },
    )
    _write(tmp_path / "cpuacct" / "x", {"cpuacct.usage": "5000\n"})
    _write(tmp_path / "cpu" / "x", {"cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 7\n"})
    _write(tmp_path / "pids" / "x", {"pids.current": "4\n"})
    line, kills = recorder.sample(samples.places(Cgroup("/x", Layout(mounts))))
    found = json.loads(line)
    assert found.pop("at") > 0
    assert found == {
        "memory": 100,
        "peak": 200,
        "oom_kills": 3,
        "cpu_ns": 5000,
        "throttled": 2,
        "throttled_ns": 7,
        "pids": 4,
    }
    assert kills == 3


def test_version_2(tmp_path: Path) -> None:
    layout = Layout([Hierarchy(str(tmp_path), 2, ["cpu", "memory", "pids"])])
    _write(
        tmp_path / "x",
        {
            "memory.current": "100\n",
            "memory.max": "400\n",
            "memory.events": "low 0\noom 1\noom_kill 1\noom_group_kill 0\n",
            "cpu.stat": "usage_usec 5\nnr_throttled 2\nthrottled_usec 7\n",
            "pids.current": "4\n",
        },
    )
    found = json.loads(recorder.sample(samples.places(Cgroup("/x", layout)))[0])
    assert (found["limit"], found["oom_kills"], found["cpu_ns"]) == (400, 1, 5000)
    assert "peak" not in found  # before kernel 5.19
    assert found["throttled_ns"] == 7000


def test_a_cgroup_that_is_gone_has_no_values(tmp_path: Path) -> None:
    line, kills = recorder.sample([("memory", f"{tmp_path}/none", "", 1)])
    assert list(json.loads(line)) == ["at"] and kills == 0


def test_a_long_file_is_thinned_out(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    line = '{"at": %d, "fill": "' + "x" * 150 + '"}'
    for number in range(4000):
        recorder.append(str(path), line % number)
    assert path.stat().st_size <= recorder.MAX_BYTES + 200
    times = [json.loads(text)["at"] for text in path.read_text().splitlines()]
    assert times == sorted(times)
    assert times[0] == 0 and times[-1] == 3999
    assert times[1] - times[0] > times[-1] - times[-2] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["samples"]


def test_a_directory_that_is_gone_loses_samples_only(tmp_path: Path) -> None:
    recorder.append(f"{tmp_path}/none/samples", "{}")


def test_it_samples_until_it_is_closed_and_goes_on_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "containers" / "c1").mkdir(parents=True)
    (tmp_path / "value").write_text("7")
    places = [("memory", f"{tmp_path}/value", "", 1)]
    loop = EventLoop()
    first = recorder.Recorder(
        loop, root=str(tmp_path), container_id="c1", places=places, interval_s=0.01
    )
    path = tmp_path / "containers" / "c1" / "samples"
    while not path.exists():
        loop.run_once(1)
    state = json.loads(json.dumps(first.hand_over()))
    loop.close()
    loop = EventLoop()
    second = recorder.Recorder.take_over(loop, state)
    before = len(path.read_text().splitlines())
    while len(path.read_text().splitlines()) == before:
        loop.run_once(1)
    line, oom_due = second.close()
    assert json.loads(line)["memory"] == 7 and not oom_due
    loop.close()
