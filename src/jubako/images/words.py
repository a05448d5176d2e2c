"""Words of Dockerfile instructions: quotes, escapes and variables as in Docker's shell lexer.

'a $b'   literally      "a $b"   one word, expanded     a\\ b   a blank that does not separate
$x ${x} ${x:-default} ${x-default} ${x:+other} ${x+other} ${x:?message} ${x?message}
"""

from __future__ import annotations

import json

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME = _NAME_START | frozenset("0123456789")
_SPECIAL = frozenset("@*#?-$!0")  # parameters of the shell, which are never set here
_MAX_DEPTH = 50  # of `${a:-${b:-...}}`


def split(text: str) -> list[str]:
    """Split at blanks outside of quotes; quotes and escapes stay in the words."""
    found: list[str] = []
    current = ""
    quote = ""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            if current:
                found.append(current)
            current = ""
            continue
        current += character
    if current:
        found.append(current)
    return found


def expand(word: str, environment: Mapping[str, str]) -> str:
    """Remove quotes and escapes and put in the values of variables; unset ones are empty.

    Raises InvalidArgument for an unterminated quote or brace and for `${x:?}`.
    """
    try:
        return _Word(word, environment).until("")
    except InvalidArgument as exc:
        raise InvalidArgument(f"failed to process {json.dumps(word[:200])}: {exc}") from exc


class _Word:
    def __init__(self, text: str, environment: Mapping[str, str], depth: int = 0):
        self._text = text
        self._at = 0
        self._environment = environment
        self._depth = depth

    def until(self, stop: str) -> str:
        """Process up to the character `stop`, which is consumed; "" is the end."""
        out = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == stop:
                return out
            if character == "'":
                out += self._single_quoted()
            elif character == '"':
                out += self._double_quoted()
            elif character == "$":
                out += self._variable()
            elif character == "\\":
                out += self._text[self._at : self._at + 1]
                self._at += 1
            else:
                out += character
        if stop:
            raise InvalidArgument("syntax error: missing '}'")
        return out

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise _unterminated("single")
        out, self._at = self._text[self._at : end], end + 1
        return out

    def _double_quoted(self) -> str:
        out = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == '"':
                return out
            if character == "$":
                out += self._variable()
            elif character == "\\":
                following = self._text[self._at : self._at + 1]
                if not following:
                    break
                self._at += 1
                out += following if following in '"$\\' else "\\" + following
            else:
                out += character
        raise _unterminated("double")

    def _variable(self) -> str:
        if self._text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braced()
        name = self._name()
        return self._environment.get(name, "") if name else "$"

    def _name(self) -> str:
        start = self._at
        first = self._text[start : start + 1]
        if first in _NAME_START and first:
            while self._at < len(self._text) and self._text[self._at] in _NAME:
                self._at += 1
        elif first.isdigit():
            while self._text[self._at : self._at + 1].isdigit():
                self._at += 1
        elif first in _SPECIAL and first:
            self._at += 1
        return self._text[start : self._at]

    def _braced(self) -> str:
        if self._depth > _MAX_DEPTH:
            raise InvalidArgument("variables are nested too deeply")
        name = self._name()
        if not name:
            raise InvalidArgument("syntax error: bad substitution")
        operator = self._text[self._at : self._at + 1]
        self._at += 1
        if operator == "}":
            return self._environment.get(name, "")
        colon = operator == ":"
        if colon:
            operator = self._text[self._at : self._at + 1]
            self._at += 1
        if not operator:
            raise InvalidArgument("syntax error: missing '}'")
        if operator not in "-+?":
            raise InvalidArgument(f"unsupported modifier ({operator}) in substitution")
        self._depth += 1
        word = self.until("}")
        self._depth -= 1
        value = self._environment.get(name)
        given = value is not None and (not colon or value != "")
        if operator == "+":
            return word if given else ""
        if given:
            return value or ""
        if operator == "?":
            raise InvalidArgument(f"{name}: {word or 'not allowed to be unset'}")
        return word


def _unterminated(quote: str) -> InvalidArgument:
    return InvalidArgument(f"unexpected end of statement while looking for matching {quote}-quote")
