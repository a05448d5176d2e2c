"""`top`: the processes of a container as the host's ps(1) shows them."""

from __future__ import annotations

from jubako.errors import InvalidArgument, JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_TIMEOUT_S = 10
_LIMIT_BYTES = 16 << 20  # a host has at most four million processes; this is much of their lines


def top(pids: Collection[int], ps_args: Sequence[str]) -> dict[str, list[object]]:
    """Titles and rows for the processes `pids`; ps_args: options for ps, default `-ef`.

    Raises InvalidArgument if ps refuses the options or names another column PID, JubakoError if its
    output has no PID column.
    """
    words = " ".join(ps_args).split() or ["-ef"]
    _check(words)
    chosen = f"-q{','.join(map(str, pids))}"
    # some options (`f`) cannot be together with -q: then all of the host's processes are listed
    output = _ps([*words, chosen]) if pids else None
    if output is None:
        output = _ps(words, strict=True)
    return parse(output or "", pids)


def _check(words: Sequence[str]) -> None:
    """No other column may pass for the PID.  Raises InvalidArgument."""
    for word in words:
        for column in word.split(","):
            name, _, title = column.partition("=")
            if title.strip().startswith("PID") and name.lstrip("-o") != "pid":
                raise InvalidArgument(f'specifying "{name}={title}" is not allowed')


def _ps(words: Sequence[str], *, strict: bool = False) -> str | None:
    """What ps prints; None when it fails, with `strict` InvalidArgument with its reason."""
    from jubako.linux import process

    why = "the table of processes, of which the container's are shown"
    argv = ["ps", *words]
    result = process.run(argv, timeout_s=_TIMEOUT_S, limit_bytes=_LIMIT_BYTES, why=why)
    if result.status == 0:
        return result.stdout.decode(errors="replace")
    if not strict:
        return None
    reason = result.stderr.decode(errors="replace").partition("\n")[0].strip()
    raise InvalidArgument(f"ps: {reason or f'exit status {result.status}'}")


def parse(output: str, pids: Collection[int]) -> dict[str, list[object]]:
    """Titles and rows of what ps has printed, of the processes `pids` and of their threads.

    Words beyond the last column belong to it.  Raises JubakoError (no PID column).
    """
    lines = output.split("\n")
    titles = lines[0].split()
    if "PID" not in titles:
        raise JubakoError("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows: list[object] = []
    ours = False
    for line in lines[1:]:
        fields = line.split()
        if len(fields) <= column:
            continue
        if fields[column] != "-":  # with `m`: a thread of the process in the line above
            if not fields[column].isdigit():
                raise JubakoError(f"Unexpected pid '{fields[column]}' in ps output")
            ours = int(fields[column]) in pids
        if ours:
            last = len(titles) - 1
            rows.append([*fields[:last], " ".join(fields[last:])])
    return {"Titles": list(titles), "Processes": rows}
