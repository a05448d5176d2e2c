"""`image cp`: two engines agree on what is missing; a shell takes the place of ssh."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, JubakoError, NotFound, Unavailable, Unsupported
from jubako.images import ImageService
from jubako.images.archives import saving
from jubako.images.copying.protocol import MAGIC, Peer
from jubako.images.copying.receiving import receive
from jubako.images.copying.sending import send
from jubako.store import Store
from tests.fixtures.engine import COMMAND, Jubako
from tests.integration.pull_tools import layer_of, noise
from tests.integration.push_tools import Events, make_image, three_layers

pytestmark = pytest.mark.root

_TIMEOUT_S = 20


@pytest.fixture
def shell(tmp_path: Path) -> str:
    """What takes the place of ssh: it drops the host, and notes how it was called."""
    path = tmp_path / "rsh"
    path.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$@" >{tmp_path}/called\n'
        'while [ "$1" = -p ]; do shift 2; done\n'
        "shift\n"
        'exec sh -c "$1"\n'
    )
    path.chmod(0o700)
    return str(path)


@pytest.fixture
def other(root_dir: Path) -> Iterator[ImageService]:
    """The engine of the other machine, on a root of its own."""
    store = Store(str(root_dir / "there"))
    yield ImageService(store)
    store.close()
    subprocess.run(["rm", "-rf", store.run_dir], check=True)


@pytest.fixture
def images(root_dir: Path) -> Iterator[ImageService]:
    store = Store(str(root_dir))
    yield ImageService(store)
    store.close()


def address(other: ImageService, host: str = "there") -> str:
    return f"ssh://{host}{other.store.path}"


# --- both directions -----------------------------------------------------------------------------


def test_only_missing_layers_are_sent(
    images: ImageService, other: ImageService, shell: str
) -> None:
    layers = three_layers(1)
    make_image(images, "base:1", *layers)
    child = make_image(images, "child:1", *layers, layer_of({"new": noise(2 << 20)}))
    first = images.copy_to(address(other), ["base:1"], shell=shell, program=str(COMMAND))
    assert first.loaded == ["Loaded image: base:1"]
    assert (first.layers, first.missing) == (3, 3)
    second = images.copy_to(address(other), ["child:1"], shell=shell, program=str(COMMAND))
    assert (second.layers, second.missing) == (4, 1)
    assert 2 << 20 < second.sent_bytes < 3 << 20
    assert other.resolve("child:1") == child
    third = images.copy_to(address(other), ["child:1"], shell=shell, program=str(COMMAND))
    assert third.missing == 0 and third.sent_bytes < 30_000
    for diff_id in other.diff_ids(child):
        assert any(other.layers.archive(diff_id))  # checks its digest


def test_fetching(images: ImageService, other: ImageService, shell: str) -> None:
    layers = three_layers(2)
    make_image(images, "base:1", *layers)
    image_id = make_image(other, "child:1", *layers, layer_of({"new": b"1"}))
    lines = images.copy_from(address(other), ["child:1"], shell=shell, program=str(COMMAND))
    assert lines == ["Loaded image: child:1"]
    assert images.resolve("child:1") == image_id


def test_the_command(
    jubako: Jubako, images: ImageService, other: ImageService, shell: str, tmp_path: Path
) -> None:
    image_id = make_image(images, "base:1", *three_layers(3))
    names = sorted(diff_id[7:19] for diff_id in images.diff_ids(image_id))
    jubako.environment["JUBAKO_RSH"] = shell
    to = f"ssh://me@there:2222{other.store.path}"
    *told, loaded, sent = jubako.ok("image", "cp", "--program", COMMAND, "base:1", to).splitlines()
    assert sorted(told[:3]) == [f"{name}: Waiting" for name in names]
    assert told[3:] == [f"{name}: Sent" for name in names]
    assert loaded == "Loaded image: base:1"
    assert re.fullmatch(r"Sent 3 of 3 layers: [\d.]+MB as [\d.]+MB", sent), sent
    called = (tmp_path / "called").read_text().splitlines()
    assert called[:3] == ["-p", "2222", "me@there"]
    assert called[3] == f"{COMMAND} --root {other.store.path} image receive"
    assert jubako.ok("image", "cp", "-q", "--program", COMMAND, "base:1", to) == ""
    jubako.ok("rmi", "base:1")
    *told, loaded = jubako.ok("image", "cp", "--program", COMMAND, to, "base:1").splitlines()
    assert told[3:] == [f"{name}: Received" for name in names]
    assert loaded == "Loaded image: base:1"


def test_the_progress(images: ImageService, other: ImageService, shell: str) -> None:
    there, *missing = three_layers(7)
    make_image(other, "old:1", there)
    image_id = make_image(images, "base:1", there, *missing)
    lowest, *above = (diff_id[7:19] for diff_id in images.diff_ids(image_id))
    sent, received = Events(), Events()
    options = {"shell": shell, "program": str(COMMAND)}
    images.copy_to(address(other), ["base:1"], progress=sent, **options)
    assert sent.last() == {lowest: "Already exists"} | dict.fromkeys(above, "Sent")
    first = [(event.id, event.status) for event in sent.events[:3]]
    assert first == [*((name, "Waiting") for name in reversed(above)), (lowest, "Already exists")]
    images.remove("base:1")
    images.copy_from(address(other), ["base:1"], progress=received, **options)
    assert received.last() == dict.fromkeys((lowest, *above), "Received")
    for events, status in ((sent.events, "Sending"), (received.events, "Receiving")):
        sizes = {event.id: event.total for event in events if event.status == "Waiting"}
        noise_layer = above[0]
        assert sizes[noise_layer] == len(missing[0])
        counts = [one for one in events if (one.id, one.status) == (noise_layer, status)]
        assert counts and all(0 < (one.current or 0) <= len(missing[0]) for one in counts)
        assert {one.total for one in counts} == {len(missing[0])}


def test_the_progress_on_a_terminal(
    jubako: Jubako, images: ImageService, other: ImageService, shell: str
) -> None:
    image_id = make_image(images, "base:1", *three_layers(8))
    options = ("-e", shell, "--program", COMMAND)
    terminal = jubako.terminal("image", "cp", *options, "base:1", address(other), columns=100)
    assert terminal.wait(timeout_s=30) == 0, terminal.output
    assert re.search(r"[0-9a-f]{12}: Sending \[=+> *\] +[\d.]+[kM]?B/3.1\d+MB", terminal.output)
    for diff_id in images.diff_ids(image_id):
        assert f"{diff_id[7:19]}: Sent\r" in terminal.output
    last = terminal.output.replace("\x1b[J", "").splitlines()[-2:]
    assert last[0] == "Loaded image: base:1" and last[1].startswith("Sent 3 of 3 layers: ")


def test_into_a_file(jubako: Jubako, images: ImageService, tmp_path: Path) -> None:
    layers = three_layers(4)
    make_image(images, "base:1", *layers)
    make_image(images, "child:1", *layers, layer_of({"new": b"1"}))
    file = tmp_path / "child.tar"
    jubako.ok("image", "cp", "--since", "base:1", "child:1", file)
    assert file.stat().st_size < 30_000
    jubako.ok("rmi", "child:1")
    assert jubako.ok("load", "-i", file) == "Loaded image: child:1"
    failed = jubako("image", "cp", "--since", "base:1", "child:1", "ssh://there")
    assert failed.status == 125 and "--since is for files" in failed.stderr


# --- what goes wrong ------------------------------------------------------------------------------


def test_an_image_that_is_not_there(
    jubako: Jubako, images: ImageService, other: ImageService, shell: str
) -> None:
    """One line tells it, whichever side found out."""
    with pytest.raises(NotFound, match="^No such image: nothing"):
        images.copy_to(address(other), ["nothing"], shell=shell, program=str(COMMAND))
    options = ("-e", shell, "--program", COMMAND)
    failed = jubako("image", "cp", *options, address(other), "nothing")
    assert failed.status == 1
    assert failed.stderr == f"jubako: {address(other)}: No such image: nothing\n"


def test_no_jubako_there(images: ImageService, shell: str, tmp_path: Path) -> None:
    make_image(images, "base:1", layer_of({}))
    with pytest.raises(Unavailable, match="no jubako answers there; .* ended with status 127"):
        images.copy_to("ssh://there", ["base:1"], shell=shell, program="no-such-jubako")
    welcome = tmp_path / "welcome"
    welcome.write_text("#!/bin/sh\necho Welcome to this machine\n")
    welcome.chmod(0o700)
    with pytest.raises(Unavailable, match="something else than jubako answers: b'Welcome to"):
        images.copy_to("ssh://there", ["base:1"], shell=shell, program=str(welcome))
    with pytest.raises(JubakoError, match="no-such-shell"):
        images.copy_to("ssh://there", ["base:1"], shell="no-such-shell")


@pytest.mark.parametrize(
    "text",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://a@-b",
        "ssh://a b",
        "ssh://a:b",
        "there",
        "ssh:///r",
    ],
)
def test_addresses_that_are_none(images: ImageService, text: str) -> None:
    with pytest.raises(InvalidArgument, match="not a machine to copy to or from"):
        images.copy_to(text, ["base:1"], shell="false")


def test_the_root_of_the_other_machine_is_one_word(
    images: ImageService, other: ImageService, shell: str, tmp_path: Path
) -> None:
    make_image(images, "base:1", layer_of({}))
    target = f"ssh://there{tmp_path}/r; touch {tmp_path}/canary"
    with pytest.raises(JubakoError):
        images.copy_to(target, ["base:1"], shell=shell, program=f"false {COMMAND}")
    assert not (tmp_path / "canary").exists()


class Script:
    """The other side of a socket, which says what it is told to say."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(_TIMEOUT_S)
        self.theirs.settimeout(_TIMEOUT_S)

    def peer(self) -> Peer:
        return Peer(self.ours.fileno(), self.ours.fileno(), "the other side")

    def says(self, *parts: bytes, end: bool = True) -> None:
        for part in parts:
            self.theirs.sendall(part)
        if end:
            self.theirs.shutdown(socket.SHUT_WR)

    def heard(self) -> bytes:
        self.ours.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: self.theirs.recv(1 << 16), b""))

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.close()


