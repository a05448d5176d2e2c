"""`jubako-runtime`: the built-in runtime as a program, for Podman, containerd and Docker.

The command line is runc's, as far as those use it.  Errors go to stderr and, as runc does it, to
the file of `--log`, from where conmon's and containerd's users read them.
"""

from __future__ import annotations

import json
import os
import sys

from jubako.errors import InvalidArgument, JubakoError, KernelError, Unsupported
from jubako.runtime import exec_options, update_options
from jubako.runtime.flags import BOOL, NUMBER, TEXT, Values, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.runtime.builtin import BuiltinRuntime

_GLOBAL = {
    "root": TEXT,
    "log": TEXT,
    "log-format": TEXT,
    "debug": BOOL,
    "systemd-cgroup": BOOL,
    "rootless": TEXT,
    "criu": TEXT,
    "help": BOOL,
    "version": BOOL,
}
_CREATE = {
    "bundle": TEXT,
    "pid-file": TEXT,
    "console-socket": TEXT,
    "no-pivot": BOOL,
    "no-new-keyring": BOOL,
    "preserve-fds": NUMBER,
}
# command -> (options, one-letter aliases, least and most arguments or -1, usage)
_COMMANDS: dict[str, tuple[dict[str, str], dict[str, str], int, int, str]] = {
    "create": (_CREATE, {"b": "bundle"}, 1, 1, "create [OPTIONS] CONTAINER"),
    "delete": ({"force": BOOL}, {"f": "force"}, 1, 1, "delete [--force] CONTAINER"),
    "events": (
        {"stats": BOOL, "interval": TEXT},
        {},
        1,
        1,
        "events [--stats] [--interval 5s] CONTAINER",
    ),
    "exec": (
        exec_options.OPTIONS,
        exec_options.ALIASES,
        1,
        -1,
        "exec [OPTIONS] CONTAINER COMMAND [ARG...] | exec --process FILE CONTAINER",
    ),
    "features": ({}, {}, 0, 0, "features"),
    "kill": ({"all": BOOL}, {"a": "all"}, 1, 2, "kill [--all] CONTAINER [SIGNAL]"),
    "list": (
        {"format": TEXT, "quiet": BOOL},
        {"f": "format", "q": "quiet"},
        0,
        0,
        "list [--format table|json] [--quiet]",
    ),
    "pause": ({}, {}, 1, 1, "pause CONTAINER"),
    "ps": (
        {"format": TEXT},
        {"f": "format"},
        1,
        -1,
        "ps [--format table|json] CONTAINER [PS-ARG...]",
    ),
    "resume": ({}, {}, 1, 1, "resume CONTAINER"),
    "run": (
        {**_CREATE, "detach": BOOL, "keep": BOOL, "no-subreaper": BOOL},
        {"b": "bundle", "d": "detach"},
        1,
        1,
        "run [OPTIONS] CONTAINER",
    ),
    "spec": ({"bundle": TEXT, "rootless": BOOL}, {"b": "bundle"}, 0, 0, "spec [--bundle DIR]"),
    "start": ({}, {}, 1, 1, "start CONTAINER"),
    "state": ({}, {}, 1, 1, "state CONTAINER"),
    "update": (update_options.OPTIONS, {"r": "resources"}, 1, 1, "update [OPTIONS] CONTAINER"),
}

# What runc puts before its reason, and Docker's messages therefore contain.
_FAILED = {
    "create": "jubako-runtime create failed: ",
    "run": "jubako-runtime run failed: ",
    "exec": "exec failed: ",
}
_EXEC_FAILED = 255  # runc's, which tells its own failure from a status of the process


class Context:
    """One call of the command: global options, own options, arguments."""

    __slots__ = ("arguments", "options", "root")

    def __init__(self, root: str, options: Values, arguments: list[str]):
        self.root = root
        self.options = options
        self.arguments = arguments

    @property
    def container(self) -> str:
        return self.arguments[0]

    def runtime(self) -> BuiltinRuntime:
        from jubako.runtime.builtin import BuiltinRuntime

        cache = f"{self.root}/.seccomp"
        os.makedirs(cache, 0o700, exist_ok=True)
        return BuiltinRuntime(self.root, cache_dir=cache, words_of_docker=False)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    options = Values()
    command = ""
    try:
        options, rest = parse(arguments, _GLOBAL, {"h": "help", "v": "version"})
        if options.flag("version"):
            return _version()
        if options.flag("help") or not rest or rest[0] in ("help", "--help"):
            return _help()
        command = rest[0]
        if command not in _COMMANDS:
            raise InvalidArgument(f"no such command: {command}")
        known, aliases, least, most, usage = _COMMANDS[command]
        own, words = parse(rest[1:], {**known, "help": BOOL}, {**aliases, "h": "help"})
        if own.flag("help"):
            print(f"Usage:  jubako-runtime [GLOBAL OPTIONS] {usage}")
            return 0
        if len(words) < least or 0 <= most < len(words):
            raise InvalidArgument(f"usage: jubako-runtime {usage}")
        if options.flag("systemd-cgroup"):
            raise Unsupported(
                "--systemd-cgroup: jubako-runtime manages cgroups itself",
                hint="configure the engine's cgroup manager as cgroupfs",
            )
        if options.flag("debug"):
            from jubako.linux import trace

            trace.set_sink(trace.to_descriptor(2))
        root = options.text("root") or _default_root()
        handler: Callable[[Context], int] = globals()[f"_{command}"]
        return handler(Context(os.path.abspath(root), own, words))
    except JubakoError as error:
        _log(options, _FAILED.get(command, "") + error.message, error.hint)
        return _EXEC_FAILED if command == "exec" else 1
    except KeyboardInterrupt:
        return 130


