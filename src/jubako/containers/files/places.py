"""Looking at paths, of a container below its root and of the host, in the words of `docker cp`."""

from __future__ import annotations

import errno
import os
import stat

from jubako.containers.files import rules
from jubako.errors import InvalidArgument, JubakoError, KernelError, NotFound
from jubako.golang.quote import quote
from jubako.linux.openat2 import open_in_root
from jubako.linux.statfs import is_kernel_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_LINKS = 255  # as Go's filepath.EvalSymlinks
_MAX_DESTINATION_LINKS = 10  # as Docker's archive package
_LOOK = os.O_PATH | os.O_NOFOLLOW

# Go's os.FileMode has its own bits above the permissions.
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class PathStat:
    """What is at a path of a container; a link as the last component is not followed.

    name: the last component.  mode: as of stat(2).  link_target: of a link, the absolute path where
    it leads in the container, as far as there is anything; else "".
    """

    __slots__ = ("link_target", "mode", "mtime_ns", "name", "size_bytes")

    def __init__(self, name: str, status: os.stat_result, link_target: str):
        self.name = name
        self.size_bytes = status.st_size
        self.mode = status.st_mode
        self.mtime_ns = status.st_mtime_ns
        self.link_target = link_target

    @property
    def directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def device(self) -> bool:
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)

    def to_api(self) -> dict[str, Any]:
        """The header X-Docker-Container-Path-Stat, before it is encoded; mode is Go's FileMode."""
        from jubako.containers.times import timestamp

        mode = stat.S_IMODE(self.mode) & 0o777 | _GO_TYPES.get(stat.S_IFMT(self.mode), 0)
        mode |= sum(bit for mask, bit in _GO_BITS.items() if self.mode & mask)
        return {
            "name": self.name,
            "size": self.size_bytes,
            "mode": mode,
            "mtime": timestamp(self.mtime_ns),
            "linkTarget": self.link_target,
        }


def missing(path: str, container: str) -> NotFound:
    return NotFound(f"Could not find the file {path} in container {container}", subject=path)


def open_place(root: int, path: str, flags: int, container: str) -> int:
    """Open a path of a container.

    Raises NotFound, InvalidArgument (a file in the place of a directory, too many links).
    """
    try:
        return open_in_root(root, path.lstrip("/") or ".", flags)
    except KernelError as exc:
        if exc.errno == errno.ENOENT:
            raise missing(path, container) from exc
        raise refusal("lstat", path, exc) from exc


def look(root: int, path: str, container: str) -> PathStat:
    """What is at `path`, which is absolute and clean.

    What is in /proc, /sys and their kin is not there: those are no files of the container.
    Raises NotFound, InvalidArgument.
    """
    fd = open_place(root, path, _LOOK, container)
    try:
        status = os.fstat(fd)
        if is_kernel_view(fd) and not is_top_of_view(root, path):
            raise missing(path, container)
    finally:
        os.close(fd)
    target = follow(root, path) if stat.S_ISLNK(status.st_mode) else ""
    return PathStat(os.path.basename(path.rstrip("/")) or "/", status, target)


def matching(root: int, pattern: str, container: str) -> list[str]:
    """The paths whose last component matches a shell's pattern, sorted; `*` needs no hidden name.

    The directory is taken as it is: nothing in it is a pattern.  Raises NotFound, also for none.
    """
    from fnmatch import fnmatchcase

    directory, wanted = rules.split(pattern)
    fd = open_place(root, directory, os.O_RDONLY | os.O_DIRECTORY, container)
    try:
        names = [] if is_kernel_view(fd) else sorted(os.listdir(fd))
    finally:
        os.close(fd)
    found = [
        f"{directory.rstrip('/')}/{name}"
        for name in names
        if fnmatchcase(name, wanted) and (wanted.startswith(".") or not name.startswith("."))
    ]
    if not found:
        raise NotFound(f"no file matches {pattern} in container {container}", subject=pattern)
    return found


def is_top_of_view(root: int, path: str) -> bool:
    """Whether the directory above `path` is one of files: /proc is there, /proc/stat is not."""
    above = open_in_root(root, rules.split(path)[0].lstrip("/") or ".", os.O_PATH)
    try:
        return not is_kernel_view(above)
    finally:
        os.close(above)


