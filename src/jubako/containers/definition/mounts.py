"""Which mounts a container has, and what must happen before they can be made.

create    resolve_mounts   options and image -> mount points; volumes are made and counted
start     open_shared      in the host's mount namespace: sources whose mounts travel both ways
          fill_volumes     the image's content into new volumes
          stage            make missing sources, mount what volumes mount, pin sub-paths
"""

from __future__ import annotations

import errno
import os

from jubako.containers.definition import binds
from jubako.errors import InvalidArgument, KernelError, NotFound
from jubako.linux import mountapi, openat2
from jubako.linux.statfs import TMPFS_MAGIC, filesystem_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jubako.containers.model import Config, ContainerRecord, HostConfig, MountPoint
    from jubako.linux.mountinfo import MountEntry
    from jubako.volumes import VolumeService

    Holders = Callable[[str], Iterable[tuple[int, str]]]

OWNER_OPTIONS = frozenset(("uid", "gid", "mode"))  # of a volume that was made with an owner
_SHARED = ("shared", "rshared")
_SLAVE = ("slave", "rslave")


def resolve_mounts(
    container_id: str,
    config: Config,
    host_config: HostConfig,
    volumes: VolumeService,
    other: Callable[[str], ContainerRecord],
    image: Callable[[str], str],
) -> list[MountPoint]:
    """Decide a new container's mount points, in Docker's order of precedence.

    --volumes-from, then -v, then --mount; then the volumes of the image and -v TARGET where nothing
    is yet.  Named and anonymous volumes are created and their use is recorded.
    other: the record of a container by name or ID.  image: the ID of an image by its name.
    HostConfig.Tmpfs stays where it is.
    On failure the uses are released and the volumes made for this container alone are gone.
    Raises InvalidArgument, NotFound.
    """
    try:
        return _resolve(container_id, config, host_config, volumes, other, image)
    except BaseException:
        for name in volumes.release(container_id):
            volumes.remove_if_unused(name)
        raise


def _resolve(
    container_id: str,
    config: Config,
    host: HostConfig,
    volumes: VolumeService,
    other: Callable[[str], ContainerRecord],
    image: Callable[[str], str],
) -> list[MountPoint]:
    points: dict[str, MountPoint] = {}
    tmpfs = {binds.clean(target) for target in host.get("Tmpfs") or ()}
    given: set[str] = set()

    def claim(point: MountPoint, taken: set[str]) -> None:
        target = point["Destination"]
        if target in taken:
            raise InvalidArgument(f"Duplicate mount point: {target}", subject=target)
        given.add(target)

    def volume(point: MountPoint) -> MountPoint:
        return _with_volume(point, container_id, volumes)

    for text in host.get("VolumesFrom") or ():
        reference, mode = binds.parse_volumes_from(text)
        for theirs in other(reference)["Mounts"]:
            points[theirs["Destination"]] = _inherited(theirs, mode, container_id, volumes)
    for text in host.get("Binds") or ():
        point = binds.parse_bind(text, host.get("VolumeDriver") or "")
        claim(point, given | tmpfs)
        points[point["Destination"]] = volume(point) if point["Type"] == "volume" else point
    for spec in host.get("Mounts") or ():
        point = binds.parse_mount(spec)
        claim(point, given)
        if point["Type"] == "image":
            point["ImageId"] = image(point["Source"])
        points[point["Destination"]] = volume(point) if point["Type"] == "volume" else point
    for path in sorted(config.get("Volumes") or ()):
        target = binds.clean(path)
        if target not in points and target not in tmpfs:
            points[target] = volume(_anonymous(target))
    _release_hidden(container_id, points, volumes)
    return list(points.values())


def _anonymous(target: str) -> MountPoint:
    binds.check_tmpfs_target(target)
    return {
        "Type": "volume",
        "Name": "",
        "Source": "",
        "Destination": target,
        "Driver": "",
        "Mode": "",
        "RW": True,
        "Propagation": "",
        "CopyData": True,
    }