def _default_root() -> str:
    if os.geteuid() == 0:
        return "/run/jubako-runtime"
    return f"{os.environ.get('XDG_RUNTIME_DIR', '/tmp')}/jubako-runtime"


def _log(options: Values, message: str, hint: str | None) -> None:
    message += f" ({hint})" if hint else ""
    path = options.text("log")
    if path and path != "/dev/stderr":
        from jubako.runtime.state import now

        if options.text("log-format", "text") == "json":
            line = json.dumps({"level": "error", "msg": message, "time": now()})
        else:
            line = f'time="{now()}" level=error msg={json.dumps(message)}'
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, f"{line}\n".encode())
            finally:
                os.close(fd)
        except OSError as problem:
            print(f"jubako-runtime: open {path}: {problem.strerror}", file=sys.stderr)
    elif options.text("log-format") == "json":
        from jubako.runtime.state import now

        message = json.dumps({"level": "error", "msg": message, "time": now()})
        print(message, file=sys.stderr)
        return
    print(f"jubako-runtime: {message}", file=sys.stderr)


def _version() -> int:
    from jubako.runtime.features import OCI_VERSION
    from jubako.version import __version__

    print(f"jubako-runtime version {__version__}\nspec: {OCI_VERSION}")
    return 0


def _help() -> int:
    print("Usage:  jubako-runtime [GLOBAL OPTIONS] COMMAND [ARG...]\n")
    print("An OCI runtime: a bundle in, a container out\n\nCommands:")
    for _options, _aliases, _least, _most, usage in _COMMANDS.values():
        print(f"  {usage}")
    print("\nGlobal Options:")
    for name, kind in _GLOBAL.items():
        print(f"  --{name}{'' if kind == BOOL else ' ' + kind}")
    return 0


# --- life cycle ----------------------------------------------------------------------------------


def _check_terminal(context: Context, terminal: bool, detached: bool) -> None:
    has_socket = context.options.has("console-socket")
    if has_socket and not terminal:
        raise InvalidArgument("cannot use console socket if process.terminal is false")
    if terminal and detached and not has_socket:
        raise InvalidArgument(
            "cannot allocate tty if the runtime will detach without console socket"
        )
    if has_socket and not detached:
        raise InvalidArgument("cannot use console socket if the runtime will not detach")


def _create_process(context: Context, detached: bool) -> tuple[BuiltinRuntime, Any]:
    from jubako.runtime import spec as specs
    from jubako.runtime.interface import Stdio

    bundle = os.path.abspath(context.options.text("bundle", "."))
    spec = specs.load(bundle)
    specs.validate(spec)
    _check_terminal(context, bool(spec["process"].get("terminal")), detached)
    runtime = context.runtime()
    process = runtime.create(
        context.container,
        bundle,
        Stdio(0, 1, 2),
        spec=spec,
        preserve_fds=_preserved(context),
        no_pivot=context.options.flag("no-pivot"),
    )
    try:
        _hand_over(context, process)
    except JubakoError:
        runtime.delete(context.container, force=True)
        raise
    return runtime, process


def _preserved(context: Context) -> int:
    """How many descriptors after 2 go to the process: those asked for and systemd's."""
    count = context.options.number("preserve-fds")
    if "LISTEN_FDS" in os.environ and os.environ["LISTEN_FDS"].isdigit():
        count += int(os.environ["LISTEN_FDS"])
    for fd in range(3, 3 + count):
        try:
            os.set_inheritable(fd, True)
        except OSError as error:
            raise InvalidArgument(f"--preserve-fds: descriptor {fd} is not open") from error
    return count


def _hand_over(context: Context, process: Any) -> None:
    """The terminal to its socket, the PID to its file."""
    if context.options.has("console-socket") and process.console is not None:
        _send_console(context.options.text("console-socket"), process.console)
    if context.options.has("pid-file"):
        from jubako.linux import atomic

        path = os.path.abspath(context.options.text("pid-file"))
        atomic.write_file(path, str(process.pid).encode(), 0o644, durable=False)


def _send_console(path: str, console: int) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [b"/dev/ptmx"], [console])
        except OSError as error:
            raise KernelError.from_oserror("send terminal", error, path=path) from error


def _create(context: Context) -> int:
    _create_process(context, detached=True)
    return 0


def _start(context: Context) -> int:
    context.runtime().start(context.container)
    return 0