def follow(root: int, path: str) -> str:
    """`path` without links, as far as there is anything; what is missing stays as it is.

    The answer is only a text: it may be wrong a moment later, and must be resolved in the root.
    Raises InvalidArgument (the links go in a circle).
    """
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del done[-1:]
            continue
        target = _link(root, "/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise InvalidArgument(f"lstat {path}: too many links", subject=path)
        if target.startswith("/"):
            done.clear()
        todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
    return "/" + "/".join(done)


def _link(root: int, path: str) -> str | None:
    try:
        fd = open_in_root(root, path, _LOOK)
    except KernelError:
        return None
    try:
        return os.readlink("", dir_fd=fd)
    except OSError:
        return None
    finally:
        os.close(fd)


# --- the host ------------------------------------------------------------------------------------


def host_path(path: str) -> str:
    """An absolute path of the host, with the ending that was given."""
    return rules.with_ending(os.path.abspath(path), path)


def host_source(path: str, *, follow_link: bool) -> rules.CopyPath:
    """Something of the host that is to be copied; links before the last component are followed,
    with `follow_link` that one too.  Raises NotFound, InvalidArgument.
    """
    directory, name = os.path.split(path)
    if follow_link:
        resolved = rules.after_link(path, _real(path))
    else:
        where = _real(directory or "/").rstrip("/")
        resolved = rules.CopyPath(f"{where}/{name}")
        if path.endswith("/") and rules.split(path)[1] != rules.split(resolved.path)[1]:
            resolved.rename = rules.split(path)[1]
    try:
        status = os.lstat(resolved.path)
    except NotADirectoryError as exc:
        raise InvalidArgument("not a directory", subject=path) from exc
    except OSError as exc:
        raise refusal("lstat", resolved.path, exc) from exc
    resolved.exists = True
    resolved.directory = stat.S_ISDIR(status.st_mode)
    return resolved


def _real(path: str) -> str:
    try:
        return os.path.realpath(path, strict=True)
    except OSError as exc:
        name = os.fsdecode(exc.filename) if exc.filename is not None else path
        raise refusal("lstat", name, exc) from exc


def host_destination(path: str) -> rules.CopyPath:
    """Where something is to be copied on the host; links are followed, also to what is not there
    yet, but its directory must be.  Raises NotFound, InvalidArgument.
    """
    original = path
    for _ in range(_MAX_DESTINATION_LINKS + 2):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return _new_destination(path)
        except OSError as exc:
            raise refusal("lstat", path, exc) from exc
        if not stat.S_ISLNK(status.st_mode):
            return rules.CopyPath(path, exists=True, directory=stat.S_ISDIR(status.st_mode))
        target = os.readlink(path)
        if not target.startswith("/"):
            target = os.path.normpath(os.path.join(rules.split(path)[0], target))
        path = target
    raise InvalidArgument(f"too many symlinks in {original}", subject=original)


def _new_destination(path: str) -> rules.CopyPath:
    parent = rules.split(path)[0]
    try:
        status = os.stat(parent)
    except OSError as exc:
        raise refusal("stat", parent, exc) from exc
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidArgument("not a directory", subject=parent)
    return rules.CopyPath(path)


def check_output(path: str) -> None:
    """Refuse a destination on the host before anything is fetched, as Docker's client does."""
    directory = os.path.dirname(os.path.normpath(path))
    if directory and not _exists(directory):
        raise NotFound(f"invalid output path: directory {quote(directory)} does not exist")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as exc:
        raise refusal("stat", path, exc) from exc
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        text = f"invalid output path: {quote(path)} must be a directory or a regular file"
        raise InvalidArgument(f"{text}: got a device", subject=path)


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def refusal(op: str, path: str, exc: OSError) -> JubakoError:
    """An error about a path, in the words of Go's os package."""
    number = exc.errno or 0
    text = f"{op} {path}: {os.strerror(number).lower()}"
    kind = NotFound if number == errno.ENOENT else InvalidArgument
    return kind(text, subject=path)
