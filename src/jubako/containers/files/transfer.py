"""What `ContainerService` offers of `cp`; the rules are in `rules`, the work in `placing`."""

from __future__ import annotations

import os
import stat

from jubako.containers.events import emit
from jubako.containers.files import places, rules
from jubako.containers.files.view import View, open_view
from jubako.errors import InvalidArgument, KernelError, NotFound
from jubako.images.layers.tree import TarStream, TreeWalk
from jubako.linux.openat2 import open_in_root, open_parent
from jubako.linux.statfs import is_kernel_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.containers.files.places import PathStat
    from jubako.containers.files.placing import Placer
    from jubako.containers.services import Services
    from jubako.images.stream import Readable
    from jubako.images.tar import Entry

    Entries = Iterator[tuple[Entry, int]]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Copied:
    """What a copy did.  size_bytes: as Docker counts, of a tar of it.  path: where it went."""

    __slots__ = __match_args__ = ("size_bytes", "path")

    def __init__(self, size_bytes: int, path: str):
        self.size_bytes = size_bytes
        self.path = path


class Archive(TarStream):
    """The tar of something in a container; the container's files are open until `close`."""

    def __init__(self, view: View, entries: Entries):
        super().__init__(_in_whole_seconds(entries))
        self._view = view

    def close(self) -> None:
        super().close()
        self._view.close()


def _in_whole_seconds(entries: Entries) -> Entries:
    """As Docker's: the rest of a time would take a second header for each file."""
    for entry, fd in entries:
        entry.mtime_ns -= entry.mtime_ns % 1_000_000_000
        yield entry, fd


def stat_path(services: Services, reference: str, path: str) -> PathStat:
    """See `ContainerService.stat_path`."""
    with open_view(services, reference) as view:
        return places.look(view.root, _inside(path), reference)


def get_archive(
    services: Services, reference: str, path: str, *, follow_link: bool
) -> tuple[PathStat, Archive]:
    """See `ContainerService.get_archive`."""
    view = open_view(services, reference)
    try:
        source, found = _source(view, _inside(path), reference, follow_link=follow_link)
        name = "." if rules.names_content(source.path) else found.name
        emit(services.store, view.container.record, "archive-path")
        return found, Archive(view, _entries(view.root, source.path, found, os.fsencode(name)))
    except BaseException:
        view.close()
        raise


def put_archive(services: Services, reference: str, path: str, stream: Readable) -> None:
    """See `ContainerService.put_archive`."""
    with open_view(services, reference) as view:
        _unpack(view, _inside(path), stream, reference)
        emit(services.store, view.container.record, "extract-to-dir")


def _unpack(view: View, directory: str, stream: Readable, reference: str) -> int:
    from jubako.images.stream import plain_chunks
    from jubako.images.tar import TarReader

    placer = _placer_inside(view, directory, reference)
    try:
        reader = TarReader(plain_chunks(stream, None))
        for entry in reader:
            placer.place(entry, reader.payload())
        placer.finish()
    finally:
        placer.close()
    return placer.size_bytes


def copy_from(
    services: Services,
    reference: str,
    path: str,
    destination: str,
    *,
    follow_link: bool,
    archive: bool,
) -> Copied:
    """See `ContainerService.copy_from`."""
    target = places.host_path(destination)
    places.check_output(target)
    with open_view(services, reference) as view:
        size_bytes = _copy_out(view, _inside(path), target, reference, follow_link, archive)
        emit(services.store, view.container.record, "archive-path")
        return Copied(size_bytes, target)


def copy_matching(
    services: Services,
    reference: str,
    pattern: str,
    destination: str,
    *,
    follow_link: bool,
    archive: bool,
) -> Copied:
    """See `ContainerService.copy_matching`."""
    target = places.host_path(destination)
    if not os.path.isdir(target):
        text = f"copy {pattern}: the destination {destination} must be a directory"
        raise InvalidArgument(text, subject=destination)
    with open_view(services, reference) as view:
        paths = places.matching(view.root, _inside(pattern), reference)
        size_bytes = sum(
            _copy_out(view, path, target, reference, follow_link, archive) for path in paths
        )
        emit(services.store, view.container.record, "archive-path")
        return Copied(size_bytes, target)


def _copy_out(
    view: View, path: str, target: str, reference: str, follow_link: bool, archive: bool
) -> int:
    source, found = _source(view, path, reference, follow_link=follow_link)
    plan = rules.plan(source, places.host_destination(target))
    entries = _entries(view.root, source.path, found, os.fsencode(plan.name))
    return _place_on_host(plan.directory, entries, owners=archive)


def _source(
    view: View, path: str, reference: str, *, follow_link: bool
) -> tuple[rules.CopyPath, PathStat]:
    """What is to be copied out, and what it is."""
    found = places.look(view.root, path, reference)
    source = rules.CopyPath(path)
    if follow_link and found.link:
        source = rules.after_link(path, found.link_target)
        found = places.look(view.root, source.path, reference)
    source.exists, source.directory = True, found.directory
    return source, found