def _with_volume(point: MountPoint, container_id: str, volumes: VolumeService) -> MountPoint:
    options = (point.get("Spec") or {}).get("VolumeOptions") or {}
    made = volumes.create(
        point["Name"] or None,
        driver=point["Driver"] or "local",
        labels=options.get("Labels"),
        options=(options.get("DriverConfig") or {}).get("Options"),
        container_id=container_id,
        durable=False,  # the container's row follows, and is flushed with it
    )
    result: MountPoint = {
        "Type": "volume",
        "Name": made["Name"],
        "Source": made["Mountpoint"],
        "Destination": point["Destination"],
        "Driver": made["Driver"],
        # Docker shares the SELinux label of named volumes
        "Mode": point["Mode"] or ("z" if point.get("Spec") else ""),
        "RW": point["RW"],
        "Propagation": "",
        "CopyData": point["CopyData"],
    }
    if not point["Name"]:
        result["Anonymous"] = True
    if "Spec" in point:
        result["Spec"] = point["Spec"]
    if point.get("Chown"):
        result["Chown"] = True
    if OWNER_OPTIONS.intersection(made["Options"] or ()):
        result["KeepOwner"] = True
    return result


def _inherited(
    theirs: MountPoint, mode: str, container_id: str, volumes: VolumeService
) -> MountPoint:
    """A mount of another container, which may get read-only but never writable on the way."""
    point: MountPoint = {**theirs}
    point["RW"] = theirs["RW"] and "ro" not in mode.split(",")
    point["CopyData"] = False
    point.pop("Anonymous", None)  # it goes with the container that it was made for
    point.pop("Chown", None)  # and belongs to that one's user
    if theirs["Type"] == "volume":
        volumes.use(theirs["Name"], container_id)
    return point


def _release_hidden(
    container_id: str, points: Mapping[str, MountPoint], volumes: VolumeService
) -> None:
    """A later option may have replaced a mount of --volumes-from: its volume is not used."""
    kept = {point["Name"] for point in points.values() if point["Type"] == "volume"}
    hidden = [name for name in volumes.used_by(container_id) if name not in kept]
    if hidden:
        volumes.release(container_id, hidden)


def fill_volumes(record: ContainerRecord, rootfs_fd: int) -> bool:
    """Copy the image's content into the container's empty volumes, once in a container's life.

    Returns whether the record changed (CopyData is cleared), so that the caller stores it.
    """
    changed = False
    for point in record["Mounts"]:
        if point.get("CopyData"):
            copy_up(rootfs_fd, point)
            point["CopyData"] = False
            changed = True
    return changed


def copy_up(rootfs_fd: int, point: MountPoint) -> bool:
    """Copy what the image has at the mount's place into its volume, while that is empty.

    rootfs_fd: the mounted root file system, in which no process runs yet.
    Owners, modes, times, attributes and hard links are kept; no link leads out of either side.
    Volumes with driver options are not filled.  Returns whether anything was copied.
    """
    from jubako.volumes import copy

    options = (point.get("Spec") or {}).get("VolumeOptions") or {}
    if (options.get("DriverConfig") or {}).get("Options") or options.get("Subpath"):
        return False
    try:
        source = openat2.open_in_root(rootfs_fd, point["Destination"], os.O_RDONLY | os.O_DIRECTORY)
    except KernelError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    try:
        return copy.fill(source, point["Source"], keep_owner=point.get("KeepOwner", False))
    finally:
        os.close(source)


def open_shared(points: Sequence[MountPoint]) -> dict[str, int]:
    """Copies of bind sources whose mounts shall travel between host and container.

    Called in the host's mount namespace, before the monitor leaves it: a copy made later would
    belong to no peer group of the host.  Returns destination -> detached mount, mostly nothing.
    Raises InvalidArgument when the source's mount is not shared (or slave), as Docker does.
    """
    wanted = [point for point in points if point.get("Propagation") in _SHARED + _SLAVE]
    if not wanted:
        return {}
    from jubako.linux import mountinfo

    entries = mountinfo.read()
    opened: dict[str, int] = {}
    try:
        for point in wanted:
            _make_source(point)
            _check_propagation(point, entries)
            if point["Propagation"] in _SHARED:
                opened[point["Destination"]] = mountapi.clone_tree(
                    point["Source"], why="later mounts in this directory are seen by both sides"
                )
    except BaseException:
        for fd in opened.values():
            os.close(fd)
        raise
    return opened


