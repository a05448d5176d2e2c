"""How `ps`, `images` and the other lists print: table, template, JSON or only the names.

A list declares its fields once: name in templates, header, and how to get the text.  The default
table needs no template and does not load that code.
"""

from __future__ import annotations

from jubako.cli import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from jubako.cli.session import Session
    from jubako.golang.template import Template

    Fields = Mapping[str, tuple[str, Callable[[Any], Any]]]
    Getters = Mapping[str, Callable[[Any], Any]]


class Row:
    """One line of a list, seen from a template."""

    __slots__ = ("go_type", "_fields", "_in_json", "_data")

    def __init__(self, go_type: str, fields: Fields, in_json: Getters, data: Any):
        self.go_type = go_type
        self._fields = fields
        self._in_json = in_json
        self._data = data

    def lookup(self, name: str) -> Any:
        """The value of `.Name`; for `.Label` a function of the label's name.  Raises KeyError."""
        if name == "Label" and "Labels" in self._fields:
            return self._label
        return self._fields[name][1](self._data)

    def _label(self, name: str) -> str:
        found: str = (self._data.get("Labels") or {}).get(name, "")
        return found

    def to_json(self) -> dict[str, Any]:
        """What `{{json .}}` shows: every field in alphabetical order."""
        getters = {name: get for name, (_, get) in self._fields.items()} | dict(self._in_json)
        return {name: getters[name](self._data) for name in sorted(getters)}


class Header:
    """The titles of the columns, seen from the same template."""

    def __init__(self, fields: Fields):
        self._fields = fields

    def lookup(self, name: str) -> Any:
        if name == "Label":
            return lambda label: label.rpartition(".")[2].replace("-", " ").replace("_", " ")
        return self._fields[name][0] if name in self._fields else "<no value>"


class Listing:
    """A kind of list.

    go_type: the name of Docker's type, which its error texts mention.  fields: name in templates
    to (header, function of the data).  columns: the default table.  quiet: the field of `-q`.
    in_json: fields that JSON shows otherwise than a table does.
    """

    def __init__(
        self,
        go_type: str,
        fields: Fields,
        columns: Sequence[str],
        quiet: str,
        *,
        in_json: Getters | None = None,
    ):
        self.go_type = go_type
        self.fields = fields
        self.columns = columns
        self.quiet = quiet
        self._in_json = in_json or {}

    def write(
        self,
        session: Session,
        data: Sequence[Any],
        layout: str = "",
        *,
        quiet: bool = False,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Print one line for each of `data`; see `render`."""
        text = self.render(data, layout, quiet=quiet, columns=columns)
        if text:
            session.out(text)

    def render(
        self,
        data: Sequence[Any],
        layout: str = "",
        *,
        quiet: bool = False,
        columns: Sequence[str] | None = None,
    ) -> str:
        """One line for each of `data`, without a newline at the end; "" for no line at all.

        layout: `--format`: "" or "table" for the default table, "table TEMPLATE", "json", or a
        template.  quiet: only the names or IDs, unless a template was given.  columns: instead of
        the default ones.  Raises TemplateError.
        """
        if layout in ("", "table"):
            if quiet:
                get = self.fields[self.quiet][1]
                return "\n".join(get(one) for one in data)
            chosen = [self.fields[name] for name in columns or self.columns]
            body = ([str(get(one)) for _, get in chosen] for one in data)
            return table.rows([title for title, _ in chosen], body)
        if layout == "json":
            return "\n".join(self._json(one) for one in data)
        return self._template(data, layout)

    def row(self, data: Any) -> Row:
        return Row(self.go_type, self.fields, self._in_json, data)

    def _json(self, data: Any) -> str:
        return escape_html(to_json(self.row(data).to_json()))

    def _template(self, data: Sequence[Any], layout: str) -> str:
        from jubako.golang.template import TemplateError, render

        is_table = layout.startswith("table")
        try:
            parsed = parse_layout(layout)
            lines = [render(parsed, self.row(one)) for one in data]
        except TemplateError as exc:
            raise TemplateError(f"template parsing error: {exc}") from exc
        if is_table:
            lines.insert(0, render(parsed, Header(self.fields), header=True))
            return table.align("\n".join(lines))
        return "\n".join(lines)


def parse_layout(layout: str) -> Template:
    """The template in a `--format` value; `\\t` and `\\n` may be written out.

    Raises TemplateError.
    """
    from jubako.golang.template import parse

    text = "{{json .}}" if layout == "json" else layout.removeprefix("table")
    return parse(text.strip(" ").replace("\\t", "\t").replace("\\n", "\n"))


def to_json(value: Any) -> str:
    """Compact JSON, as Go writes it."""
    import json

    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def escape_html(text: str) -> str:
    """Go's encoder escapes these in the JSON of a list's row; what parses it may compare bytes."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def labels(data: Any) -> str:
    """The LABELS column."""
    found = data.get("Labels") or {}
    return ",".join(sorted(f"{name}={value}" for name, value in found.items()))


def short_id(identifier: str) -> str:
    """The first twelve digits of an ID, without its algorithm."""
    return identifier.rpartition(":")[2][:12]
