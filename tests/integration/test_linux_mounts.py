"""Mounts: by mount(2), by descriptors, overlays of more layers than a page of options holds."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import mount, mountapi, mountinfo, ns, overlayfs, trace
from tests.unit.linux.child import in_child


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of the test's own, where overlayfs may have its upper directory."""
    mount.mount("test", str(tmp_path), "tmpfs", mount.MS_NODEV, "mode=755")
    yield tmp_path
    for entry in mountinfo.below(mountinfo.read(), str(tmp_path)):
        mount.umount2(entry.target, mount.MNT_DETACH)


def entry_of(path: Path) -> mountinfo.MountEntry:
    return [entry for entry in mountinfo.read() if entry.target == str(path)][-1]


def layers(place: Path, count: int) -> list[str]:
    """Directories with names as long as a digest; layer N holds `shared` and a file of its own."""
    made = []
    for number in range(count):
        layer = place / f"{number:064}"
        layer.mkdir()
        (layer / f"own-{number}").write_text(str(number))
        (layer / "shared").write_text(str(number))
        made.append(str(layer))
    return made


@pytest.fixture(params=["lowerdir+", "one string"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the kernel's `lowerdir+` and as on a kernel that has none."""
    if request.param == "one string":
        monkeypatch.setattr(overlayfs, "_appends", False)
    else:
        assert overlayfs._knows_append(), "this kernel has no lowerdir+"
    return str(request.param)


@pytest.mark.parametrize("count", [1, 3, 120, 450])
def test_an_overlay_of_many_layers(place: Path, way: str, count: int) -> None:
    lower = layers(place, count)
    assert count < 120 or len(":".join(lower)) > overlayfs.PAGE_BYTES
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    here = os.getcwd()
    fd = mountapi.overlay(lower, str(place / "upper"), str(place / "work"))
    mountapi.attach(fd, str(place / "merged"))
    os.close(fd)
    merged = place / "merged"
    assert (merged / "shared").read_text() == "0"
    assert {f"own-{number}" for number in range(count)} | {"shared"} == set(os.listdir(merged))
    (merged / "new").write_text("x")
    (merged / "own-0").unlink()
    assert (place / "upper/new").read_text() == "x"
    assert not (merged / "own-0").exists()
    assert os.getcwd() == here
    assert [e.target for e in mountinfo.read() if e.fstype == "overlay"] == [str(merged)]


def test_an_overlay_without_an_upper_directory_is_read_only(place: Path, way: str) -> None:
    (place / "merged").mkdir()
    fd = mountapi.overlay(layers(place, 2), attributes=mountapi.MOUNT_ATTR_NOSUID)
    mountapi.attach(fd, str(place / "merged"))
    os.close(fd)
    with pytest.raises(OSError) as caught:
        (place / "merged/new").write_text("x")
    assert caught.value.errno == errno.EROFS
    assert "nosuid" in entry_of(place / "merged").options


def test_overlay_options_reach_the_kernel(place: Path, way: str) -> None:
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    options = {"index": "off", "metacopy": "on"}
    fd = mountapi.overlay(
        layers(place, 1), str(place / "upper"), str(place / "work"), options=options
    )
    mountapi.attach(fd, str(place / "merged"))
    os.close(fd)
    assert "metacopy=on" in entry_of(place / "merged").super_options


def test_an_overlay_of_paths_that_are_too_long_for_one_option(place: Path, way: str) -> None:
    deep = place / ("d" * 150) / ("e" * 150)
    deep.mkdir(parents=True)
    for name in ("upper", "work", "merged"):
        (deep / name).mkdir()
    fd = mountapi.overlay(layers(deep, 3), str(deep / "upper"), str(deep / "work"))
    mountapi.attach(fd, str(deep / "merged"))
    os.close(fd)
    (deep / "merged/new").write_text("x")
    assert (deep / "upper/new").exists()
    assert (deep / "merged/shared").read_text() == "0"


def test_an_overlay_of_nothing() -> None:
    with pytest.raises(InvalidArgument):
        mountapi.overlay([])


def test_a_missing_layer_is_an_error_and_leaves_no_mount(place: Path, way: str) -> None:
    before = len(mountinfo.read())
    with pytest.raises(KernelError) as caught:
        mountapi.overlay([*layers(place, 1), str(place / "none")])
    assert caught.value.errno == errno.ENOENT
    assert str(place / "none") in str(caught.value)
    assert len(mountinfo.read()) == before


def test_a_kernel_without_lowerdir_plus_is_found_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mountapi.fsconfig_set_string

    def refuse(fs_fd: int, key: str, value: str) -> None:
        if key == "lowerdir+":
            raise KernelError("fsconfig", errno.EINVAL, path=key)
        real(fs_fd, key, value)

    monkeypatch.setattr(overlayfs, "_appends", True)
    monkeypatch.setattr(mountapi, "fsconfig_set_string", refuse)
    (place / "merged").mkdir()
    fd = mountapi.overlay(layers(place, 2))
    mountapi.attach(fd, str(place / "merged"))
    os.close(fd)
    assert sorted(os.listdir(place / "merged")) == ["own-0", "own-1", "shared"]
    assert overlayfs._appends is False


def test_the_kernels_own_reason_is_in_the_error() -> None:
    with pytest.raises(KernelError) as caught:
        mountapi.new_mount("overlay", options="no-such-option=1")
    assert caught.value.errno == errno.EINVAL
    assert "Unknown parameter 'no-such-option'" in str(caught.value)


def test_a_new_mount_goes_where_the_descriptor_is(place: Path) -> None:
    """Whoever exchanges the path for a link after the target was opened gains nothing."""
    (place / "target").mkdir()
    (place / "elsewhere").mkdir()
    target = os.open(place / "target", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    (place / "target").rename(place / "moved")
    (place / "target").symlink_to("elsewhere")
    attributes = mountapi.MOUNT_ATTR_NOEXEC | mountapi.MOUNT_ATTR_NODEV
    fd = mountapi.new_mount("tmpfs", "mine", "mode=700,size=64k", attributes=attributes)
    mountapi.attach(fd, target)
    os.close(fd)
    os.close(target)
    entry = entry_of(place / "moved")
    assert (entry.fstype, entry.source) == ("tmpfs", "mine")
    assert {"noexec", "nodev"} <= set(entry.options)
    assert "size=64k" in entry.super_options
    assert not os.path.ismount(place / "elsewhere")


def test_attributes_of_a_whole_tree(place: Path) -> None:
    (place / "a/b").mkdir(parents=True)
    (place / "copy").mkdir()
    mount.mount("inner", str(place / "a/b"), "tmpfs")
    fd = mountapi.clone_tree(str(place / "a"), attributes=mountapi.MOUNT_ATTR_RDONLY)
    mountapi.attach(fd, str(place / "copy"))
    os.close(fd)
    for path in (place / "copy/x", place / "copy/b/x"):
        with pytest.raises(OSError) as caught:
            path.write_text("x")
        assert caught.value.errno == errno.EROFS
    (place / "a/b/x").write_text("the original is not concerned")
    mountapi.mount_setattr(
        mountapi.AT_FDCWD, str(place / "copy/b"), clear=mountapi.MOUNT_ATTR_RDONLY
    )
    (place / "copy/b/y").write_text("x")


def test_bind_remount_propagation(place: Path) -> None:
    (place / "a").mkdir()
    (place / "b").mkdir()
    mount.bind(str(place / "a"), str(place / "b"), recursive=False)
    mount.remount(str(place / "b"), mount.MS_RDONLY | mount.MS_NOSUID)
    assert {"ro", "nosuid"} <= set(entry_of(place / "b").options)
    mount.set_propagation(str(place / "b"), mount.MS_SHARED)
    assert entry_of(place / "b").propagation[0].startswith("shared:")
    mount.set_propagation(str(place / "b"), mount.MS_PRIVATE)
    assert entry_of(place / "b").propagation == []
    mount.umount2(str(place / "b"), mount.UMOUNT_NOFOLLOW)
    with pytest.raises(KernelError) as caught:
        mount.umount2(str(place / "b"), mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
    expected = f"umount {place}/b (MNT_DETACH|UMOUNT_NOFOLLOW): Invalid argument"
    assert str(caught.value) == expected


def test_pivot_root_without_a_directory_for_the_old_one(place: Path) -> None:
    (place / "inside").write_text("x")

    def run() -> tuple[list[str], int]:
        ns.unshare(ns.CLONE_NEWNS)
        mount.set_propagation("/", mount.MS_PRIVATE | mount.MS_REC)
        os.chdir(place)
        mount.pivot_root(".", ".")
        mount.umount2(".", mount.MNT_DETACH)
        os.chdir("/")
        return os.listdir("/"), os.stat("/").st_dev

    names, device = in_child(run)
    assert names == ["inside"]
    assert device == place.stat().st_dev


def test_the_trace_reads_like_a_shell(place: Path) -> None:
    (place / "with space").mkdir()
    target = str(place / "with space")
    events: list[trace.Event] = []
    with trace.to(events.append):
        mount.mount("tmpfs", target, "tmpfs", mount.MS_NOSUID | mount.MS_NODEV, "mode=755")
        mount.remount(target, mount.MS_RDONLY)
        mount.set_propagation(target, mount.MS_SLAVE | mount.MS_REC)
        mount.bind(target, target, why="to show it")
        mount.umount2(target)
        mount.umount2(target, mount.MNT_DETACH)
        with pytest.raises(KernelError):
            mount.umount2(target)
    quoted = f"'{target}'"
    assert [event.shell for event in events] == [
        f"mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs {quoted}",
        f"mount -o ro,remount,bind {quoted}",
        f"mount --make-rslave {quoted}",
        f"mount --rbind {quoted} {quoted}",
        f"umount {quoted}",
        f"umount -l {quoted}",
        f"umount {quoted}",
    ]
    assert events[3].why == "to show it"
    assert events[-1].error is not None
