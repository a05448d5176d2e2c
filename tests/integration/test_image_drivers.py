"""Two storage drivers: which one is chosen, what containers share, and roots with both."""

from __future__ import annotations

import ctypes
import errno
import io
import json
import mmap
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import Unsupported
from jubako.images.layers import LayerStore
from jubako.images.layers.choice import FILE
from jubako.images.layers.mounts import LINK
from jubako.linux import mount, mountinfo, ns, seccomp
from jubako.linux.threads import in_thread
from jubako.store import Store
from tests.fixtures.engine import Jubako, use_storage_driver
from tests.integration.image_tools import archive, seen

OFF = ("--network", "none")
DRIVERS = ("overlay", "erofs")
OTHER = {"overlay": "erofs", "erofs": "overlay"}
MEGABYTE = 1 << 20


@pytest.fixture
def layers(root_dir: Path) -> Iterator[LayerStore]:
    store = Store(str(root_dir))
    yield LayerStore(store)
    store.close()


def drivers_of(engine: Engine, reference: str) -> list[str]:
    """By which driver each layer of an image was made, the lowest first."""
    layers = engine.images.inspect(reference)["RootFS"]["Layers"]
    return [engine.images.layers.driver_of(diff_id) for diff_id in layers]


# --- the choice ----------------------------------------------------------------------------------


def test_the_choice_is_told(jubako: Jubako, root_dir: Path, storage_driver: str) -> None:
    told = jubako.ok("info")
    assert f" Storage Driver: {storage_driver}\n" in told
    assert "  Chosen because: config.json says so\n" in told
    (root_dir / "config.json").unlink()
    info = json.loads(jubako.ok("info", "--format", "json"))
    status = dict(info["DriverStatus"])
    assert status["Layers"] == "0"
    if info["Driver"] == "overlay":
        assert status["Chosen because"].startswith("erofs is not possible: ")
    else:
        assert status["Chosen because"] == "this kernel mounts layers without unpacking them"


def without(number: int, system_call: str, root: Path) -> tuple[str, str, bool]:
    """What is chosen on a kernel that answers a call with an error; whether that is remembered."""
    deny = {"names": [system_call], "action": "SCMP_ACT_ERRNO", "errnoRet": number}
    bpf = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny]})
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            seccomp.load(bpf)
            store = Store(str(root))
            choice = LayerStore(store).choice()
            is_noted = os.path.exists(f"{store.run_dir}/{FILE}")
            os.write(write_end, json.dumps((choice.name, choice.reason, is_noted)).encode())
        except BaseException as exc:
            os.write(write_end, json.dumps(("", repr(exc), False)).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end) as pipe:
        name, reason, is_noted = json.load(pipe)
    os.waitpid(child, 0)
    return name, reason, is_noted


def test_a_kernel_without_erofs(root_dir: Path, layers: LayerStore) -> None:
    name, reason, is_noted = without(errno.ENODEV, "fsopen", root_dir)
    assert (name, is_noted) == ("overlay", True)
    assert reason.startswith("erofs is not possible: mount EROFS image ")
    assert "this kernel has no EROFS" in reason and "No such device" in reason
    assert layers.choice().name == "overlay"  # not tried again before the next boot
    (root_dir / "config.json").write_text('{"storage-driver": "erofs"}')
    with pytest.raises(Unsupported, match="storage driver erofs: .*no EROFS") as info:
        layers.choice()
    assert info.value.hint is not None and '"overlay"' in info.value.hint
    assert sorted(os.listdir(root_dir / "layers" / ".ingest")) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOTBLK, "this kernel mounts EROFS from block devices alone; Linux 6.12 does from"),
        (errno.EOPNOTSUPP, "this kernel's EROFS lacks what the image uses"),
    ],
)
def test_a_kernel_that_mounts_no_files(root_dir: Path, number: int, words: str) -> None:
    name, reason, is_noted = without(number, "fsconfig", root_dir)
    assert (name, is_noted) == ("overlay", True)
    assert reason.startswith(f"erofs is not possible: {words}")
    assert "file system" not in reason


