"""`--change` of import and commit: Dockerfile instructions that edit an image's defaults.

CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR, with the
Dockerfile's grammar: JSON or shell form, quoted words, several pairs on a line.
"""

from __future__ import annotations

import json
import posixpath
import re

from jubako.errors import InvalidArgument
from jubako.images.words import expand, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Config = dict[str, Any]

_ONE_ARGUMENT = frozenset(("WORKDIR", "USER", "STOPSIGNAL"))
_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(?:.*:)?(\d+)(?:-(\d+))?(?:/([A-Za-z]*))?\Z", re.DOTALL | re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|ns))+\Z", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|ns)", re.ASCII)
_UNIT_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_MIN_INTERVAL_NS = 10**6  # Docker's minimum of a health check's durations: 1 ms


def apply(config: Config, changes: Iterable[str]) -> Config:
    """A copy of `config` (the member `config` of an image) with the instructions applied in order.

    Raises InvalidArgument, naming the instruction.
    """
    result: Config = json.loads(json.dumps(config))
    cmd_given = False
    for change in changes:
        for line in _logical_lines(change):
            word, _, rest = line.partition(" ")
            instruction = word.upper()
            handler = _HANDLERS.get(instruction)
            if handler is None:
                raise InvalidArgument(f"{instruction[:40]} is not a valid change command")
            rest = rest.strip()
            if not rest and instruction not in ("CMD", "ENTRYPOINT"):
                count = "exactly one" if instruction in _ONE_ARGUMENT else "at least one"
                raise InvalidArgument(f"{instruction} requires {count} argument")
            handler(result, rest)
            if instruction == "CMD":
                cmd_given = True
            if instruction == "ENTRYPOINT" and not cmd_given:
                result["Cmd"] = None  # it belonged to the former entrypoint
    return result


def _logical_lines(text: str) -> list[str]:
    """Lines with continuations joined; comments and empty lines are left out."""
    lines = []
    pending = ""
    for line in text.split("\n"):
        stripped = line.strip()
        if not pending and (not stripped or stripped.startswith("#")):
            continue
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        lines.append(" ".join((pending + stripped).split(None, 1)))
        pending = ""
    if pending.strip():
        lines.append(" ".join(pending.split(None, 1)).strip())
    return lines


def _json_form(rest: str) -> list[str] | None:
    if not rest.startswith("["):
        return None
    try:
        words: list[str] = json.loads(rest)  # checked below
    except (ValueError, RecursionError):
        return None  # as in a Dockerfile: it is then a command line
    if not all(isinstance(word, str) for word in words):
        raise InvalidArgument(
            "when using JSON array syntax, arrays must be comprised of strings only"
        )
    return words


def _command(rest: str) -> list[str]:
    words = _json_form(rest)
    return [*_SHELL, *([rest] if rest else [])] if words is None else words


def _environment(config: Config) -> dict[str, str]:
    """The variables that an instruction sees: those of the instructions before it."""
    pairs = (item.partition("=") for item in config.get("Env") or ())
    return {name: value for name, _, value in pairs}


def _expanded(config: Config, text: str) -> str:
    return expand(text, _environment(config))


def _words(config: Config, rest: str) -> list[str]:
    environment = _environment(config)
    return [expand(word, environment) for word in split(rest)]


def _pairs(config: Config, instruction: str, rest: str) -> list[tuple[str, str]]:
    parts = split(rest)
    environment = _environment(config)
    if parts and "=" not in parts[0]:
        # The old form: one name, and the rest of the line is its value.
        first, *others = rest.split(None, 1)
        if not others:
            raise InvalidArgument(f"{instruction} must have two arguments")
        return [(expand(first, environment), expand(others[0].strip(), environment))]
    pairs = []
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            raise InvalidArgument(
                f'Syntax error - can\'t find = in "{part[:80]}". Must be of the form: name=value'
            )
        if not name:
            raise InvalidArgument(f"{instruction} names can not be blank")
        pairs.append((expand(name, environment), expand(value, environment)))
    return pairs


def _cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(rest)


def _entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(rest) if rest else None


