"""What the `inspect` commands share: several objects as a JSON array, or through a template."""

from __future__ import annotations

from jubako.cli.flags import Refused
from jubako.errors import InvalidArgument, JubakoError, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.golang.template import Template

BAD_TEMPLATE = 64  # the exit code of Docker's inspect for a template that does not parse


class Struct:
    """An object seen from a template as a Go struct: a field that it does not have is an error.

    go_type: the name of Docker's type, which that error mentions.
    """

    def __init__(self, go_type: str, data: dict[str, Any]):
        self.go_type = go_type
        self._data = data

    def lookup(self, name: str) -> Any:
        """The field of a name as Go spells it.  Raises KeyError."""
        from jubako.golang.template.values import NO_VALUE, find

        found = find(self._data, name)
        if found is NO_VALUE:
            raise KeyError(name)
        return found

    def to_json(self) -> dict[str, Any]:
        return self._data


def write(session: Session, refs: Sequence[str], layout: str, get: Callable[[str], Any]) -> int:
    """Print what `get` finds for each reference, and then raise what it did not find.

    layout: "" for indented JSON, "json" for compact JSON, or a template.
    Returns the exit code; raises NotFound and what else `get` raises, TemplateError.
    """
    template = None
    if layout not in ("", "json"):
        template = _parse(session, layout)
        if template is None:
            return BAD_TEMPLATE
    found: list[Any] = []
    failed: list[JubakoError] = []
    for ref in refs:
        try:
            found.append(get(ref))
        except JubakoError as exc:
            failed.append(exc)
    if template is None:
        session.out(_json(found, layout))
    else:
        lines, errors = _render(template, found)
        session.out("\n".join(lines))
        failed += errors
    raise_all(failed)
    return 0


def write_one(session: Session, data: Any, layout: str) -> int:
    """Print one object through a template, or for "json" as compact JSON; returns the exit code.

    Raises TemplateError.
    """
    from jubako.golang.template import render

    template = _parse(session, "{{json .}}" if layout == "json" else layout)
    if template is None:
        return BAD_TEMPLATE
    session.out(render(template, data))
    return 0


def _parse(session: Session, layout: str) -> Template | None:
    """The template; None if it is none, which is reported."""
    from jubako.golang.template import TemplateError, parse

    try:
        return parse(layout)
    except TemplateError as exc:
        session.report(InvalidArgument(f"template parsing error: {exc}"))
        return None


def check_as(call: Call) -> None:
    """Whether the flags beside `--as` make sense.  Raises Refused."""
    for flag in ("format", "size"):
        if call.given(flag):
            raise Refused(f"conflicting options: cannot specify both --as and --{flag}")


def write_as(session: Session, refs: Sequence[str], form: str) -> int:
    """Print what would make each container again; see `ContainerService.reproduce`.

    Raises InvalidArgument (the form), and at the end NotFound for what was not found.
    """
    texts: list[str] = []
    failed: list[JubakoError] = []
    for ref in refs:
        try:
            texts.append(session.engine.containers.reproduce(ref, form))
        except JubakoError as exc:
            failed.append(exc)
    if texts:
        session.out(("\n---\n" if form == "compose" else "\n").join(texts))
    raise_all(failed)
    return 0


def _render(template: Any, found: Sequence[Any]) -> tuple[list[str], list[JubakoError]]:
    from jubako.golang.template import TemplateError, render

    lines: list[str] = []
    errors: list[JubakoError] = []
    for one in found:
        try:
            lines.append(render(template, one))
        except TemplateError as exc:
            errors.append(TemplateError(f"template parsing error: {exc}"))
    return lines, errors


def _json(found: Sequence[Any], layout: str) -> str:
    import json

    if layout == "json":
        return json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return json.dumps(found, indent=4, ensure_ascii=False)