def _run(context: Context) -> int:
    from jubako.runtime import foreground

    detached = context.options.flag("detach")
    runtime, process = _create_process(context, detached)
    if not detached:
        foreground.forward_signals(process)
    try:
        runtime.start(context.container)
    except JubakoError:
        runtime.delete(context.container, force=True)
        raise
    if detached:
        return 0
    try:
        return foreground.attend(process)
    finally:
        if not context.options.flag("keep"):
            runtime.delete(context.container, force=True)


def _delete(context: Context) -> int:
    context.runtime().delete(context.container, force=context.options.flag("force"))
    return 0


def _kill(context: Context) -> int:
    word = context.arguments[1] if len(context.arguments) > 1 else "SIGTERM"
    number = _signal_number(word)
    context.runtime().kill(context.container, number, everything=context.options.flag("all"))
    return 0


def _signal_number(word: str) -> int:
    import signal

    if word.isdigit() and 0 < int(word) < signal.NSIG:
        return int(word)
    name = word.upper().removeprefix("SIG")
    if name.startswith("RTMIN+") and name[6:].isdigit():
        return signal.SIGRTMIN + int(name[6:])
    found = signal.__dict__.get(f"SIG{name}")
    if not isinstance(found, signal.Signals):
        raise InvalidArgument(f"unknown signal {word!r}")
    return int(found)


def _pause(context: Context) -> int:
    context.runtime().pause(context.container)
    return 0


def _resume(context: Context) -> int:
    context.runtime().resume(context.container)
    return 0


# --- one more process ----------------------------------------------------------------------------


def _exec(context: Context) -> int:
    from jubako.runtime.interface import Stdio

    runtime = context.runtime()
    options = context.options
    process = exec_options.process_object(
        options, context.arguments[1:], lambda: runtime.record(context.container)
    )
    detached = options.flag("detach")
    _check_terminal(context, bool(process.get("terminal")), detached)
    made = runtime.exec(
        context.container,
        process,
        Stdio(0, 1, 2),
        preserve_fds=_preserved(context),
        cgroup=_exec_cgroup(context, runtime),
        ignore_paused=options.flag("ignore-paused"),
    )
    _hand_over(context, made)
    if detached:
        return 0
    from jubako.runtime import foreground

    foreground.forward_signals(made)
    return foreground.attend(made)


def _exec_cgroup(context: Context, runtime: BuiltinRuntime) -> str | None:
    below = context.options.text("cgroup")
    if not below:
        return None
    import posixpath

    own: str = runtime.record(context.container)["cgroup"]
    return posixpath.normpath(f"{own}/{posixpath.normpath('/' + below.lstrip('/'))}")


# --- looking -------------------------------------------------------------------------------------


def _state(context: Context) -> int:
    print(json.dumps(context.runtime().state(context.container), indent=2))
    return 0


def _list(context: Context) -> int:
    states = context.runtime().states()
    if context.options.text("format", "table") == "json":
        print(json.dumps(states))
    elif context.options.flag("quiet"):
        for state in states:
            print(state["id"])
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED")]
        for state in states:
            pid = str(state.get("pid", 0))
            rows.append((state["id"], pid, state["status"], state["bundle"], state["created"]))
        widths = [max(10, *(len(row[i]) + 3 for row in rows)) for i in range(5)]
        for row in rows:
            print(
                "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            )
    return 0


def _ps(context: Context) -> int:
    pids = context.runtime().pids(context.container)
    if context.options.text("format", "table") == "json":
        print(json.dumps(pids))
        return 0
    from jubako.linux import process

    done = process.run(["ps", *(context.arguments[1:] or ["-ef"])], why="the table of processes")
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.status != 0 or not lines:
        raise InvalidArgument(f"ps: {done.stderr.decode(errors='replace').strip()}")
    titles = lines[0].split()
    if "PID" not in titles:
        raise InvalidArgument("couldn't find PID field in ps output")
    column = titles.index("PID")
    print(lines[0])
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            print(line)
    return 0


def _events(context: Context) -> int:
    from jubako.runtime import events

    runtime = context.runtime()
    if context.options.flag("stats"):
        print(json.dumps(events.stats(runtime, context.container)), flush=True)
        return 0
    interval_s = events.parse_interval(context.options.text("interval", "5s"))
    for event in events.follow(runtime, context.container, interval_s):
        print(json.dumps(event), flush=True)
    return 0


def _features(context: Context) -> int:
    from jubako.runtime import features

    print(json.dumps(features.features(), indent=2))
    return 0


def _spec(context: Context) -> int:
    from jubako.linux import atomic
    from jubako.runtime.default_spec import default_spec

    path = os.path.join(context.options.text("bundle", "."), "config.json")
    if os.path.exists(path):
        raise InvalidArgument(f"file {path} exists. Remove it first", subject=path)
    text = json.dumps(default_spec(rootless=context.options.flag("rootless")), indent=4)
    atomic.write_file(path, text.encode(), 0o644, durable=False)
    return 0


# --- update --------------------------------------------------------------------------------------


def _update(context: Context) -> int:
    context.runtime().update(context.container, update_options.resources(context.options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
