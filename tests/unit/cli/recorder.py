"""A session that keeps what a command prints, on an engine that answers from a table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jubako.cli.flags import parse
from jubako.cli.help import command as declared
from jubako.cli.session import Session


class Recorder(Session):
    """`stdout` and `stderr` are what was printed.

    answers: service name to method name to result, or to a function of the call's arguments.
    """

    def __init__(self, **answers: dict[str, Any]):
        super().__init__("jubako test")
        self.stdout = ""
        self.stderr = ""
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        services = {
            service: SimpleNamespace(
                **{name: self._method(name, result) for name, result in table.items()}
            )
            for service, table in answers.items()
        }
        self._engine = SimpleNamespace(**services)  # type: ignore[assignment]

    def _method(self, name: str, result: Any) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if isinstance(result, Exception):
                raise result
            return result(*args, **kwargs) if callable(result) else result

        return method

    def out_bytes(self, data: bytes) -> None:
        self.stdout += data.decode(errors="surrogateescape")

    def err(self, text: str, end: str = "\n") -> None:
        self.stderr += text + end


def run(session: Session, module: str, *words: str) -> int:
    """Call a command on a session, as `main` does after it has found the module."""
    command = declared(module)
    call = parse(command.flags, words, interspersed=command.interspersed)
    found: Any = __import__(f"jubako.cli.commands.{module}", None, None, ["run"])
    status: int = found.run(session, call)
    return status
