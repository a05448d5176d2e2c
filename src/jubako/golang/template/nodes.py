"""The tree of a parsed template.  `str(node)` is how Go's errors show it."""

from __future__ import annotations

from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Node:
    __slots__ = ("pos",)

    def __init__(self, pos: int):
        self.pos = pos


class Text(Node):
    __slots__ = ("text",)

    def __init__(self, pos: int, text: str):
        super().__init__(pos)
        self.text = text


class Dot(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Nil(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "nil"


class Constant(Node):
    """A string, number, character or bool; `source` is how it was written."""

    __slots__ = ("value", "source")

    def __init__(self, pos: int, value: str | int | float | bool, source: str):
        super().__init__(pos)
        self.value = value
        self.source = source

    def __str__(self) -> str:
        return self.source


class Field(Node):
    """`.A.B` of the dot."""

    __slots__ = ("names",)

    def __init__(self, pos: int, names: Sequence[str]):
        super().__init__(pos)
        self.names = tuple(names)

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """`$x.A.B`; name is `$x`."""

    __slots__ = ("name", "names")

    def __init__(self, pos: int, name: str, names: Sequence[str] = ()):
        super().__init__(pos)
        self.name = name
        self.names = tuple(names)

    def __str__(self) -> str:
        return self.name + "".join(f".{name}" for name in self.names)


class Chain(Node):
    """`(pipeline).A.B`."""

    __slots__ = ("operand", "names")

    def __init__(self, pos: int, operand: Node, names: Sequence[str]):
        super().__init__(pos)
        self.operand = operand
        self.names = tuple(names)

    def __str__(self) -> str:
        shown = f"({self.operand})" if isinstance(self.operand, Pipe) else str(self.operand)
        return shown + "".join(f".{name}" for name in self.names)


class Function(Node):
    __slots__ = ("name",)

    def __init__(self, pos: int, name: str):
        super().__init__(pos)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Command(Node):
    """An operand and its arguments."""

    __slots__ = ("args",)

    def __init__(self, pos: int, args: Sequence[Node]):
        super().__init__(pos)
        self.args = tuple(args)

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


class Pipe(Node):
    """Commands that hand on their value; `variables` get it, new or (assign) existing ones."""

    __slots__ = ("commands", "variables", "assign")

    def __init__(
        self, pos: int, commands: Sequence[Command], variables: Sequence[str], assign: bool
    ):
        super().__init__(pos)
        self.commands = tuple(commands)
        self.variables = tuple(variables)
        self.assign = assign

    def __str__(self) -> str:
        shown = " | ".join(map(str, self.commands))
        if not self.variables:
            return shown
        return f"{', '.join(self.variables)} {'=' if self.assign else ':='} {shown}"


class Action(Node):
    __slots__ = ("pipe",)

    def __init__(self, pos: int, pipe: Pipe):
        super().__init__(pos)
        self.pipe = pipe


class Branch(Node):
    """if, with or range."""

    __slots__ = ("kind", "pipe", "body", "otherwise")

    def __init__(
        self, pos: int, kind: str, pipe: Pipe, body: Sequence[Node], otherwise: Sequence[Node]
    ):
        super().__init__(pos)
        self.kind = kind
        self.pipe = pipe
        self.body = tuple(body)
        self.otherwise = tuple(otherwise)


class Leave(Node):
    """break or continue."""

    __slots__ = ("kind",)

    def __init__(self, pos: int, kind: str):
        super().__init__(pos)
        self.kind = kind


class Call(Node):
    """`{{template "name" pipe}}`."""

    __slots__ = ("name", "pipe")

    def __init__(self, pos: int, name: str, pipe: Pipe | None):
        super().__init__(pos)
        self.name = name
        self.pipe = pipe

    def __str__(self) -> str:
        shown = f" {self.pipe}" if self.pipe else ""
        return f"{{{{template {quote(self.name)}{shown}}}}}"
