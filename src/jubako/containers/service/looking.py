"""What there is to see of containers."""

from __future__ import annotations

from jubako.containers.events import report
from jubako.containers.service.part import Part
from jubako.errors import InvalidArgument, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from jubako.containers.selecting import Filters
    from jubako.containers.stats import Watch


class Looking(Part):
    """List, inspect, logs, stats."""

    def list(
        self,
        *,
        all: bool = False,
        limit: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
        size: bool = False,
    ) -> list[dict[str, Any]]:
        """Summaries (API ContainerSummary), the newest first.

        all: also those that do not run.  limit: only so many of the newest, whatever their state.
        """
        from jubako.containers.listing import summarize

        self._recover()
        chosen = self._filters(filters) if filters else None
        everything = all or limit is not None or (chosen is not None and chosen.wants_stopped)
        found: list[dict[str, Any]] = []
        for container in self._services.table.listed(stopped=everything):
            if limit is not None and len(found) >= limit:
                break
            if chosen is None or chosen.matches(container):
                found.append(summarize(self._services, container, size=size))
        return found

    def count(self) -> dict[str, int]:
        """How many containers there are in each state that occurs."""
        self._recover()
        return self._services.table.count()

    def _filters(self, filters: Mapping[str, Sequence[str]]) -> Filters:
        from jubako.containers.selecting import Filters

        return Filters(self._services, filters)

    def inspect(self, reference: str, *, size: bool = False) -> dict[str, Any]:
        """Everything about it, as `docker inspect` shows it."""
        from jubako.containers.exec.table import ExecTable
        from jubako.containers.inspect import to_inspect
        from jubako.containers.listing import sizes

        container = self._get(reference)
        document = to_inspect(
            container.record,
            container.state(),
            endpoint=container.endpoint,
            directory=self._services.directory(container.id),
            exec_ids=ExecTable(self._services.store).live_ids(container.id),
            restart_count=container.restart_count,
            layers=self._services.images.layer_paths(container.image_id),
        )
        if container.record["HostConfig"]["Links"]:
            from jubako.containers import links

            document["HostConfig"]["Links"] = links.shown(self._services.table, container)
        if size:
            document["SizeRw"], document["SizeRootFs"] = sizes(self._services, container)
        return document

    def reproduce(self, reference: str, form: str = "run") -> str:
        """What would make the container again, without what its image and the engine's defaults
        do anyway.

        form: `run` (a command line), `compose` (a file) or `python` (a program).  What a form
        cannot say, and content of secrets that came without a file, is named in a comment.
        Raises NotFound, InvalidArgument.
        """
        from jubako.containers.reproduce import reproduce

        return reproduce(self._services, self._get(reference).record, form)

    def stats(
        self, reference: str, *, stream: bool = True, one_shot: bool = False
    ) -> Iterator[dict[str, Any]]:
        """What it uses, as the Engine API's StatsResponse objects: one a second until it is
        removed, or just one after half a second.

        one_shot: that one at once, without the sample before that a CPU percentage needs.
        """
        from jubako.containers.stats import stats

        container = self._get(reference)
        return stats(self._services, container.id, stream=stream, one_shot=one_shot)

    def watch(self, references: Sequence[str] = (), *, everything: bool = False) -> Watch:
        """The statistics of several containers, to be asked for again and again.

        references: names or IDs; without any, all that run at the time, or with `everything` all
        that there are.
        """
        from jubako.containers.stats import Watch

        self._recover()
        return Watch(self._services, references, everything=everything)

    def top(self, reference: str, ps_args: Sequence[str] = ()) -> dict[str, Any]:
        """Its processes as ps(1) of the host shows them: `Titles` and `Processes`."""
        from jubako.containers.top import top

        container = self._get(reference)
        if container.restarting:
            from jubako.containers.lifecycle import restarting

            raise restarting(container)
        if not container.running:
            raise WrongState(f"container {container.id} is not running", subject=container.id)
        found = top(self._services.runtime(container).pids(container.id), ps_args)
        report(self._services.store, container.record, "top")
        return found

    def logs(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        details: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[tuple[str, bytes]]:
        """What it has written: pairs of stream (`stdout`, `stderr`) and bytes, of one line or more.

        follow: go on until it ends.  tail: only so many of the last records.
        since, until: seconds since 1970.  timestamps: put the time before each line.
        details: put the attributes before each line that its log options asked for.
        Raises Unsupported when its log driver keeps nothing.
        """
        from jubako.containers.logs.reading import read_logs
        from jubako.containers.logs.render import Renderer

        container = self._get(reference)
        wanted = {name for name, yes in (("stdout", stdout), ("stderr", stderr)) if yes}
        if not wanted:
            raise InvalidArgument("You must choose at least one stream")
        renderer = Renderer(
            streams=wanted, since_s=since, until_s=until, timestamps=timestamps, details=details
        )
        return read_logs(self._services, container, renderer, follow=follow, tail=tail, since=since)