@pytest.fixture(params=["tmpfs", "overlay"])
def unfit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A file system from whose files the kernel mounts nothing: its type, and a directory on it."""
    memory, merged = tmp_path / "memory", tmp_path / "merged"
    for directory in (memory, merged):
        directory.mkdir()
    mount.mount("test", str(memory), "tmpfs")
    place = memory
    if request.param == "overlay":
        place = merged
        for name in ("lower", "upper", "work"):
            (memory / name).mkdir()
        names = ",".join(f"{name}dir={memory}/{name}" for name in ("lower", "upper", "work"))
        mount.mount("test", str(merged), "overlay", 0, names)
    yield request.param, place
    for entry in mountinfo.below(mountinfo.read(), str(tmp_path)):
        mount.umount2(entry.target, mount.MNT_DETACH)


def test_a_file_system_that_cannot_back_erofs(layers: LayerStore, unfit: tuple[str, Path]) -> None:
    kind, place = unfit
    if layers.choice().name != "erofs":
        pytest.skip(layers.choice().reason)
    root = place / "root"
    root.mkdir(mode=0o700)
    with closing(Store(str(root))) as store:
        choice = LayerStore(store).choice()
        noted = Path(store.run_dir, FILE)
        assert json.loads(noted.read_text())["problem"] in choice.reason
        # a disk that is mounted there later is tried by itself
        noted.write_text(json.dumps({**json.loads(noted.read_text()), "device": 1, "problem": ""}))
        again = LayerStore(store).choice()
        shutil.rmtree(store.run_dir)
    assert choice.name == again.name == "overlay"
    assert (
        choice.reason
        == again.reason
        == (
            f"erofs is not possible: the root is on {kind}, from whose files this kernel mounts no "
            "EROFS"
        )
    )


def test_what_may_be_better_next_time_is_not_remembered(root_dir: Path) -> None:
    name, reason, is_noted = without(errno.ENOMEM, "fsopen", root_dir)
    assert (name, is_noted) == ("overlay", False) and "Cannot allocate memory" in reason


def test_what_another_kernel_could_is_forgotten(root_dir: Path, layers: LayerStore) -> None:
    fresh = layers.choice()
    store = Store(str(root_dir))
    Path(store.run_dir, FILE).write_text(json.dumps({"kernel": "2.6", "problem": "too old"}))
    assert layers.choice().name == fresh.name
    Path(store.run_dir, FILE).write_text("no JSON")
    assert layers.choice().name == fresh.name


# --- roots with both -----------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A second root."""
    path = tmp_path / "elsewhere"
    path.mkdir(mode=0o700)
    store = Store(str(path))
    yield path
    store.close()
    shutil.rmtree(store.run_dir, ignore_errors=True)


