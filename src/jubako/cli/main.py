"""The command line: global options, dispatch, and the one place that prints errors."""

from __future__ import annotations

import gc
import os
import sys

from jubako.cli import explain, tree
from jubako.cli.flags import (
    BOOL,
    STRING,
    Command,
    Flag,
    HelpRequested,
    OptionError,
    Refused,
    UsageError,
    check_arguments,
    parse,
)
from jubako.cli.session import PROGRAM, Session
from jubako.errors import InvalidArgument, JubakoError, StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

GLOBAL = Command(
    "[OPTIONS] COMMAND [ARG...]",
    (
        Flag("debug", "D", BOOL),
        Flag("root", "", STRING),
        Flag("version", "v", BOOL),
    ),
    maximum=None,
    interspersed=False,
)


_SAY_COMMAND = ("", "volume")  # of Docker's groups the one whose errors say `volume COMMAND`


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    argv: the words after the program's name.  None is the command itself: the words are those of
    the process, which ends here without taking the interpreter apart (a tenth of `jubako ps`).
    Never raises for what a user can cause.  Exit codes: 0; the container's own; 125 for a wrong
    flag and for a failure of the engine in `run`; 126 and 127 when the program cannot be run; 130
    after Ctrl-C; otherwise 1.
    """
    if argv is not None:
        return _run(list(argv))
    gc.set_threshold(50_000)  # a command makes little garbage; collecting took 6 % of `ps`
    status = _run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more
    os._exit(status)


def _run(args: list[str]) -> int:
    session = Session(PROGRAM)
    try:
        return _main(session, args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _die_of_sigpipe()
    except JubakoError as exc:
        return _report(session, exc)
    except Exception as exc:  # a bug of ours: say so, and how to learn more
        return _internal_error(session, exc)


def _main(session: Session, args: list[str]) -> int:
    try:
        options = parse(GLOBAL.flags, args, interspersed=False)
    except HelpRequested as wanted:
        return _help(session, "", wanted)
    except UsageError as exc:
        return _usage_error(session, exc, GLOBAL)
    session.root = options.text("root") or os.environ.get("JUBAKO_ROOT") or None
    session.debug = options.flag("debug")
    if options.flag("version"):
        from jubako.version import __version__

        session.out(f"Jubako version {__version__}")
        return 0
    if session.debug:
        _trace_to_stderr()
    path, module_name, rest = tree.find(options.args)
    if path:
        session.path = f"{PROGRAM} {path}"
    if module_name is None:
        return _no_command(session, path, rest)
    module: Any = __import__(f"jubako.cli.commands.{module_name}", None, None, ["run"])
    return _call(session, path, module, rest)


def _call(session: Session, path: str, module: Any, args: list[str]) -> int:
    command: Command = module.COMMAND
    flags = explain.flags_of(module.__name__.rpartition(".")[2], command)
    try:
        call = parse(flags, args, interspersed=command.interspersed)
        check_arguments(command, session.path, call.args)
        explainer = explain.start(call)
        try:
            status: int = module.run(session, call)
            return status
        finally:
            if explainer is not None:
                explainer.finish()
    except HelpRequested as wanted:
        return _help(session, path, wanted)
    except UsageError as exc:
        return _usage_error(session, exc, command)
    except Refused:
        raise
    except JubakoError as exc:
        status = OptionError.exit_code if isinstance(exc, OptionError) else command.failure
        if command.program and isinstance(exc, StartError) and exc.exit_code in (126, 127):
            status = exc.exit_code
        session.report(exc)
        if status == 125 or (status != 1 and command.failure == 125):
            session.err(f"\nRun '{session.path} --help' for more information")
        return status


def _no_command(session: Session, path: str, rest: list[str]) -> int:
    """The words stop at a group, or name a command that does not exist."""
    from jubako.cli import help

    usage = Command("COMMAND" if path in _SAY_COMMAND else "")
    try:
        words = parse((), rest, interspersed=False).args
    except HelpRequested as wanted:
        return _help(session, path, wanted)
    except UsageError as exc:
        return _usage_error(session, exc, usage)
    if not words:
        session.err(help.render(path), end="")
        return 0
    known = help.later(f"{path} {words[0]}".strip())
    if known:
        raise JubakoError(f"'{session.path} {words[0]}' is not supported yet", hint=known)
    text = f"unknown command: {session.path} {words[0]}"
    if path:
        text += f"\n\nUsage:  {session.path} {usage.usage}".rstrip()
    raise InvalidArgument(f"{text}\n\nRun '{session.path} --help' for more information")


def _help(session: Session, path: str, wanted: HelpRequested) -> int:
    from jubako.cli import help

    if wanted.shorthand:
        session.err("Flag shorthand -h has been deprecated, use --help")
    session.out(help.render(path), end="")
    return 0


def _usage_error(session: Session, error: UsageError, command: Command) -> int:
    lines = f"{error}\n\nUsage:  {session.path} {command.usage}".rstrip()
    session.err(f"{lines}\n\nRun '{session.path} --help' for more information")
    return 125


def _report(session: Session, error: JubakoError) -> int:
    try:
        session.report(error)
    except BrokenPipeError:
        pass
    return 1


def _internal_error(session: Session, error: Exception) -> int:
    try:
        if session.debug:
            import traceback

            session.err("".join(traceback.format_exception(error)), end="")
        else:
            session.err(f"{PROGRAM}: internal error: {type(error).__name__}: {error}")
            session.err("hint: run the same with `jubako --debug` to see where it happened")
    except BrokenPipeError:
        pass
    return 1


def _trace_to_stderr() -> None:
    """Print every change of the kernel's state; the copy of stderr outlives what replaces fd 2."""
    import fcntl

    from jubako.linux import trace

    # a high number, out of the way of descriptors that a container's process gets
    trace.set_sink(trace.to_descriptor(fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 200)))


def _die_of_sigpipe() -> int:
    """Nobody reads stdout any more: end as a program that does not ignore SIGPIPE does."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 128 + signal.SIGPIPE
