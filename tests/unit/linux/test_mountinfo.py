"""mountinfo: every form of line the kernel writes."""

from __future__ import annotations

import pytest

from jubako.errors import KernelError
from jubako.linux import mountinfo

TEXT = r"""22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
98 22 0:28 / /mnt/with\040space\011and\134slash ro,nosuid shared:3 master:1 - tmpfs a\043b rw
99 98 0:5 /dir/b /mnt/with\040space\011and\134slash/sub rw unbindable - btrfs /dev/x rw,subvol=/dir
100 22 0:40 net:[4026532290] /run/netns/a rw - nsfs nsfs rw
101 22 0:41 / /empty rw - none  rw
"""


def test_fields_escapes_and_optional_fields() -> None:
    root, tmpfs, sub, netns, empty = mountinfo.parse(TEXT)
    assert (root.mount_id, root.parent, root.device, root.target) == (22, 1, "254:1", "/")
    assert root.propagation == ["shared:1"]
    assert root.super_options == ["rw", "errors=remount-ro"]
    assert tmpfs.target == "/mnt/with space\tand\\slash"
    assert tmpfs.source == "a#b"
    assert tmpfs.options == ["ro", "nosuid"]
    assert tmpfs.propagation == ["shared:3", "master:1"]
    assert (sub.root, sub.fstype, sub.source) == ("/dir/b", "btrfs", "/dev/x")
    assert (netns.root, netns.propagation) == ("net:[4026532290]", [])
    assert (empty.source, empty.super_options) == ("", ["rw"])


def test_a_name_that_is_not_utf8_survives() -> None:
    raw = TEXT.encode().replace(b"/empty", b"/caf\xe9")
    entry = mountinfo.parse(raw.decode("utf-8", "surrogateescape"))[-1]
    assert entry.target.encode("utf-8", "surrogateescape") == b"/caf\xe9"


def test_below_gives_the_order_for_unmounting() -> None:
    entries = mountinfo.parse(TEXT)
    below = mountinfo.below(entries, "/mnt/with space\tand\\slash")
    assert [entry.mount_id for entry in below] == [99, 98]
    assert [entry.mount_id for entry in mountinfo.below(entries, "/mn")] == []
    assert len(mountinfo.below(entries, "/")) == 5


def test_the_file_system_of_a_path() -> None:
    assert mountinfo.filesystem_of("/proc/self/fdinfo") == "proc"
    assert mountinfo.filesystem_of("/sys") == "sysfs"
    with pytest.raises(KernelError, match="open /nowhere: No such file"):
        mountinfo.filesystem_of("/nowhere")


def test_the_mounts_of_this_process() -> None:
    targets = {entry.target for entry in mountinfo.read()}
    assert {"/", "/proc"} <= targets
