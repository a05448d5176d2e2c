"""Files of `NAME=value` lines: `--env-file` and `--label-file`."""

from __future__ import annotations

import os

from jubako.cli.flags import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_LINE_BYTES = 64 << 10  # as Docker's reader; a longer line is not a list of variables
MAX_FILE_BYTES = 16 << 20  # the kernel takes no more than 6 MiB of environment anyway


def read(
    files: Sequence[str], more: Sequence[str], environ: Mapping[str, str] | None = None
) -> list[str]:
    """The variables of `files` in order, then `more`.

    environ: where a bare NAME in a file gets its value; None drops such lines, as does a name that
    is not set.  Raises OptionError.
    """
    found: list[str] = []
    for path in files:
        found += _read_file(path, environ)
    return found + list(more)


def _read_file(path: str, environ: Mapping[str, str] | None) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        reason = os.strerror(exc.errno or 0).lower()
        raise OptionError(f"open {path}: {reason}", subject=path) from exc
    if len(data) > MAX_FILE_BYTES:
        raise OptionError(f"invalid env file ({path}): more than {MAX_FILE_BYTES} bytes")
    try:
        return parse(data, environ)
    except ValueError as exc:
        raise OptionError(f"invalid env file ({path}): {exc}", subject=path) from None


def parse(data: bytes, environ: Mapping[str, str] | None) -> list[str]:
    """The variables in the content of one file; raises ValueError with Docker's sentence."""
    found: list[str] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        raw = raw.removesuffix(b"\r")
        if len(raw) >= MAX_LINE_BYTES:
            raise ValueError("bufio.Scanner: token too long")
        try:
            line = raw.decode().lstrip()
        except UnicodeDecodeError:
            octets = " ".join(map(str, raw))
            raise ValueError(f"invalid utf8 bytes at line {number}: [{octets}]") from None
        if not line or line[0] == "#":
            continue
        name, has_value, _ = line.partition("=")
        if not name:
            raise ValueError(f"no variable name on line '{line}'")
        if " " in name or "\t" in name:
            raise ValueError(f"variable '{name}' contains whitespaces")
        if has_value:
            found.append(line)
        elif environ is not None and name in environ:
            found.append(f"{name}={environ[name]}")
    return found
