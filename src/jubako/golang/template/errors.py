"""The one error of templates."""

from __future__ import annotations

from jubako.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """A template does not parse or does not fit the data; Go's sentence, `template: :1:2: ...`."""

    def named(self, name: str) -> TemplateError:
        """The same about a template that has a name: `template: NAME:1:2: ...`."""
        return TemplateError(f"template: {name}{self.message.removeprefix('template: ')}")
