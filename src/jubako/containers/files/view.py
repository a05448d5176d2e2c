"""A container's files as a descriptor of its root directory.

running    the root of its own mount namespace: volumes, binds and what it has in memory are there
stopped    its layers, its writable directory, its volumes and binds, mounted in a namespace that
           lives as long as the view; the container's lock is held, so that it does not start

To be in another mount namespace takes a thread of its own, not a process: it goes there, opens the
root directory and ends.  No module is imported there, whose file would be the container's.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from jubako.errors import KernelError, WrongState
from jubako.linux import ns, pidfd
from jubako.linux.threads import in_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container

_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_TRIES = 3  # it may end, or start, between the look at its row and the entry


class View:
    """root: a descriptor of the container's root directory, valid until `close`.

    container: its row when the view was opened.
    """

    def __init__(self, container: Container, root: int, opened: ExitStack):
        self.container = container
        self.root = root
        self._opened = opened

    def __enter__(self) -> View:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files and of the container; idempotent."""
        self._opened.close()


def open_view(services: Services, reference: str) -> View:
    """The files of a container.

    Of one that does not run the lock is held meanwhile: it cannot be started or removed.
    Raises NotFound, WrongState, KernelError.
    """
    for _ in range(_TRIES):
        container = services.table.get(reference)
        with ExitStack() as opened:
            if not container.running:
                from jubako.containers.lifecycle import Lifecycle

                container = opened.enter_context(Lifecycle(services).locked(reference))
            if not container.running:
                root, namespace = _mount_apart(services, container)
                opened.callback(os.close, namespace)
            else:
                opened.close()  # it was started while we waited for the lock
                found = _root_of(services, container)
                if found is None:
                    continue
                root = found
            opened.callback(os.close, root)
            return View(container, root, opened.pop_all())
    raise WrongState(f"container {reference} is starting and ending again and again")


def _root_of(services: Services, container: Container) -> int | None:
    """The root directory of a running container's mount namespace; None if it has ended."""
    try:
        handle = pidfd.open(container.pid)
    except KernelError as exc:
        if exc.errno != errno.ESRCH:
            raise
        return None
    try:
        # the descriptor names init for certain only if the row still does
        current = services.table.find(container.id)
        if current is None or current.pid != container.pid:
            return None
        return in_thread(lambda: _enter(handle))
    except KernelError as exc:
        if exc.errno != errno.ESRCH:
            raise
        return None
    finally:
        os.close(handle)


def _enter(handle: int) -> int:
    why = "let this thread alone go where the container's mounts are"
    ns.unshare(ns.CLONE_NEWNS, why=why)
    ns.setns(handle, ns.CLONE_NEWNS, why="see the container's files as the container does")
    return os.open("/", _ROOT)


def _mount_apart(services: Services, container: Container) -> tuple[int, int]:
    return in_thread(lambda: _mount(services.store.path, container))


def _mount(store: str, container: Container) -> tuple[int, int]:
    """The root directory of a container that does not run, and its mount namespace."""
    from jubako.containers.services import Services
    from jubako.containers.setup import Setup
    from jubako.runtime.options import Options
    from jubako.runtime.rootfs import Root
    from jubako.runtime.sources import open_sources
    from jubako.store import Store

    services = Services(Store(store))  # a database connection belongs to one thread
    setup = Setup(services, container)
    namespace = -1
    try:
        setup.isolate_mounts()
        namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        setup.mount_rootfs()
        setup.fill_volumes()
        mounts = setup.binds()
        spec = {"root": {"path": setup.rootfs}, "mounts": mounts, "linux": {}}
        options = [Options(mount["options"]) for mount in mounts]
        sources = open_sources(spec, services.directory(container.id), options)
        try:
            root = Root(sources.root)
            root.attach()
            for index, mount in enumerate(mounts):
                root.bind(sources.mounts[index], mount["destination"])
            if container.record["HostConfig"]["ReadonlyRootfs"]:
                root.make_root_readonly()
            opened, sources.root = sources.root, -1
            return opened, namespace
        finally:
            sources.close()
    except BaseException:
        if namespace >= 0:
            os.close(namespace)
        raise
    finally:
        setup.close()
        services.close()