def copy_to(
    services: Services, reference: str, source: str | Readable, path: str, *, follow_link: bool
) -> Copied:
    """See `ContainerService.copy_to`."""
    with open_view(services, reference) as view:
        destination = _destination(view, _inside(path), reference)
        if isinstance(source, str):
            size_bytes = _copy_in(view, source, destination, reference, follow_link=follow_link)
        elif destination.directory:
            size_bytes = _unpack(view, destination.path, source, reference)
        else:
            text = f'destination "{reference}:{path}" must be a directory'
            raise InvalidArgument(text, subject=path)
        emit(services.store, view.container.record, "extract-to-dir")
        return Copied(size_bytes, destination.path)


def _copy_in(
    view: View, path: str, destination: rules.CopyPath, reference: str, *, follow_link: bool
) -> int:
    source = places.host_source(places.host_path(path), follow_link=follow_link)
    plan = rules.plan(source, destination)
    placer = _placer_inside(view, plan.directory, reference)
    try:
        for entry, fd in _host_entries(source, os.fsencode(plan.name)):
            placer.place(entry, fd)
        placer.finish()
    finally:
        placer.close()
    return placer.size_bytes


def _inside(path: str) -> str:
    if not path:
        raise InvalidArgument("bad parameter: path cannot be empty")
    if "\0" in path:
        raise InvalidArgument("a path cannot hold a NUL byte")
    return rules.inside(path)


def _destination(view: View, path: str, reference: str) -> rules.CopyPath:
    """What is at a destination in the container; a link is followed.  Nothing is no error yet."""
    result = rules.CopyPath(path)
    found = _find(view, path, reference)
    if found is not None and found.link:
        result.path = found.link_target
        found = _find(view, result.path, reference)
    if found is None:
        return result
    if found.device:
        text = f'destination "{reference}:{path}" must be a directory or a regular file'
        raise InvalidArgument(f"{text}: got a device", subject=path)
    result.exists, result.directory = True, found.directory
    return result


def _find(view: View, path: str, reference: str) -> PathStat | None:
    try:
        return places.look(view.root, path, reference)
    except (NotFound, InvalidArgument):
        return None


def _placer_inside(view: View, directory: str, reference: str) -> Placer:
    """To make files below a directory of the container, which must be there and writable."""
    from jubako.containers.files.placing import Placer

    fd = places.open_place(view.root, directory, os.O_PATH, reference)
    try:
        status = os.fstat(fd)
        if not stat.S_ISDIR(status.st_mode):
            raise InvalidArgument("extraction point is not a directory", subject=directory)
        if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
            root = status.st_dev == os.fstat(view.root).st_dev
            what = "container rootfs" if root else "mounted volume"
            raise InvalidArgument(f"{what} is marked read-only", subject=directory)
    finally:
        os.close(fd)
    shown = places.follow(view.root, directory)
    return Placer(view.root, directory, shown=shown, owners=True)


def _place_on_host(directory: str, entries: Entries, *, owners: bool) -> int:
    from jubako.containers.files.placing import Placer

    try:
        root = os.open(directory, _DIRECTORY)
    except OSError as exc:
        raise places.refusal("stat", directory, exc) from exc
    try:
        placer = Placer(root, "", shown=directory.rstrip("/") or "/", owners=owners)
        try:
            for entry, fd in entries:
                placer.place(entry, fd)
            placer.finish()
        finally:
            placer.close()
        return placer.size_bytes
    finally:
        os.close(root)


# --- sources -------------------------------------------------------------------------------------


def _entries(root: int, path: str, found: PathStat, name: bytes) -> Entries:
    """What is at a path of a container, called `name`; with b"" without the directory itself."""
    if found.directory:
        fd = open_in_root(root, path.lstrip("/") or ".", _DIRECTORY)
        try:
            yield from _tree(fd, name)
        finally:
            os.close(fd)
        return
    fd, last = open_parent(root, path.lstrip("/"))
    try:
        yield from TreeWalk(fd, across=True).single(fd, os.fsencode(last), name)
    except OSError as exc:
        raise KernelError.from_oserror("read", exc, path=path) from exc
    finally:
        os.close(fd)


def _host_entries(source: rules.CopyPath, name: bytes) -> Entries:
    """The same of the host."""
    try:
        if source.directory:
            fd = os.open(source.path, _DIRECTORY)
        else:
            fd = os.open(os.path.dirname(source.path) or "/", os.O_PATH | _DIRECTORY)
    except OSError as exc:
        raise places.refusal("open", source.path, exc) from exc
    try:
        if source.directory:
            yield from _tree(fd, name)
        else:
            last = os.fsencode(os.path.basename(source.path))
            yield from TreeWalk(fd, across=True).single(fd, last, name)
    except FileNotFoundError as exc:
        raise places.refusal("lstat", source.path, exc) from exc
    finally:
        os.close(fd)


def _tree(fd: int, name: bytes) -> Entries:
    """An open directory and what is in it; a view of the kernel looks empty."""
    prefix = name.rstrip(b"/") + b"/" if name else b""
    walk = TreeWalk(fd, prefix=prefix, across=True)
    if prefix:
        yield walk.top(prefix), -1
    if not is_kernel_view(fd):
        yield from walk
