"""Where EROFS layers are mounted: once for a root, for all its containers.

    monitor A ── descriptor ──┐
                              ├──> the layers' mount namespace     layers/<hex>/tree  mounted
    monitor B ── descriptor ──┘         │
        └── overlay <── made in there, put in place in the monitor's own namespace

Two mounts of one EROFS image would have two page caches.  So there is one, in a mount namespace in
which no process lives: who needs a layer goes there, mounts what is not mounted yet, makes the
overlay, and comes back.  The overlay needs no place in there.

The namespace is gone with the last descriptor of it, which monitors hold for as long as they live:
however they end, no mount is left, and the host never sees any.  Each leaves a link to its
descriptor in its container's run directory for others to find.  Layers stay mounted for as long as
the namespace lives; that of a deleted layer is unmounted by the kernel, as its directory goes.

Kernels 6.12 to 6.14 take as a layer of an overlay only what is mounted in the namespace of who asks
(clone_private_mount in fs/namespace.c).  Here it is.
"""

from __future__ import annotations

import os

from jubako.errors import KernelError
from jubako.linux import (
    erofs,
    mount,
    mountapi,
    ns,
    overlayfs,  # noqa: F401  # for `work`: in the namespace nothing is to be imported
    trace,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from jubako.store import Store

    T = TypeVar("T")

LOCK = "layer-mounts"  # held while the namespace is sought or made, and layers are mounted in it
LINK = "layers.ns"  # in the run directories of containers


class LayerMounts:
    """The layers' namespace of a root, as one user of it sees it.

    link: where to leave the link for others, for a user that lasts: it must keep `descriptor`
    open.  host: a descriptor of the mount namespace of which a new one is a copy, if that is not
    where the caller is.  descriptor: of the namespace, -1 before the first `visit`.
    """

    __slots__ = ("descriptor", "_directory", "_host", "_link", "_store")

    def __init__(self, store: Store, *, link: str = "", host: int = -1):
        self.descriptor = -1
        self._store = store
        self._directory = f"{store.path}/layers"
        self._link = link
        self._host = host

    def visit(self, layers: Sequence[str], work: Callable[[], T]) -> T:
        """Do `work` where each of the directories `layers` has its tree mounted at `<layer>/tree`.

        The calling thread must not share its root directory with others, see `visit_once`.
        Nothing may be imported in `work`.  Raises KernelError.
        """
        back = ns.open_ns("thread-self", "mount")
        stage = trace.set_stage("layers")
        try:
            with self._store.lock(LOCK):
                self._enter(back)
                self._mount(layers)
            return work()
        finally:
            ns.setns(back, ns.CLONE_NEWNS, why="back to its own mounts")
            trace.set_stage(stage)
            os.close(back)

    def close(self) -> None:
        """Let go of the namespace; idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _enter(self, back: int) -> None:
        why = "the layers are mounted once for all containers, in a namespace of their own"
        if self.descriptor >= 0:
            ns.setns(self.descriptor, ns.CLONE_NEWNS, why=why)
            return
        here = self._identity()
        for found in self._others():
            ns.setns(found, ns.CLONE_NEWNS, why=why)
            if self._identity() == here:
                self.descriptor = found
                break
            # made by somebody who sees another file system there
            os.close(found)
            ns.setns(back, ns.CLONE_NEWNS, why="those are not the layers of this engine")
        else:
            self._make()
        if self._link:
            self._leave_link()

    def _make(self) -> None:
        if self._host >= 0:
            why = "the layers' namespace is to have the host's mounts, not this container's"
            ns.setns(self._host, ns.CLONE_NEWNS, why=why)
        ns.unshare(ns.CLONE_NEWNS, why="a namespace for the layers, which the host does not see")
        why = "what the host mounts is still seen there, but not the other way round"
        mount.mount("none", "/", "", mount.MS_REC | mount.MS_SLAVE, why=why)
        self.descriptor = ns.open_ns("thread-self", "mount")

    def _identity(self) -> tuple[int, int]:
        """Which directory the layers' is, in the namespace where we are; (0, 0): none."""
        try:
            status = os.stat(self._directory)
        except OSError:
            return 0, 0
        return status.st_dev, status.st_ino

    def _others(self) -> Iterator[int]:
        """Descriptors of what running monitors hold, until one is taken."""
        for name in os.listdir(self._store.run_dir):
            try:
                target, _, inode = os.readlink(f"{self._store.run_dir}/{name}/{LINK}").partition(
                    ":"
                )
                found = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                continue  # a container without, or one whose monitor has ended
            if str(os.fstat(found).st_ino) == inode:
                yield found
            else:
                os.close(found)  # another process has that number by now

    def _leave_link(self) -> None:
        inode = os.fstat(self.descriptor).st_ino
        text = f"/proc/{os.getpid()}/fd/{self.descriptor}:{inode}"
        try:
            os.symlink(text, self._link)
        except FileExistsError:  # of a monitor that died
            os.unlink(self._link)
            os.symlink(text, self._link)

    def _mount(self, layers: Sequence[str]) -> None:
        device = os.stat(self._directory).st_dev
        for layer in layers:
            tree = f"{layer}/tree"
            try:
                if os.stat(tree).st_dev != device:
                    continue
            except OSError as exc:
                raise KernelError.from_oserror("stat", exc) from exc
            why = "a layer that nobody has used so far: names from its index, content from its tar"
            fd = erofs.mount(f"{layer}/index", f"{layer}/tar", why=why)
            try:
                mountapi.attach(fd, tree, why=why)
            finally:
                os.close(fd)


def visit_once(store: Store, layers: Sequence[str], work: Callable[[], T]) -> T:
    """`LayerMounts.visit` for a process that stays in its namespace and needs the layers once."""

    from jubako.linux.threads import in_thread  # monitors have no threads

    def run() -> T:
        why = "let this thread alone go where the layers are mounted"
        ns.unshare(ns.CLONE_NEWNS, why=why)
        mounts = LayerMounts(store)
        try:
            return mounts.visit(layers, work)
        finally:
            mounts.close()

    return in_thread(run)
