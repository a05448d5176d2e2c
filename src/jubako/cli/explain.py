"""`--explain`: a command tells what it made the kernel do.

Every command that changes something has the flag without declaring it; READERS are the others.
What has happened is told when the command ends and, if it stays with a program, also when that
begins, so that the program's output comes between the two.
"""

from __future__ import annotations

import os

from jubako.cli.flags import STRING, Flag, Kind, OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.cli.flags import Call, Command
    from jubako.linux.explain import Explanation
    from jubako.linux.trace import Event

# Modules of jubako.cli.commands that only look, or move bytes.
READERS = frozenset(
    """attach completion container_inspect diff events help history image_inspect images info
    inspect login logout logs manifest_annotate manifest_create manifest_inspect manifest_push
    manifest_rm network_inspect network_ls port ps search stats system_df tag top version
    volume_inspect volume_ls wait why""".split()
)
_FORMATS = ("text", "json")


def _format(text: str) -> str:
    if text not in _FORMATS:
        raise ValueError(f"must be {' or '.join(_FORMATS)}")
    return text


_FLAGS = (
    Flag("explain", "", Kind('string[="text"]', _format, bare="text", zero="")),
    Flag("explain-file", "", STRING),
)
TEXTS = {
    "explain": 'Tell what is done to the kernel and why ("text", "json")',
    "explain-file": "Write the explanation to a file instead of stderr",
}


def flags_of(module: str, command: Command) -> Sequence[Flag]:
    """The flags of a command, with ours if it changes something.

    module: its name in `jubako.cli.commands`.
    """
    return command.flags if module in READERS else (*command.flags, *_FLAGS)


class Explainer:
    """Writes what has been collected, each event once."""

    def __init__(self, explanation: Explanation, form: str, fd: int):
        self._explanation = explanation
        self._form = form
        self._fd = fd
        self._told = False

    def tell(self) -> None:
        """Write what is new."""
        events = self._explanation.collect()
        text = self._json(events) if self._form == "json" else self._text(events)
        if text:
            from jubako.cli.session import write_all

            write_all(self._fd, text.encode(errors="surrogateescape"))

    def _json(self, events: list[Event]) -> str:
        import json

        from jubako.linux.explain import to_dict

        return "".join(json.dumps(to_dict(event)) + "\n" for event in events)

    def _text(self, events: list[Event]) -> str:
        from jubako.cli.session import is_terminal

        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        bold, head = is_terminal(self._fd) and not plain, not self._told
        self._told = self._told or bool(events)
        text = self._explanation.text(events, bold=bold, head=head)
        if self._explanation.lost:
            text += f"\n{self._explanation.lost} more could not be kept.\n"
        return text

    def finish(self) -> None:
        """Write the rest and stop collecting."""
        global _current
        _current = None
        self.tell()
        self._explanation.__exit__()
        if self._fd != 2:
            os.close(self._fd)


_current: Explainer | None = None


def start(call: Call) -> Explainer | None:
    """Begin to collect if the command line or JUBAKO_EXPLAIN asks for it; see `Explainer`.

    Raises OptionError.
    """
    global _current
    if not call.has("explain"):
        return None
    form = call.text("explain") or _of_environment()
    path = call.text("explain-file")
    if not form and not path:
        return None
    from jubako.linux.explain import Explanation

    fd = 2
    if path:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            raise OptionError(f"open {path}: {exc.strerror}") from exc
    explanation = Explanation()
    explanation.__enter__()
    _current = Explainer(explanation, form or "text", fd)
    return _current


def _of_environment() -> str:
    value = os.environ.get("JUBAKO_EXPLAIN", "")
    if value in ("", "0"):
        return ""
    if value == "1":
        return "text"
    try:
        return _format(value)
    except ValueError as exc:
        raise OptionError(f"JUBAKO_EXPLAIN={value}: {exc}") from None


def tell() -> None:
    """A program begins: tell how it came to that, if anybody wants to know."""
    if _current is not None:
        _current.tell()
