"""Tokens to the tree of a template."""

from __future__ import annotations

from jubako.golang.quote import quote
from jubako.golang.template import lexer, nodes
from jubako.golang.template.errors import TemplateError
from jubako.golang.template.functions import NAMES
from jubako.golang.template.lexer import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 100  # of blocks and parentheses: beyond it the text is an attack on our stack


class Template:
    """A parsed template: `body`, and the templates that it defines by name."""

    __slots__ = ("source", "name", "body", "defined")

    def __init__(self, source: str, name: str = ""):
        self.source = source
        self.name = name
        self.body: Sequence[nodes.Node] = ()
        self.defined: dict[str, Sequence[nodes.Node]] = {}


def parse(source: str, name: str = "") -> Template:
    """Parse a template.  Raises TemplateError with Go's words.

    name: what errors call it.
    """
    template = Template(source, name)
    try:
        template.body, end = _Parser(template).block(())
    except TemplateError as exc:
        raise exc.named(name) from None
    assert end == "eof"
    return template


class _Parser:
    def __init__(self, template: Template):
        self._template = template
        self._tokens = lexer.tokens(template.source)
        self._index = 0
        self._variables = ["$"]
        self._loops = 0
        self._depth = 0

    # -- tokens

    def _peek(self) -> Token:
        index = self._index
        while self._tokens[index].kind == "space":
            index += 1
        return self._tokens[index]

    def _next(self) -> Token:
        while self._tokens[self._index].kind == "space":
            self._index += 1
        token = self._tokens[self._index]
        if token.kind != "eof":
            self._index += 1
        return token

    def _error(self, token: Token, message: str) -> TemplateError:
        return lexer.error(self._template.source, token.pos, message)

    def _unexpected(self, token: Token, context: str) -> TemplateError:
        if token.kind == "eof":
            shown = "EOF"
        elif token.kind == "dot" or (token.kind == "word" and token.text in _KEYWORDS):
            shown = f"<{token.text}>"
        elif len(token.text) > 10:
            shown = quote(token.text[:10]) + "..."
        else:
            shown = quote(token.text)
        return self._error(token, f"unexpected {shown} in {context}")

    # -- blocks

    def block(self, ends: tuple[str, ...]) -> tuple[list[nodes.Node], str]:
        """Nodes up to one of the words `ends` (consumed) or the end of the text, which is `eof`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(self._peek(), "max expression depth exceeded")
        found: list[nodes.Node] = []
        mark = len(self._variables)
        while True:
            token = self._tokens[self._index]
            self._index += 1
            if token.kind == "text":
                found.append(nodes.Text(token.pos, token.text))
                continue
            if token.kind == "eof":
                if ends:
                    raise self._error(token, "unexpected EOF")
                end = "eof"
                break
            word = self._peek()
            if word.kind == "word" and word.text in ("end", "else"):
                self._next()
                if word.text not in ends:
                    raise self._error(word, f"unexpected {{{{{word.text}}}}}")
                end = word.text
                break
            node = self._action(word)
            if node is not None:
                found.append(node)
        del self._variables[mark:]
        self._depth -= 1
        return found, end

    def _action(self, token: Token) -> nodes.Node | None:
        if token.kind == "word" and token.text in _KEYWORDS:
            self._next()
            if token.text in ("if", "with", "range"):
                return self._branch(token)
            if token.text in ("break", "continue"):
                if not self._loops:
                    raise self._error(token, f"{{{{{token.text}}}}} outside {{{{range}}}}")
                self._right(token.text)
                return nodes.Leave(token.pos, token.text)
            if token.text == "define":
                self._define(self._name("define clause")[0])
                return None
            return self._call(token)
        mark = len(self._variables)
        pipe = self._pipe("command", "right")
        del self._variables[mark + len(pipe.variables) :]
        return nodes.Action(token.pos, pipe)

    def _branch(self, token: Token) -> nodes.Branch:
        kind = token.text
        mark = len(self._variables)
        pipe = self._pipe(kind, "right", two=kind == "range")
        self._loops += kind == "range"
        body, end = self.block(("end", "else"))
        self._loops -= kind == "range"
        otherwise: list[nodes.Node] = []
        if end == "else":
            word = self._peek()
            if kind in ("if", "with") and word.kind == "word" and word.text == kind:
                self._next()
                otherwise = [self._branch(word)]
                del self._variables[mark:]
                return nodes.Branch(token.pos, kind, pipe, body, otherwise)
            self._right("else")
            otherwise, end = self.block(("end", "else"))
            if end == "else":
                raise self._error(self._peek(), "expected end; found {{else}}")
        self._right("end")
        del self._variables[mark:]
        return nodes.Branch(token.pos, kind, pipe, body, otherwise)

    def _right(self, context: str) -> None:
        token = self._next()
        if token.kind != "right":
            raise self._unexpected(token, context)

    def _name(self, context: str) -> tuple[str, int]:
        token = self._next()
        if token.kind != "string":
            raise self._unexpected(token, context)
        value = _string(token)
        assert isinstance(value.value, str)
        return value.value, token.pos

    def _define(self, name: str) -> None:
        self._right("define clause")
        saved, self._variables = self._variables, ["$"]
        loops, self._loops = self._loops, 0
        self._template.defined[name], _ = self.block(("end",))
        self._right("end")
        self._variables, self._loops = saved, loops

    def _call(self, token: Token) -> nodes.Call:
        context = f"{token.text} clause"
        name, pos = self._name(context)
        pipe = None
        if self._peek().kind == "right" and token.text == "template":
            self._next()
        else:
            pipe = self._pipe(context, "right")
        if token.text == "block":
            saved, self._variables = self._variables, ["$"]
            self._template.defined[name], _ = self.block(("end",))
            self._right("end")
            self._variables = saved
        return nodes.Call(pos, name, pipe)

    # -- pipelines

    def _pipe(self, context: str, end: str, two: bool = False) -> nodes.Pipe:
        first = self._peek()
        variables, assign = self._declaration(context, two)
        commands: list[nodes.Command] = []
        while True:
            token = self._peek()
            if token.kind == end:
                self._next()
                if not commands or not commands[-1].args:
                    raise self._error(token, f"missing value for {context}")
                for command in commands[1:]:
                    if isinstance(command.args[0], (nodes.Constant, nodes.Dot, nodes.Nil)):
                        raise self._error(
                            token,
                            f"non executable command in pipeline stage "
                            f"{commands.index(command) + 1}",
                        )
                self._variables += variables if not assign else []
                return nodes.Pipe(first.pos, commands, variables, assign)
            commands.append(self._command(token, context, end))

    def _declaration(self, context: str, two: bool) -> tuple[list[str], bool]:
        """The `$x :=`, `$x =` or `$i, $e :=` that a pipeline may begin with."""
        names: list[str] = []
        start = self._index
        while self._peek().kind == "variable":
            name = self._next()
            after = self._peek()
            if after.kind == "comma" and two and not names:
                self._next()
                names.append(name.text)
                continue
            if after.kind in ("declare", "assign"):
                self._next()
                names.append(name.text)
                if after.kind == "assign":
                    for known in names:
                        self._check_variable(name, known)
                return names, after.kind == "assign"
            if after.kind == "comma" and names:
                raise self._error(after, f"too many declarations in {context}")
            break
        if names and two and self._peek().kind == "right":
            raise self._error(self._peek(), "range can only initialize variables")
        self._index = start
        return [], False

    def _check_variable(self, token: Token, name: str) -> None:
        if name not in self._variables:
            raise self._error(token, f"undefined variable {quote(name)}")

    def _command(self, first: Token, context: str, end: str) -> nodes.Command:
        args: list[nodes.Node] = []
        while True:
            operand = self._operand(context)
            if operand is not None:
                args.append(operand)
            token = self._tokens[self._index]
            if token.kind == "space":
                if self._peek().kind not in ("pipe", end):
                    self._next_space()
                    continue
                token = self._peek()
            if token.kind == end:
                return nodes.Command(first.pos, args)
            if token.kind == "pipe":
                if operand is None:
                    raise self._unexpected(token, context)
                self._next()  # with nothing after it, Go takes the pipe for the end
                return nodes.Command(first.pos, args)
            raise self._unexpected(token, "operand" if args else context)

    def _next_space(self) -> None:
        while self._tokens[self._index].kind == "space":
            self._index += 1

    def _operand(self, context: str) -> nodes.Node | None:
        node = self._term(context)
        if node is None or self._tokens[self._index].kind != "field":
            return node
        pos = self._tokens[self._index].pos
        names: list[str] = []
        while self._tokens[self._index].kind == "field":
            names.append(self._next().text[1:])
        if isinstance(node, nodes.Field):
            return nodes.Field(pos, [*node.names, *names])
        if isinstance(node, nodes.Variable):
            return nodes.Variable(pos, node.name, [*node.names, *names])
        if isinstance(node, (nodes.Constant, nodes.Nil, nodes.Dot)):
            token = Token("field", f".{names[0]}", pos)
            raise self._error(token, f"unexpected . after term {quote(str(node))}")
        return nodes.Chain(pos, node, names)

    def _term(self, context: str) -> nodes.Node | None:
        token = self._peek()
        if token.kind == "dot":
            self._next()
            return nodes.Dot(token.pos)
        if token.kind == "field":
            self._next()
            return nodes.Field(token.pos, [token.text[1:]])
        if token.kind == "variable":
            self._next()
            self._check_variable(token, token.text)
            return nodes.Variable(token.pos, token.text)
        if token.kind == "open":
            self._next()
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._error(token, "max expression depth exceeded")
            pipe = self._pipe("parenthesized pipeline", "close")
            self._depth -= 1
            return pipe
        if token.kind == "string":
            self._next()
            return _string(token)
        if token.kind in ("char", "number"):
            self._next()
            return self._number(token)
        if token.kind == "word" and token.text not in _KEYWORDS:
            self._next()
            return self._word(token)
        return None

    def _word(self, token: Token) -> nodes.Node:
        if token.text in ("true", "false"):
            return nodes.Constant(token.pos, token.text == "true", token.text)
        if token.text == "nil":
            return nodes.Nil(token.pos)
        if token.text not in NAMES:
            raise self._error(token, f"function {quote(token.text)} not defined")
        return nodes.Function(token.pos, token.text)

    def _number(self, token: Token) -> nodes.Constant:
        text = token.text
        try:
            if token.kind == "char":
                body = _unescape(text[1:-1])
                if len(body) != 1:
                    raise ValueError
                return nodes.Constant(token.pos, ord(body), text)
            digits = text.replace("_", "")
            if any(mark in digits.lower() for mark in ".e") and "x" not in digits.lower():
                return nodes.Constant(token.pos, float(digits), text)
            sign = digits[:1] in "+-"
            if len(digits) > 1 + sign and digits[sign] == "0" and digits[1 + sign].isdigit():
                return nodes.Constant(token.pos, int(digits, 8), text)
            return nodes.Constant(token.pos, int(digits, 0), text)
        except (ValueError, TypeError):
            if token.kind == "char":
                raise self._error(token, f"malformed character constant: {text}") from None
            raise self._error(token, f"bad number syntax: {quote(text)}") from None


_KEYWORDS = frozenset("if with range end else define template block break continue".split())
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}


def _string(token: Token) -> nodes.Constant:
    text = token.text
    value = text[1:-1] if text[0] == "`" else _unescape(text[1:-1])
    return nodes.Constant(token.pos, value, text)


def _unescape(text: str) -> str:
    """Go's escapes in a string or a character."""
    if "\\" not in text:
        return text
    out = ""
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char != "\\":
            out += char
            continue
        char = text[index]
        index += 1
        if char in _ESCAPES:
            out += _ESCAPES[char]
            continue
        size = {"x": 2, "u": 4, "U": 8}.get(char)
        if size:
            out += chr(int(text[index : index + size], 16))
            index += size
        else:
            out += chr(int(text[index - 1 : index + 2], 8))
            index += 2
    return out
