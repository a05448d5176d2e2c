"""`jubako pull`: an image, or all tags of a repository, from its registry."""

from __future__ import annotations

from jubako.cli import table
from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.cli.progress import ProgressDisplay
from jubako.cli.units import human_size
from jubako.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.images.pulling import Plan, PlannedLayer
    from jubako.oci.reference import Reference
    from jubako.registry.headers import Quota

COMMAND = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    (
        Flag("all-tags", "a"),
        Flag("disable-content-trust", default=True),
        Flag("dry-run"),
        Flag("lazy"),
        Flag("platform", "", STRING),
        Flag("quiet", "q"),
    ),
    minimum=1,
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    reference = parse(call.args[0])
    quiet, all_tags = call.flag("quiet"), call.flag("all-tags")
    if all_tags and (reference.tag is not None or reference.digest is not None):
        raise Refused("tag can't be used with --all-tags/-a")
    if all_tags and call.flag("dry-run"):
        raise Refused("conflicting options: cannot specify both --dry-run and --all-tags")
    if call.flag("lazy") and (all_tags or call.flag("dry-run")):
        other = "--all-tags" if all_tags else "--dry-run"
        raise Refused(f"conflicting options: cannot specify both --lazy and {other}")
    if not all_tags and reference.tag is None and reference.digest is None:
        reference = reference.tagged()
        if not quiet:
            session.out(f"Using default tag: {reference.tag}")
    platform = call.text("platform") or None
    if call.flag("dry-run"):
        plan = session.engine.images.plan_pull(str(reference), platform=platform)
        _show_plan(session, plan, quiet)
        _show_quota(session, reference, plan.quota)
        return 0
    with ProgressDisplay(session, quiet=quiet) as show:
        pulled = session.engine.images.pull(
            str(reference),
            platform=platform,
            all_tags=all_tags,
            progress=show,
            lazy=call.flag("lazy"),
        )
    session.out(str(reference))
    if pulled and not quiet:
        _show_quota(session, reference, pulled[-1].quota)
    return 0


def _show_plan(session: Session, plan: Plan, quiet: bool) -> None:
    if not quiet:
        rows = [_row(layer) for layer in plan.layers]
        session.out(table.rows(("LAYER", "SIZE", "TO FETCH"), rows))
        session.out(f"Digest: {plan.digest}")
        state = "Would download newer image" if plan.is_new else "Image is up to date"
        session.out(f"Status: {state} for {plan.reference.familiar()}")
    missing = sum(layer.fetch_bytes > 0 for layer in plan.layers)
    session.out(
        f"{human_size(plan.fetch_bytes)} to fetch in {missing} of {len(plan.layers)} layers, "
        f"{human_size(plan.here_bytes)} here already"
    )


def _row(layer: PlannedLayer) -> tuple[str, str, str]:
    missing = human_size(layer.fetch_bytes) if layer.fetch_bytes else "here already"
    return layer.digest.encoded[:12], human_size(layer.size_bytes), missing


def _show_quota(session: Session, reference: Reference, quota: Quota | None) -> None:
    """To stderr: stdout is what Docker prints."""
    if quota is None:
        return
    limit = f" of {quota.limit}" if quota.limit >= 0 else ""
    window = ""
    if quota.window_s:
        hours, minutes = quota.window_s // 3600, quota.window_s % 3600 // 60
        window = f" in {hours}h{minutes:02}m" if hours else f" in {minutes}m"
    session.err(f"{reference.domain} allows {quota.remaining}{limit} more pulls{window}")