def _env(config: Config, rest: str) -> None:
    environment = list(config.get("Env") or ())
    for name, value in _pairs(config, "ENV", rest):
        for index, item in enumerate(environment):
            if item.partition("=")[0] == name:
                environment[index] = f"{name}={value}"
                break
        else:
            environment.append(f"{name}={value}")
    config["Env"] = environment


def _expose(config: Config, rest: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in " ".join(_words(config, rest)).split():
        match = _PORT.match(word)
        first = int(match[1]) if match else -1
        last = int(match[2] or first) if match else -1
        if match is None or not 0 <= first <= last <= 65535:
            raise InvalidArgument(f"Invalid containerPort: {word[:80]}")
        protocol = (match[3] or "tcp").lower()
        if protocol not in ("tcp", "udp", "sctp"):
            raise InvalidArgument(f"Invalid proto: {protocol[:40]}")
        for port in range(first, last + 1):
            ports[f"{port}/{protocol}"] = {}
    config["ExposedPorts"] = ports


def _label(config: Config, rest: str) -> None:
    labels = dict(config.get("Labels") or {})
    labels.update(_pairs(config, "LABEL", rest))
    config["Labels"] = labels


def _onbuild(config: Config, rest: str) -> None:
    trigger = rest.partition(" ")[0].upper()
    if trigger == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("FROM", "MAINTAINER"):
        raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or ()), rest]


def _stop_signal(config: Config, rest: str) -> None:
    import signal

    name = _expanded(config, rest)
    number = int(name) if name.isascii() and name.isdigit() else 0
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    known = {member.name for member in signal.Signals}
    realtime = re.match(r"SIGRTM(IN\+|AX-)\d+\Z", full)
    if not (1 <= number <= 64 or full in known or realtime):
        raise InvalidArgument(f"invalid signal: {name[:40]}")
    config["StopSignal"] = name


def _user(config: Config, rest: str) -> None:
    config["User"] = _expanded(config, rest)


def _volume(config: Config, rest: str) -> None:
    volumes = dict(config.get("Volumes") or {})
    listed = _json_form(rest)
    paths = _words(config, rest) if listed is None else listed
    for path in paths if listed is None else [_expanded(config, path) for path in paths]:
        if not path.strip():
            raise InvalidArgument("VOLUME specified can not be an empty string")
        volumes[path] = {}
    config["Volumes"] = volumes


def _workdir(config: Config, rest: str) -> None:
    path = _expanded(config, rest)
    config["WorkingDir"] = posixpath.normpath(
        posixpath.join("/", config.get("WorkingDir") or "/", path)
    )


def _healthcheck(config: Config, rest: str) -> None:
    check: dict[str, Any] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        name, _, value = flag[2:].partition("=")
        key = _HEALTH_FLAGS.get(name)
        if key is None:
            raise InvalidArgument(f"unknown flag: {name[:40]}")
        check[key] = _retries(value) if key == "Retries" else _duration_ns(name, value)
    word, _, argument = rest.partition(" ")
    if word.upper() == "NONE":
        if argument.strip():
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        check = {"Test": ["NONE"]}
    elif word.upper() == "CMD":
        argument = argument.strip()
        if not argument:
            raise InvalidArgument("Missing command after HEALTHCHECK CMD")
        listed = _json_form(argument)
        check["Test"] = ["CMD-SHELL", argument] if listed is None else ["CMD", *listed]
    else:
        raise InvalidArgument(f'Unknown type "{word.upper()[:40]}" in HEALTHCHECK (try CMD)')
    config["Healthcheck"] = check


_HEALTH_FLAGS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidArgument(f"--retries must be a number: {text[:40]!r}")
    return int(text)


def _duration_ns(name: str, text: str) -> int:
    if not _DURATION.match(text):
        raise InvalidArgument(f"--{name}: invalid duration {text[:40]!r}")
    total = sum(int(float(number) * _UNIT_NS[unit]) for number, unit in _PART.findall(text))
    if 0 < total < _MIN_INTERVAL_NS:
        raise InvalidArgument(f'Interval "{name}" cannot be less than 1ms')
    return total


_HANDLERS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