def stage(
    points: Sequence[MountPoint],
    directory: str,
    volumes: VolumeService,
    *,
    opened: Mapping[str, int] | None = None,
    holders: Holders | None = None,
    view: Callable[[str, str], None] | None = None,
) -> dict[str, str]:
    """Make every source of a bind ready in the caller's own mount namespace.

    That namespace must not pass mounts on to the host (MS_SLAVE or MS_PRIVATE).

    directory: an empty place of this container for mounts, made when needed.
    opened: what `open_shared` returned; the descriptors are closed.
    holders: for a volume, the (pid, path) of running containers that have it mounted, so that a
    tmpfs is shared instead of mounted twice.
    view: mounts the files of an image, by its ID, at a path, read-only.
    Returns destination -> path to bind, for the mounts whose path is not the record's Source.
    Raises InvalidArgument, NotFound (a volume is gone), KernelError.
    """
    sources: dict[str, str] = {}
    fds = dict(opened or {})
    try:
        for index, point in enumerate(points):
            target = point["Destination"]
            if point["Type"] == "bind":
                _make_source(point)
                if target in fds:
                    sources[target] = _place(fds[target], f"{directory}/{index}", target)
            elif point["Type"] == "volume":
                path = _volume_source(point, volumes, f"{directory}/{index}", holders)
                if path != point["Source"]:
                    sources[target] = path
            elif point["Type"] == "image" and view is not None:
                sources[target] = _image_source(point, f"{directory}/{index}", view)
    finally:
        for fd in fds.values():
            os.close(fd)
    return sources


def _make_source(point: MountPoint) -> None:
    """-v makes a missing directory on the host, owned by root, as Docker does."""
    if not point.get("CreateSource") or os.path.lexists(point["Source"]):
        return
    try:
        os.makedirs(point["Source"], mode=0o755, exist_ok=True)
    except NotADirectoryError:
        pass  # the bind itself will say what is wrong
    except OSError as exc:
        raise KernelError.from_oserror("create mount source", exc, path=point["Source"]) from exc


def _check_propagation(point: MountPoint, entries: list[MountEntry]) -> None:
    source = os.path.realpath(point["Source"])
    found: MountEntry | None = None
    for entry in entries:
        if source == entry.target or source.startswith(entry.target.rstrip("/") + "/"):
            if found is None or len(entry.target) >= len(found.target):
                found = entry
    fields = " ".join(found.propagation) if found else ""
    where = found.target if found else "?"
    if point["Propagation"] in _SHARED and "shared:" not in fields:
        raise InvalidArgument(
            f"path {point['Source']} is mounted on {where} but it is not a shared mount",
            subject=point["Source"],
        )
    if point["Propagation"] in _SLAVE and "shared:" not in fields and "master:" not in fields:
        raise InvalidArgument(
            f"path {point['Source']} is mounted on {where} but it is not a shared or slave mount",
            subject=point["Source"],
        )


def _volume_source(
    point: MountPoint, volumes: VolumeService, place: str, holders: Holders | None
) -> str:
    from jubako.volumes import options as driver_options

    name = point["Name"]
    try:
        path = volumes.path(name)
    except NotFound as exc:
        raise NotFound(f"volume {name} of the container is gone", subject=name) from exc
    options = volumes.options(name)
    if driver_options.needs_mount(options):
        shared = None
        if options.get("type") == "tmpfs" and holders is not None:
            shared = _from_holder(holders(name))
        if shared is not None:
            try:
                mountapi.move_mount(
                    shared,
                    "",
                    mountapi.AT_FDCWD,
                    path,
                    mountapi.MOVE_MOUNT_F_EMPTY_PATH,
                    why=f"volume {name}, as another container has it mounted",
                )
            finally:
                os.close(shared)
        else:
            driver_options.attach(options, path, why=f"volume {name} with its driver options")
    subpath = ((point.get("Spec") or {}).get("VolumeOptions") or {}).get("Subpath")
    if subpath:
        return _pin_subpath(path, subpath, place)
    return path


