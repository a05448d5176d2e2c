"""`export` and `commit`: a container's file system as a tar, or as a new image."""

from __future__ import annotations

from contextlib import closing

from jubako.containers.events import report
from jubako.containers.files.diff import made_by_engine
from jubako.images.stream import Prefetch
from jubako.oci.reference import parse
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from jubako.containers.services import Services
    from jubako.containers.table import Container


def export(services: Services, container: Container, out: BinaryIO) -> None:
    """Write the whole root filesystem as a tar, without volumes and without /proc and the like.

    Works whether it runs or not: the layers and its writable directory are read where they lie, so
    that nothing is mounted and no process is made.
    """
    diff_ids = services.images.diff_ids(container.image_id)
    upper = f"{services.directory(container.id)}/upper"
    with services.images.layers.stack_tar(diff_ids, upper) as tar:
        # Files are read while those before them are written.
        with closing(Prefetch(tar, patient=True)) as pieces:
            for piece in pieces:
                out.write(piece)


def commit(
    services: Services,
    container: Container,
    reference: str | None,
    *,
    author: str,
    message: str,
    changes: Sequence[str],
) -> str:
    """Make an image of the container's parent image and what the container wrote; its ID.

    The caller pauses the container if the state must be consistent.
    """
    upper = f"{services.directory(container.id)}/upper"
    point("containers.commit.begin")
    ours = made_by_engine(services, container)
    with services.images.layers.diff(upper, leave_out=ours) as layer:
        image_id = services.images.commit(
            container.image_id,
            layer,
            dict(container.record["Config"]),
            author=author,
            message=message,
            changes=changes,
            reference=reference,
            container_id=container.id,
        )
    name = parse(reference).tagged().familiar() if reference else ""
    report(
        services.store,
        container.record,
        "commit",
        comment=message,
        imageID=image_id,
        imageRef=name,
    )
    return image_id
