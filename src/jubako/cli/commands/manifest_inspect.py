"""`jubako manifest inspect`: a manifest or an index, as JSON."""

from __future__ import annotations

import json

from jubako.cli.flags import Command, Flag
from jubako.cli.listing import escape_html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    (Flag("insecure"), Flag("verbose", "v")),
    minimum=1,
    maximum=2,
)
_LIST_INDENT = 3  # columns, where Docker indents everything else by tabs


def run(session: Session, call: Call) -> int:
    *manifest_list, manifest = call.args
    verbose = call.flag("verbose")
    found = session.engine.registries.manifest_inspect(
        manifest,
        manifest_list[0] if manifest_list else "",
        verbose=verbose,
        insecure=call.flag("insecure"),
    )
    is_list = not verbose and "manifests" in found
    indent = _LIST_INDENT if is_list else "\t"
    session.out(escape_html(json.dumps(found, indent=indent, ensure_ascii=False)))
    return 0