def _image_source(point: MountPoint, place: str, view: Callable[[str, str], None]) -> str:
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise KernelError.from_oserror("create mount point", exc, path=place) from exc
    view(point["ImageId"], place)
    subpath = ((point.get("Spec") or {}).get("ImageOptions") or {}).get("Subpath")
    return _pin_subpath(place, subpath, f"{place}-part") if subpath else place


def _from_holder(holders: Iterable[tuple[int, str]]) -> int | None:
    """A detached copy of a mount in a running container's mount namespace, if one can be had."""
    from jubako.linux import ns

    for pid, target in holders:
        try:
            theirs = ns.open_ns(pid, "mount")
        except KernelError:
            continue  # it ended meanwhile
        try:
            ours = ns.open_ns("self", "mount")
            try:
                ns.setns(theirs, ns.CLONE_NEWNS, why="the volume exists only in another container")
                try:
                    return clone_visible(target, fstype=TMPFS_MAGIC)
                except KernelError:
                    continue
                finally:
                    ns.setns(ours, ns.CLONE_NEWNS, why="back to its own mounts")
            finally:
                os.close(ours)
        finally:
            os.close(theirs)
    return None


def clone_visible(path: str, *, fstype: int = 0) -> int:
    """A detached copy of the mount at `path` in the mount namespace that this process has joined.

    The container there may have replaced parts of the path by links, also by magic ones: in its
    /proc a process that is entering it still has the host's root.  None leads out.
    fstype: what must be found, 0 for anything.  Raises KernelError.
    """
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = openat2.open_in_root(root, path.lstrip("/") or ".", os.O_PATH)
    finally:
        os.close(root)
    try:
        if fstype and filesystem_type(found) != fstype:
            raise KernelError("open mount", errno.EINVAL, path=path)
        return mountapi.clone_tree(found, recursive=False, why=f"what is at {path} is shared")
    finally:
        os.close(found)


def _pin_subpath(path: str, subpath: str, place: str) -> str:
    """Bind a directory or file of a volume somewhere safe: the container that shares the volume
    may replace any part of the path by a link at any moment."""
    root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            inside = openat2.openat2(
                root,
                subpath,
                os.O_PATH | os.O_CLOEXEC,
                0,
                openat2.RESOLVE_BENEATH | openat2.RESOLVE_NO_MAGICLINKS,
            )
        except KernelError as exc:
            if exc.errno == errno.ENOENT:
                raise NotFound(
                    f"cannot access path {path}/{subpath}: no such file or directory",
                    subject=subpath,
                ) from exc
            raise
    finally:
        os.close(root)
    try:
        tree = mountapi.clone_tree(inside, why=f"{subpath} of a volume, held fast")
        try:
            return _place(tree, place, subpath, directory=_is_directory(inside))
        finally:
            os.close(tree)
    finally:
        os.close(inside)


def _is_directory(fd: int) -> bool:
    import stat

    return stat.S_ISDIR(os.fstat(fd).st_mode)


def _place(tree_fd: int, place: str, what: str, *, directory: bool | None = None) -> str:
    """Attach a detached mount at `place`, which is made as what the mount's root is."""
    if directory is None:
        directory = _is_directory(tree_fd)
    parent = os.path.dirname(place)
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        if directory:
            os.makedirs(place, mode=0o700, exist_ok=True)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise KernelError.from_oserror("create mount point", exc, path=place) from exc
    mountapi.move_mount(
        tree_fd,
        "",
        mountapi.AT_FDCWD,
        place,
        mountapi.MOVE_MOUNT_F_EMPTY_PATH,
        why=f"the source of the mount at {what}, in a place that only the engine knows",
    )
    return place
