"""`jubako manifest annotate`: say for which platform a manifest of a local list is."""

from __future__ import annotations

from jubako.cli.flags import STRING, Command, Flag, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

_STRINGS = Kind("strings", lambda text: text.split(","), many=True, zero=())
COMMAND = Command(
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    (
        Flag("arch", "", STRING),
        Flag("os", "", STRING),
        Flag("os-features", "", _STRINGS),
        Flag("os-version", "", STRING),
        Flag("variant", "", STRING),
    ),
    minimum=2,
    maximum=2,
)


def run(session: Session, call: Call) -> int:
    manifest_list, manifest = call.args
    session.engine.registries.manifest_annotate(
        manifest_list,
        manifest,
        architecture=call.text("arch"),
        os=call.text("os"),
        os_version=call.text("os-version"),
        os_features=[name for names in call.many("os-features") for name in names],
        variant=call.text("variant"),
    )
    return 0