@pytest.mark.parametrize("maker", DRIVERS)
def test_images_run_on_a_root_of_the_other_driver(
    root_dir: Path, engine: Engine, elsewhere: Path, busybox_tar: Path, maker: str
) -> None:
    use_storage_driver(elsewhere, maker)
    other = Engine(str(elsewhere))
    with busybox_tar.open("rb") as stream:
        base = other.images.import_tar(stream, "base:1")
    change = archive((b"etc/.wh.passwd", b""), (b"var/.wh..wh..opq", b""), (b"var/x", b"x"))
    other.images.commit(base, io.BytesIO(change), {"Cmd": ["sh"]}, reference="made:1")
    sent, again = io.BytesIO(), io.BytesIO()
    other.images.save(["made:1"], sent)
    assert drivers_of(other, "made:1") == [maker, maker]
    with seen(other.images.layers, *other.images.inspect("made:1")["RootFS"]["Layers"]) as top:
        names = sorted(f"/{path.relative_to(top)}" for path in top.rglob("*"))
    other.close()

    use_storage_driver(root_dir, OTHER[maker])
    sent.seek(0)
    engine.images.load(sent)
    assert drivers_of(engine, "made:1") == [OTHER[maker], OTHER[maker]]
    engine.images.save(["made:1"], again)
    assert again.getvalue() == sent.getvalue()
    command = ["sh", "-c", "find / -xdev; cat /var/x"]
    said = engine.containers.run("made:1", command, host_config={"NetworkMode": "none"})
    made_by_start = ["/", "/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]
    assert sorted(said.decode().split("\n")) == sorted([*names, *made_by_start, "x"])


@pytest.mark.parametrize("lower", DRIVERS)
def test_a_stack_of_layers_of_both(
    root_dir: Path, engine: Engine, busybox_tar: Path, lower: str
) -> None:
    """Whiteouts and opaque directories of a layer of one driver hide what one of the other has."""
    use_storage_driver(root_dir, lower)
    with busybox_tar.open("rb") as stream:
        image = engine.images.import_tar(stream, "base:1")
    first = archive((b"gone", b"1"), (b"d/old", b"1"), (b"merged/a", b"1"), (b"f", b"1"))
    second = archive(
        *((b".wh.gone", b""), (b"d/.wh..wh..opq", b""), (b"d/new", b"2")),
        *((b"merged/b", b"2"), (b"f", b"2")),
    )
    for number, layer in enumerate((first, second)):
        if number:
            (root_dir / "config.json").write_text(json.dumps({"storage-driver": OTHER[lower]}))
        image = engine.images.commit(image, io.BytesIO(layer), {"Cmd": ["sh"]}, reference="top:1")
    assert drivers_of(engine, "top:1") == [lower, lower, OTHER[lower]]
    script = (
        "cd /; echo $(ls d) $(ls merged) $(cat f); test -e gone || echo hidden; rm -r merged;"
        " mv f g; echo $(stat -c %d / /bin/sh /d/new /g /etc/passwd | sort -u | wc -l)"
    )
    options = {"NetworkMode": "none"}
    said = engine.containers.run("top:1", ["sh", "-c", script], host_config=options)
    assert said == b"new a b 2\nhidden\n1\n"
    assert engine.system.info()["DriverStatus"][-1][0] == "Layers"
    shown = engine.images.inspect("top:1")["GraphDriver"]
    assert all(map(os.path.isdir, [shown["Data"]["UpperDir"], *_split(shown["Data"]["LowerDir"])]))


def _split(paths: str) -> list[str]:
    return paths.split(":")


def test_removing_frees_layers_of_both(root_dir: Path, engine: Engine) -> None:
    for driver in DRIVERS:
        use_storage_driver(root_dir, driver)
        layer = archive((driver.encode(), b"x" * 1000))
        engine.images.import_tar(io.BytesIO(layer), f"{driver}:1")
    assert len(list(root_dir.glob("layers/[!.]*"))) == 2
    for driver in DRIVERS:
        engine.images.remove(f"{driver}:1")
    assert list(root_dir.glob("layers/[!.]*")) == []


# --- one mount of a layer for all containers -----------------------------------------------------


@pytest.fixture
def big(root_dir: Path, engine: Engine, busybox_tar: Path) -> str:
    """An image by the driver `erofs`, with a file of four megabytes."""
    use_storage_driver(root_dir, "erofs")
    with busybox_tar.open("rb") as stream:
        base = engine.images.import_tar(stream, "base:1")
    layer = archive((b"big", os.urandom(4 * MEGABYTE)))
    engine.images.commit(base, io.BytesIO(layer), {"Cmd": ["sh"]}, reference="big:1")
    return "big:1"


def start(jubako: Jubako, image: str, name: str) -> Path:
    """A container that runs; the link to where its layers are mounted."""
    container = jubako.ok("run", "-d", "--name", name, *OFF, image, "sleep", "1000")
    store = Store(str(jubako.root))
    return Path(store.run_dir, container, LINK)


def all_links(root: Path) -> list[Path]:
    directories = Path(Store(str(root)).run_dir).iterdir()
    return [path / LINK for path in directories if os.path.lexists(path / LINK)]


def namespace(link: Path) -> str:
    """The inode of the layers' namespace."""
    return os.readlink(link).partition(":")[2]


def root_of(jubako: Jubako, name: str) -> Path:
    return Path("/proc", jubako.ok("inspect", "-f", "{{.State.Pid}}", name), "root")


def cached_bytes(path: Path) -> int:
    """How much of a file is in the page cache, without reading it (mincore(2))."""
    size = path.stat().st_size
    pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
    protection = mmap.PROT_READ | mmap.PROT_WRITE  # of a private map: ctypes takes no other
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=protection) as area,
    ):
        first = ctypes.c_char.from_buffer(area)
        libc = ctypes.CDLL(None)
        result = libc.mincore(ctypes.byref(first), ctypes.c_size_t(size), pages)
        del first  # else the map cannot be closed
    assert result == 0
    return mmap.PAGESIZE * sum(page & 1 for page in pages)


