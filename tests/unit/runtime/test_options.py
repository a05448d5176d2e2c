"""Words of mount options to flags."""

from __future__ import annotations

import pytest

from jubako.errors import InvalidArgument
from jubako.linux import mount, mountapi
from jubako.runtime.options import FLAGS, Options


def test_flags_and_data_are_told_apart() -> None:
    options = Options(["nosuid", "noexec", "mode=755", "size=64k", "ro"])
    assert options.flags == mount.MS_NOSUID | mount.MS_NOEXEC | mount.MS_RDONLY
    assert options.data == "mode=755,size=64k"
    assert not options.bind


def test_the_last_word_wins() -> None:
    assert Options(["ro", "rw"]).flags == 0
    assert Options(["rw", "ro"]).flags == mount.MS_RDONLY
    assert Options(["rw", "ro"]).cleared == 0


def test_a_bind_and_its_propagation() -> None:
    options = Options(["rbind", "rprivate", "shared"])
    assert options.bind and options.recursive
    private = mount.MS_PRIVATE | mount.MS_REC
    assert options.propagation == [private, mount.MS_SHARED]


@pytest.mark.parametrize(
    ("words", "put", "clear"),
    [
        (["ro", "nosuid"], mountapi.MOUNT_ATTR_RDONLY | mountapi.MOUNT_ATTR_NOSUID, 0),
        (["rw", "dev"], 0, mountapi.MOUNT_ATTR_RDONLY | mountapi.MOUNT_ATTR_NODEV),
        (["noatime"], mountapi.MOUNT_ATTR_NOATIME, mountapi.MOUNT_ATTR__ATIME),
        (["relatime"], 0, mountapi.MOUNT_ATTR__ATIME),
        ([], 0, 0),
    ],
)
def test_attributes_of_one_mount(words: list[str], put: int, clear: int) -> None:
    assert Options(["bind", *words]).attributes() == (put, clear)


def test_attributes_of_a_whole_tree() -> None:
    options = Options(["rro", "rnoexec", "rexec", "rnoatime"])
    assert options.set_all == mountapi.MOUNT_ATTR_RDONLY | mountapi.MOUNT_ATTR_NOATIME
    assert options.clear_all == mountapi.MOUNT_ATTR_NOEXEC | mountapi.MOUNT_ATTR__ATIME


def test_words_of_the_runtime() -> None:
    options = Options(["tmpcopyup", "ridmap", "size=1m"])
    assert (options.copy_up, options.idmap, options.data) == (True, "ridmap", "size=1m")


def test_a_null_byte_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        Options(["mode=755\0x"])


def test_every_flag_has_its_opposite_or_is_one() -> None:
    for word, (clears, flag) in FLAGS.items():
        assert flag or word == "defaults"
        if clears:
            assert any(other == flag and not c for c, other in FLAGS.values()), word
