"""A parsed template over data, to text."""

from __future__ import annotations

from jubako.golang.quote import quote
from jubako.golang.template import nodes
from jubako.golang.template.errors import TemplateError
from jubako.golang.template.functions import FUNCTIONS, HEADER_FUNCTIONS, FunctionError
from jubako.golang.template.values import (
    NIL_POINTER,
    NO_VALUE,
    Map,
    Nil,
    NoValue,
    find,
    show,
    truth,
    type_name,
    typed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from jubako.golang.template.parser import Template

MAX_STEPS = 1_000_000  # a template that calls itself for ever must end
MAX_CALLS = 1000


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def render(template: Template, data: Any, *, header: bool = False) -> str:
    """The text for `data`.  Raises TemplateError with Go's words.

    header: data are the titles of columns; functions that change text leave them alone.
    """
    run = _Run(template, data, header)
    try:
        run.body(template.body, data)
    except RecursionError:
        raise TemplateError("template: exceeded maximum template depth") from None
    return "".join(run.out)


class _Run:
    def __init__(self, template: Template, data: Any, header: bool):
        self._template = template
        self._header = header
        self._root = data
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self._steps = 0
        self._calls = 0
        self.out: list[str] = []

    def _error(
        self, node: nodes.Node, message: str, shown: nodes.Node | None = None
    ) -> TemplateError:
        """An error at `node`, which quotes `shown` or itself."""
        source, name = self._template.source, self._template.name
        line = source.count("\n", 0, node.pos) + 1
        start = source.rfind("\n", 0, node.pos) + 1
        column = len(source[start : node.pos].encode(errors="surrogateescape"))
        return TemplateError(
            f"template: {name}:{line}:{column}: executing {quote(name)} at <{shown or node}>:"
            f" {message}"
        )

    def body(self, body: Sequence[nodes.Node], dot: Any) -> None:
        for node in body:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise self._error(node, "the template does not end")
            if isinstance(node, nodes.Text):
                self.out.append(node.text)
            elif isinstance(node, nodes.Action):
                value = self._pipe(node.pipe, dot)
                if not node.pipe.variables:
                    self.out.append(show(value))
            elif isinstance(node, nodes.Branch):
                self._branch(node, dot)
            elif isinstance(node, nodes.Leave):
                raise _Break if node.kind == "break" else _Continue
            elif isinstance(node, nodes.Call):
                self._call(node, dot)

    def _branch(self, node: nodes.Branch, dot: Any) -> None:
        mark = len(self._variables)
        try:
            if node.kind == "range":
                self._range(node, dot)
                return
            value = self._pipe(node.pipe, dot)
            if truth(value):
                self.body(node.body, value if node.kind == "with" else dot)
            else:
                self.body(node.otherwise, dot)
        finally:
            del self._variables[mark:]

    def _range(self, node: nodes.Branch, dot: Any) -> None:
        pipe = node.pipe
        value = self._value(pipe, dot)
        empty = True
        mark = len(self._variables)
        for key, element in self._elements(node, value):
            empty = False
            pair = (element,) if len(pipe.variables) == 1 else (key, element)
            for name, one in zip(pipe.variables, pair, strict=False):
                self._set(name, one, pipe.assign)
            try:
                self.body(node.body, element)
            except _Break:
                break
            except _Continue:
                pass
            finally:
                del self._variables[mark:]
        if empty:
            self.body(node.otherwise, dot)

    def _elements(self, node: nodes.Branch, value: Any) -> Iterable[tuple[Any, Any]]:
        if isinstance(value, bool):
            raise self._error(node.pipe, f"range can't iterate over {show(value)}")
        if isinstance(value, int):
            return ((index, index) for index in range(value))
        if isinstance(value, dict):
            return ((key, typed(key, value[key])) for key in sorted(value))
        if isinstance(value, (list, tuple, Nil)):
            return enumerate(value)
        if value is None or isinstance(value, NoValue):
            return ()
        raise self._error(node.pipe, f"range can't iterate over {show(value)}")

    def _call(self, node: nodes.Call, dot: Any) -> None:
        body = self._template.defined.get(node.name)
        if body is None:
            raise self._error(node, f"template {quote(node.name)} not defined")
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise self._error(node, f"exceeded maximum template depth ({MAX_CALLS})")
        data = self._pipe(node.pipe, dot) if node.pipe else NO_VALUE
        saved, self._variables = self._variables, [("$", data)]
        self.body(body, data)
        self._variables = saved
        self._calls -= 1

    # -- values

    def _set(self, name: str, value: Any, assign: bool) -> None:
        if not assign:
            self._variables.append((name, value))
            return
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return

    def _pipe(self, pipe: nodes.Pipe, dot: Any) -> Any:
        value = self._value(pipe, dot)
        for name in pipe.variables:
            self._set(name, value, pipe.assign)
        return value

    def _value(self, pipe: nodes.Pipe, dot: Any) -> Any:
        final: tuple[Any, ...] = ()
        for command in pipe.commands:
            final = (self._command(command, dot, final),)
        return final[0]

    def _command(self, command: nodes.Command, dot: Any, final: tuple[Any, ...]) -> Any:
        first, *rest = command.args
        if isinstance(first, nodes.Function):
            return self._function(first, command, rest, dot, final)
        if isinstance(first, nodes.Field):
            return self._fields(first, dot, first.names, rest, dot, final)
        if isinstance(first, nodes.Variable):
            value = self._variable(first.name)
            if first.names:
                return self._fields(first, value, first.names, rest, dot, final)
            self._no_arguments(first, rest, final)
            return value
        if isinstance(first, nodes.Chain):
            value = self._operand(first.operand, dot)
            return self._fields(first, value, first.names, rest, dot, final)
        self._no_arguments(first, rest, final)
        if isinstance(first, nodes.Nil):
            raise self._error(first, "nil is not a command")
        return self._operand(first, dot)

    def _no_arguments(
        self, node: nodes.Node, rest: Sequence[nodes.Node], final: tuple[Any, ...]
    ) -> None:
        if rest or final:
            raise self._error(node, f"can't give argument to non-function {node}")

    def _operand(self, node: nodes.Node, dot: Any) -> Any:
        if isinstance(node, nodes.Constant):
            return node.value
        if isinstance(node, nodes.Dot):
            return dot
        if isinstance(node, nodes.Nil):
            return None
        if isinstance(node, nodes.Pipe):
            return self._pipe(node, dot)
        if isinstance(node, nodes.Field):
            return self._fields(node, dot, node.names, (), dot, ())
        if isinstance(node, nodes.Variable):
            value = self._variable(node.name)
            return self._fields(node, value, node.names, (), dot, ())
        if isinstance(node, nodes.Chain):
            value = self._operand(node.operand, dot)
            return self._fields(node, value, node.names, (), dot, ())
        assert isinstance(node, nodes.Function)
        return self._function(node, node, (), dot, ())

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise AssertionError(f"the parser let the unknown variable {name} pass")

    def _fields(
        self,
        node: nodes.Node,
        value: Any,
        names: Sequence[str],
        rest: Sequence[nodes.Node],
        dot: Any,
        final: tuple[Any, ...],
    ) -> Any:
        for index, name in enumerate(names):
            last = index == len(names) - 1
            args = [self._operand(arg, dot) for arg in rest] + list(final) if last else []
            value = self._field(node, value, name, args)
        return value

    def _field(self, node: nodes.Node, value: Any, name: str, args: list[Any]) -> Any:
        if isinstance(value, dict):
            if args:
                raise self._error(node, f"{name} is not a method but has arguments")
            if isinstance(value, Map):
                return typed(name, value[name]) if name in value else NO_VALUE
            found = find(value, name)
            if found is not NO_VALUE:
                return found
            raise self._error(node, f"map has no entry for key {quote(name)}")
        lookup = getattr(value, "lookup", None)
        if lookup is None:
            if value is None or isinstance(value, (Nil, NoValue)):
                raise self._error(node, f"nil data; no entry for key {quote(name)}")
            kind = "interface {}" if isinstance(self._root, dict) else type_name(value)
            raise self._error(node, f"can't evaluate field {name} in type {kind}")
        try:
            found = lookup(name)
        except KeyError:
            shown = type_name(value)
            raise self._error(node, f"can't evaluate field {name} in type {shown}") from None
        if not callable(found):
            if args:
                wrong = f"wrong number of args for {name}: want 0 got {len(args)}"
                raise self._error(node, wrong)
            return NIL_POINTER if found is None else found
        if len(args) != 1:
            raise self._error(node, f"wrong number of args for {name}: want 1 got {len(args)}")
        return found(args[0])

    def _function(
        self,
        node: nodes.Function,
        command: nodes.Node,
        rest: Sequence[nodes.Node],
        dot: Any,
        final: tuple[Any, ...],
    ) -> Any:
        name = node.name
        if name in ("and", "or"):
            return self._logic(node, rest, dot, final)
        function = FUNCTIONS[name]
        count = len(rest) + len(final)
        if not function.accepts(count):
            at_least = "at least " if function.types.endswith("*") else ""
            want = f"want {at_least}{function.least}"
            raise self._error(node, f"wrong number of args for {name}: {want} got {count}")
        args = [self._operand(arg, dot) for arg in rest] + list(final)
        if self._header and name in HEADER_FUNCTIONS and isinstance(args[0], str):
            return args[0]
        for place, value in enumerate(args):
            origin = rest[place] if place < len(rest) else node
            if function.types != "a":
                self._check_type(origin, function.type_of(place), value)
        try:
            return function.call(*args)
        except FunctionError as exc:
            raise self._error(node, f"error calling {name}: {exc}", command) from None

    def _check_type(self, node: nodes.Node, letter: str, value: Any) -> None:
        """Refuse an argument of the wrong type, in Go's words."""
        if letter == "a":
            return
        if letter == "s":
            fits, wanted, expected = isinstance(value, str), "string", "string"
        elif letter == "i":
            fits = isinstance(value, int) and not isinstance(value, bool)
            wanted, expected = "int", "integer"
        else:
            fits = isinstance(value, Nil) or (
                isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
            )
            wanted = expected = "[]string"
        if fits:
            return
        if isinstance(node, nodes.Constant) and letter != "l":
            raise self._error(node, f"expected {expected}; found {node}")
        if value is None or value is NO_VALUE:
            raise self._error(node, f"invalid value; expected {wanted}")
        got = type_name(value)
        raise self._error(node, f"wrong type for value; expected {wanted}; got {got}")

    def _logic(
        self,
        node: nodes.Function,
        rest: Sequence[nodes.Node],
        dot: Any,
        final: tuple[Any, ...],
    ) -> Any:
        if not rest and not final:
            raise self._error(node, f"wrong number of args for {node.name}: want at least 1 got 0")
        value: Any = None
        for value in self._lazily(rest, dot, final):
            if truth(value) == (node.name == "or"):
                return value
        return value

    def _lazily(
        self, rest: Sequence[nodes.Node], dot: Any, final: tuple[Any, ...]
    ) -> Iterator[Any]:
        for arg in rest:
            yield self._operand(arg, dot)
        yield from final