def entries(link: Path) -> list[mountinfo.MountEntry]:
    """What is mounted in the namespace behind a link."""

    def read() -> list[mountinfo.MountEntry]:
        descriptor = os.open(os.readlink(link).partition(":")[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            ns.unshare(ns.CLONE_NEWNS)
            ns.setns(descriptor, ns.CLONE_NEWNS)
            return mountinfo.read("thread-self")
        finally:
            os.close(descriptor)

    return in_thread(read)


def mounted(link: Path) -> list[str]:
    """Names of the layers that are mounted in the namespace behind a link."""
    return [entry.target.split("/")[-2] for entry in entries(link) if entry.fstype == "erofs"]


def test_containers_share_one_page_cache(jubako: Jubako, big: str) -> None:
    for name in ("one", "two"):
        start(jubako, big, name)
    assert cached_bytes(root_of(jubako, "two") / "big") == 0
    jubako.ok("exec", "one", "cat", "/big")
    assert cached_bytes(root_of(jubako, "two") / "big") == 4 * MEGABYTE
    assert not [entry for entry in mountinfo.read() if entry.fstype == "erofs"]


def test_the_mounts_outlive_who_made_them(jubako: Jubako, big: str) -> None:
    one, two = start(jubako, big, "one"), start(jubako, big, "two")
    found = namespace(one)
    assert namespace(two) == found and len(mounted(two)) == 2
    jubako.ok("rm", "-f", "one")
    assert not one.exists()
    three = start(jubako, "base:1", "three")
    assert namespace(three) == found
    time.sleep(1.5)  # monitors that have become small keep them as well
    jubako.ok("rm", "-f", "two")
    four = start(jubako, big, "four")
    assert namespace(four) == found
    assert len(mounted(four)) == 2  # what is mounted already is not mounted again


def test_many_starts_at_once_share(jubako: Jubako, big: str) -> None:
    command = ("run", "-d", *OFF, big, "sleep", "1000")
    processes = [jubako.start(*command) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    links = all_links(jubako.root)
    assert len(links) == 6 and len({namespace(link) for link in links}) == 1
    assert len(mounted(links[0])) == 2


def test_a_killed_monitor_leaves_nothing(jubako: Jubako, big: str) -> None:
    link = start(jubako, big, "one")
    monitor = int(os.readlink(link).split("/")[2])
    os.kill(monitor, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while link.exists() or os.path.exists(f"/proc/{monitor}/fd"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    other = start(jubako, big, "two")  # the dead link is in the way of nobody
    assert len(mounted(other)) == 2
    jubako.ok("start", "one")
    assert namespace(link) == namespace(other)


def test_a_restart_has_the_layers_again(jubako: Jubako, big: str) -> None:
    flags = ("--name", "one", "--restart", "always", *OFF)
    jubako.ok("run", "-d", *flags, big, "sh", "-c", "head -c 1 /big >/dev/null; exec sleep 1000")
    first = root_of(jubako, "one")
    os.kill(int(first.parts[2]), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while jubako.ok("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "one") != "running 1":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert jubako.ok("exec", "one", "wc", "-c", "/big").split()[0] == str(4 * MEGABYTE)


def test_a_deleted_layer_is_unmounted(jubako: Jubako, big: str) -> None:
    start(jubako, big, "one")
    link = start(jubako, "base:1", "two")
    jubako.ok("rm", "-f", "one")
    assert len(mounted(link)) == 2
    jubako.ok("rmi", big)
    assert len(mounted(link)) == 1
    assert jubako.ok("exec", "two", "echo", "hi") == "hi"


def test_an_image_mounted_into_a_container_is_not_held_by_others(
    jubako: Jubako, root_dir: Path, big: str, busybox_tar: Path
) -> None:
    """Its mount makes the layers' namespace when the container's own layers need none."""
    (root_dir / "config.json").write_text('{"storage-driver": "overlay"}')
    # another diff ID than that of the image's lowest layer, which is there already
    tar = archive((b"mark", b""))[:-1024] + busybox_tar.read_bytes()
    jubako.ok("import", "-", "plain:1", stdin=tar)
    mount = ("--mount", "type=image,source=big:1,target=/other")
    jubako.ok("run", "-d", "--name", "one", *OFF, *mount, "plain:1", "sleep", "1000")
    assert jubako.ok("exec", "one", "stat", "-c", "%s", "/other/big") == str(4 * MEGABYTE)
    (link,) = all_links(root_dir)

    assert not [entry for entry in entries(link) if "/containers/" in entry.target]


@pytest.mark.parametrize("running", [False, True])
def test_files_of_a_container_without_a_namespace_of_ones_own(
    jubako: Jubako, big: str, running: bool, tmp_path: Path
) -> None:
    """`cp`, `diff`, `export` and `commit`, of one that runs and of one that does not."""
    jubako.ok("create", "--name", "box", *OFF, big, "sleep", "1000")
    if running:
        jubako.ok("start", "box")
    jubako.ok("cp", "box:/big", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 4 * MEGABYTE
    jubako.ok("cp", tmp_path / "copy", "box:/var/new")
    assert jubako.ok("diff", "box") == "C /var\nA /var/new"
    jubako.ok("export", "-o", tmp_path / "tar", "box")
    names = subprocess.run(["tar", "tf", tmp_path / "tar"], capture_output=True, text=True)
    assert {"big", "var/new", "bin/sh"} <= set(names.stdout.split())
    jubako.ok("commit", "box", "made:1")
    assert jubako.ok("run", "--rm", *OFF, "made:1", "cmp", "/big", "/var/new") == ""


def test_a_program_with_threads_can_look(engine: Engine, big: str) -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        layers = engine.images.inspect(big)["RootFS"]["Layers"]
        with seen(engine.images.layers, *layers) as top:
            assert (top / "big").stat().st_size == 4 * MEGABYTE
    finally:
        stop.set()
        other.join()


# --- a smoke test of containers with each driver -------------------------------------------------


def test_a_container_lives_with_each_driver(
    storage_driver: str, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    jubako.ok("run", "-d", "--name", "box", *OFF, "-v", "vol:/var/spool", busybox, "sleep", "1000")
    jubako.ok("exec", "box", "sh", "-c", "echo hello > /etc/motd; rm /etc/group; touch /bin/arp")
    assert jubako.ok("exec", "box", "ls", "/var/spool") == "mail"  # the volume was filled
    jubako.ok("restart", "-t", "0", "box")
    assert jubako.ok("exec", "box", "cat", "/etc/motd") == "hello"
    assert jubako("exec", "box", "cat", "/etc/group").status == 1
    assert "D /etc/group" in jubako.ok("diff", "box")
    jubako.ok("commit", "box", "made:1")
    jubako.ok("rm", "-f", "box")
    said = jubako.ok("run", "--rm", *OFF, "made:1", "sh", "-c", "cat /etc/motd; ls /etc")
    assert said.split() == ["hello", "hostname", "hosts", "motd", "passwd", "resolv.conf"]
    jubako.ok("save", "-o", tmp_path / "saved", "made:1")
    jubako.ok("rmi", "made:1", busybox)
    jubako.ok("load", "-i", tmp_path / "saved")
    assert jubako.ok("run", "--rm", "--read-only", *OFF, "made:1", "cat", "/etc/motd") == "hello"
