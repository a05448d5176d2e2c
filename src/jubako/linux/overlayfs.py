"""Overlay mounts of many layers, on new and old kernels.

6.8 and later   fsconfig("lowerdir+") once for each layer: no limit but the kernel's 500 layers
5.2 to 6.7      mount(2) with one page of options.  A layer's path has 80 bytes and more, so the
                page would hold about 50: each layer is opened and named by its descriptor,
                `lowerdir=/proc/self/fd/7:/proc/self/fd/8`, or `7:8` from within /proc/self/fd
                when that is still too long.
"""

from __future__ import annotations

import errno
import os

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import mountapi
from jubako.linux.mount import MNT_DETACH, UMOUNT_NOFOLLOW, mount, umount2
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE_BYTES = 4096  # of option data that mount(2) copies, its final NUL included

# False once the kernel has said that it knows no `lowerdir+`.
_appends = True


def option_words(
    lower: Sequence[str], upper: str | None, work: str | None, options: Mapping[str, str | None]
) -> str:
    """The options as mount(8) takes them."""
    words = ["lowerdir=" + ":".join(lower)]
    if upper:
        words += [f"upperdir={upper}", f"workdir={work}"]
    words += [key if value is None else f"{key}={value}" for key, value in options.items()]
    return ",".join(words)


@traced(
    lambda lower, upper, work, options, attributes=0, *, why="": (
        f"# fsmount(2) of an overlay of {len(lower)} layer{'s' if len(lower) > 1 else ''}"
        f"{' and ' + upper if upper else ''}, in no place yet"
    ),
    op="overlay",
)
def make(
    lower: Sequence[str],
    upper: str | None,
    work: str | None,
    options: Mapping[str, str | None],
    attributes: int = 0,
    *,
    why: str = "",
) -> int:
    """See `mountapi.overlay`."""
    global _appends
    if not lower:
        raise InvalidArgument("an overlay has at least one lower directory")
    if _appends:
        fs_fd = mountapi.fsopen("overlay")
        opened: list[int] = []
        try:
            try:
                mountapi.fsconfig_set_path(fs_fd, "lowerdir+", lower[0], opened)
            except KernelError as error:
                # An unknown parameter and a bad directory both give EINVAL: ask for one that is
                # certainly good.
                if error.errno != errno.EINVAL or _knows_append():
                    raise
                _appends = False
            else:
                return _configure(fs_fd, lower, upper, work, options, attributes, opened)
        finally:
            os.close(fs_fd)
            for fd in opened:
                os.close(fd)
    return _by_descriptor(lower, upper, work, options, attributes, why)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError.from_oserror("open", error, path=path) from error


def _knows_append() -> bool:
    fs_fd = mountapi.fsopen("overlay")
    try:
        mountapi.fsconfig_set_string(fs_fd, "lowerdir+", "/")
    except KernelError as error:
        return error.errno != errno.EINVAL
    finally:
        os.close(fs_fd)
    return True


def _configure(
    fs_fd: int,
    lower: Sequence[str],
    upper: str | None,
    work: str | None,
    options: Mapping[str, str | None],
    attributes: int,
    opened: list[int],
) -> int:
    mountapi.fsconfig_set_string(fs_fd, "source", "overlay")
    for layer in lower[1:]:
        mountapi.fsconfig_set_path(fs_fd, "lowerdir+", layer, opened)
    if upper is not None and work is not None:
        mountapi.fsconfig_set_path(fs_fd, "upperdir", upper, opened)
        mountapi.fsconfig_set_path(fs_fd, "workdir", work, opened)
    for key, value in options.items():
        if value is None:
            mountapi.fsconfig_set_flag(fs_fd, key)
        else:
            mountapi.fsconfig_set_string(fs_fd, key, value)
    what = f"overlay of {len(lower)} layers" + (f" and {upper}" if upper else "")
    mountapi.fsconfig_create(fs_fd, what)
    return mountapi.fsmount(fs_fd, attributes, what)


def _by_descriptor(
    lower: Sequence[str],
    upper: str | None,
    work: str | None,
    options: Mapping[str, str | None],
    attributes: int,
    why: str,
) -> int:
    opened: list[int] = []

    def number(path: str) -> str:
        opened.append(_open(path))
        return str(opened[-1])

    def render(prefix: str) -> str:
        words = ["lowerdir=" + ":".join(prefix + name for name in layers)]
        words += [f"{key}={prefix}{name}" for key, name in writable.items()]
        words += [key if value is None else f"{key}={value}" for key, value in options.items()]
        return ",".join(words)

    # mount(2) attaches, so the mount lies over its own upper (or first lower) directory until
    # open_tree has made the detached copy.
    target = upper if upper is not None else lower[0]
    cwd = -1
    try:
        layers = [number(path) for path in lower]
        writable = {}
        if upper is not None and work is not None:
            writable = {"upperdir": number(upper), "workdir": number(work)}
        data = render("/proc/self/fd/")
        if len(data) >= PAGE_BYTES:
            # The working directory belongs to all threads: only when nothing else is left.
            cwd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            target = os.path.abspath(target)
            os.chdir("/proc/self/fd")
            data = render("")
        mount("overlay", target, "overlay", 0, data, why="this kernel has no lowerdir+")
        try:
            fd = mountapi.clone_tree(target, recursive=False, why="this kernel has no lowerdir+")
        finally:
            umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW, why="only its detached copy is wanted")
        if attributes:
            try:
                mountapi.mount_setattr(
                    fd, "", set=attributes, flags=mountapi.AT_EMPTY_PATH, why=why
                )
            except BaseException:
                os.close(fd)
                raise
        return fd
    finally:
        if cwd >= 0:
            os.fchdir(cwd)
            os.close(cwd)
        for fd in opened:
            os.close(fd)
