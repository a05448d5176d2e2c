from __future__ import annotations

import pytest

from jubako.cli.transfers import Transfers
from jubako.images.progress import Event


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def count(layer: str, current: int, total: int, status: str = "Downloading") -> Event:
    return Event(status, layer, current, total)


def test_a_bar_fills_the_width_that_there_is(clock: Clock) -> None:
    transfers = Transfers(clock)
    transfers.take(count("0123456789ab", 50_000_000, 100_000_000))
    [wide, _] = transfers.lines(200, 24)
    assert wide == f"0123456789ab: Downloading [{'=' * 25}>{' ' * 25}]     50MB/100MB"
    [narrow, _] = transfers.lines(60, 24)
    assert len(narrow) == 60 and narrow.startswith("0123456789ab: Downloading [=====")
    [tiny, _] = transfers.lines(45, 24)
    assert tiny == "0123456789ab: Downloading     50MB/100MB"
    assert all(len(line) <= 30 for line in transfers.lines(30, 24))


def test_the_rate_is_of_the_last_seconds_and_not_of_what_was_kept(clock: Clock) -> None:
    transfers = Transfers(clock)
    transfers.take(Event("Pulling fs layer", "a", None, 1_000_000_000))
    transfers.take(Event("Pulling fs layer", "b", None, 1_000_000_000))
    transfers.take(count("a", 500_000_000, 1_000_000_000))  # an earlier pull had fetched half
    for _ in range(20):  # nothing comes for a while
        clock.now += 1
        transfers.take(count("b", 0, 1_000_000_000))
    current = 0
    for _ in range(10):
        clock.now += 1
        current += 10_000_000
        transfers.take(count("b", current, 1_000_000_000))
    summary = transfers.lines(200, 9)[-1]
    assert summary == "0/2 layers  600MB/2GB  10MB/s  2m20s left"


def test_unpacking_is_not_traffic(clock: Clock) -> None:
    transfers = Transfers(clock)
    transfers.take(Event("Pulling fs layer", "a", None, 1000))
    transfers.take(count("a", 0, 1000))
    clock.now += 1
    transfers.take(count("a", 1000, 1000))
    transfers.take(Event("Download complete", "a"))
    clock.now += 1
    transfers.take(count("a", 200, 1000, "Extracting"))
    first, summary = transfers.lines(100, 9)
    assert first.startswith("a: Extracting [") and first.endswith("200B/1kB")
    assert summary == "0/1 layers  1kB/1kB"
    assert transfers.take(Event("Pull complete", "a"))
    assert transfers.done
    assert transfers.lines(100, 9) == ["a: Pull complete"]


def test_more_layers_than_lines(clock: Clock) -> None:
    transfers = Transfers(clock)
    for number in range(40):
        transfers.take(Event("Pulling fs layer", f"layer{number}", None, 100))
    transfers.take(Event("Pull complete", "layer0"))
    transfers.take(count("layer30", 50, 100))
    transfers.take(count("layer35", 50, 100))
    lines = transfers.lines(80, 6)
    assert len(lines) <= 6
    assert [line.partition(":")[0] for line in lines[:2]] == ["layer30", "layer35"]
    assert lines[-2] == "and 36 more layers"
    assert lines[-1].startswith("1/40 layers  200B/4kB")
    assert len(transfers.final_lines(80)) == 40


def test_only_what_changed_needs_to_be_drawn_at_once(clock: Clock) -> None:
    transfers = Transfers(clock)
    assert transfers.take(Event("Pulling fs layer", "a"))
    assert transfers.take(count("a", 1, 10))
    assert not transfers.take(count("a", 2, 10))
    assert transfers.take(Event("Pull complete", "a"))