def frame(message: Any) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data


def pieces(data: bytes) -> bytes:
    """An archive in two pieces, and its end."""
    halves = (data[:500], data[500:])
    return b"".join(len(half).to_bytes(4, "big") + half for half in halves) + bytes(4)


OFFER = {"images": [], "layers": {f"sha256:{'0' * 64}": 10}}


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (b"", Unavailable, "no jubako answers there"),
        (b"jubako-copy-2\n", Unsupported, "another version"),
        (MAGIC + b"\xff\xff\xff\xff", InvalidArgument, "a message of 4294967295 bytes"),
        (MAGIC + b"\0\0\0\x09[1", Unavailable, "the connection ended"),
        (MAGIC + b"\0\0\0\x02[1", InvalidArgument, "not JSON"),
        (MAGIC + frame([]), InvalidArgument, "not an object"),
        (MAGIC + frame({}), InvalidArgument, "no list of at most"),
        (MAGIC + frame({"layers": {"sha256:../x": 1}}), InvalidArgument, "checksum"),
        (MAGIC + frame({"layers": {f"sha256:{'0' * 64}": "1"}}), InvalidArgument, "of 1 bytes"),
        (MAGIC + frame({"layers": {f"sha256:{'0' * 64}": -1}}), InvalidArgument, "of -1 bytes"),
        (MAGIC + frame({"error": "no", "class": "NotFound"}), NotFound, "the other side: no"),
        (MAGIC + frame({"error": "no", "class": "KernelError"}), JubakoError, "no"),
        (MAGIC + frame({"error": "no", "class": "sys"}), JubakoError, "no"),
        (MAGIC + frame(OFFER), Unavailable, "the connection ended"),
        (MAGIC + frame(OFFER) + bytes(4), InvalidArgument, "image archive is empty"),
        (MAGIC + frame(OFFER) + pieces(b"x" * 2048), InvalidArgument, "tar"),
        (MAGIC + frame(OFFER) + pieces(layer_of({"a": b""})), InvalidArgument, "neither manif"),
        (MAGIC + frame(OFFER) + pieces(layer_of({"a": b""})[:700]), InvalidArgument, "truncated"),
        (MAGIC + frame(OFFER) + pieces(layer_of({"a": b""}))[:700], Unavailable, "ended"),
    ],
)
def test_a_hostile_sender(
    images: ImageService, script: Script, said: bytes, error: type[JubakoError], words: str
) -> None:
    script.says(said)
    with pytest.raises(error, match=words):
        receive(images, script.peer())
    assert images.list() == []
    assert b"error" in script.heard() or issubclass(error, Unavailable) or b"error" in said


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (MAGIC + frame({}), InvalidArgument, "missing is not a list"),
        (MAGIC + frame({"missing": [1]}), InvalidArgument, "missing is not a list"),
        (MAGIC + frame({"missing": []}) + frame({"loaded": 1}), InvalidArgument, "loaded"),
        (MAGIC + frame({"missing": []}), Unavailable, "the connection ended"),
        (
            MAGIC + frame({"missing": []}) + frame({"error": "no room", "class": "Conflict"}),
            JubakoError,
            "no room",
        ),
    ],
)
def test_a_hostile_receiver(
    images: ImageService, script: Script, said: bytes, error: type[JubakoError], words: str
) -> None:
    make_image(images, "base:1", *three_layers(5))
    script.says(said)
    with pytest.raises(error, match=words):
        send(images, ["base:1"], script.peer())


