"""Text of a template to tokens."""

from __future__ import annotations

import re

from jubako.golang.quote import quote, quote_rune
from jubako.golang.template.errors import TemplateError

MAX_TEMPLATE_CHARS = 1 << 20  # a command line cannot carry more


class Token:
    """kind: text, left, right, field, variable, word, string, char, number, pipe, assign, declare,
    open, close, comma, dot, other, space or eof.  pos: offset in the template.
    """

    __slots__ = ("kind", "text", "pos")

    def __init__(self, kind: str, text: str, pos: int):
        self.kind = kind
        self.text = text
        self.pos = pos


_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<string>"(?:[^"\\\n]|\\.)*" | `[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\.)+')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
                 |(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))
    | (?P<field>\.[^\W\d]\w*)
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<declare>:=)
    | (?P<assign>=)
    | (?P<pipe>\|)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<comma>,)
    | (?P<dot>\.)
    | (?P<other>[!#%&*;<>?@\[\]^_~{}\\/])
    """,
    re.VERBOSE,
)
_SPACE = " \t\r\n"


def line_at(source: str, pos: int) -> int:
    """The line of an offset, from 1."""
    return source.count("\n", 0, pos) + 1


def error(source: str, pos: int, message: str) -> TemplateError:
    """A parse error at an offset."""
    return TemplateError(f"template: :{line_at(source, pos)}: {message}")


def tokens(source: str) -> list[Token]:
    """All tokens, comments left out and trim markers applied.  Raises TemplateError."""
    if len(source) > MAX_TEMPLATE_CHARS:
        raise TemplateError(f"template: longer than {MAX_TEMPLATE_CHARS} characters")
    found: list[Token] = []
    pos, trim = 0, False
    while True:
        start = source.find("{{", pos)
        text = source[pos:] if start < 0 else source[pos:start]
        left = start + 2
        trim_left = start >= 0 and source[left : left + 1] == "-" and _is_space(source, left + 1)
        shown = text.lstrip(_SPACE) if trim else text
        if trim_left:
            shown = shown.rstrip(_SPACE)
            left += 2
        if shown:
            found.append(Token("text", shown, pos + text.find(shown)))
        if start < 0:
            found.append(Token("eof", "", len(source)))
            return found
        if source.startswith("/*", left):
            pos, trim = _comment(source, left)
        else:
            pos, trim = _action(source, start, left, found)


def _is_space(source: str, index: int) -> bool:
    return source[index : index + 1] in tuple(_SPACE)


def _comment(source: str, pos: int) -> tuple[int, bool]:
    end = source.find("*/", pos)
    if end < 0:
        raise error(source, pos, "unclosed comment")
    end += 2
    if source.startswith("}}", end):
        return end + 2, False
    if _is_space(source, end) and source.startswith("-}}", end + 1):
        return end + 4, True
    raise error(source, pos, "comment ends before closing delimiter")


def _action(source: str, start: int, pos: int, found: list[Token]) -> tuple[int, bool]:
    """The tokens between the delimiters; returns where text goes on and whether it is trimmed."""
    found.append(Token("left", "{{", start))
    depth = 0
    while True:
        if _is_space(source, pos) and source.startswith("-}}", pos + 1):
            end, trim = pos + 4, True
            break
        if source.startswith("}}", pos):
            end, trim = pos + 2, False
            break
        match = _TOKEN.match(source, pos)
        if match is None:
            raise _bad_token(source, pos)
        kind = match.lastgroup or ""
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth < 0:
                raise error(source, pos, "unexpected right paren")
        found.append(Token(kind, match[0], pos))
        pos = match.end()
        if kind in ("field", "variable", "word", "number") and not _ends(source, pos):
            raise error(source, pos, f"bad character U+{ord(source[pos]):04X} {_rune(source[pos])}")
    if depth:
        raise error(source, pos, "unclosed left paren")
    found.append(Token("right", "}}", end - 2))
    return end, trim


def _ends(source: str, pos: int) -> bool:
    """Whether a word may end here."""
    return pos >= len(source) or source[pos] in " \t\r\n.,|:)(=}"


def _rune(char: str) -> str:
    return quote_rune(char)


def _bad_token(source: str, pos: int) -> TemplateError:
    if pos >= len(source):
        return error(source, pos, "unclosed action")
    char = source[pos]
    if char == '"':
        return error(source, pos, "unterminated quoted string")
    if char == "`":
        return error(source, pos, "unterminated raw quoted string")
    if char == "'":
        return error(source, pos, "unterminated character constant")
    if char == ":":
        return error(source, pos, "expected :=")
    if char in "+-":
        return error(source, pos, f"bad number syntax: {quote(source[pos : pos + 2])}")
    return error(source, pos, f"unrecognized character in action: U+{ord(char):04X} {_rune(char)}")