def test_a_receiver_that_asks_for_what_was_not_offered_gets_no_more(
    images: ImageService, script: Script
) -> None:
    secret = make_image(images, "secret:1", layer_of({"secret": b"s3cret" * 1000}))
    make_image(images, "base:1", layer_of({"a": b"1"}))
    script.says(
        MAGIC + frame({"missing": images.diff_ids(secret)}), frame({"loaded": []}), end=False
    )
    copied = send(images, ["base:1"], script.peer())
    assert copied.missing == 0
    assert b"s3cret" not in script.heard()


def test_the_layers_that_were_counted_on_stay(
    images: ImageService,
    other: ImageService,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the receiver said to have is not deleted before the archive without it is loaded."""
    layers = three_layers(6)
    make_image(images, "base:1", *layers)
    make_image(other, "old:1", *layers)

    archive = saving.archive

    def after_removal(*args: Any, **options: Any) -> Iterator[bytes | memoryview]:
        other.remove("old:1")
        yield from archive(*args, **options)

    outcome: list[Any] = []

    def receiving() -> None:
        store = Store(other.store.path)
        theirs = script.theirs.fileno()
        try:
            outcome.append(receive(ImageService(store), Peer(theirs, theirs, "the sender")))
        finally:
            store.close()

    script.ours.setblocking(True)
    script.theirs.setblocking(True)
    thread = threading.Thread(target=receiving)
    thread.start()
    with monkeypatch.context() as patch:
        patch.setattr(saving, "archive", after_removal)
        copied = send(images, ["base:1"], script.peer())
    thread.join(_TIMEOUT_S)
    assert copied.missing == 0
    assert outcome == [["Loaded image: base:1"]]
    assert other.layers.exists(images.diff_ids(images.resolve("base:1"))[0])
