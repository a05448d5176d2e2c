"""`top`: the processes of a container as the host's ps(1) shows them."""

from __future__ import annotations

from jubako.errors import InvalidArgument, JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


_WHY = "the table of processes, of which the container's are shown"


def top(pids: Sequence[int], ps_args: Sequence[str]) -> dict[str, list[object]]:
    """Titles and rows for the processes `pids`; ps_args: options for ps, default `-ef`.

    Raises InvalidArgument if ps refuses the options or its output has no PID column.
    """
    from jubako.linux import process

    result = process.run(["ps", *(ps_args or ["-ef"])], timeout_s=10, why=_WHY)
    if result.status != 0:
        text = result.stderr.decode(errors="replace").strip()
        raise InvalidArgument(f"Error running ps: {text or f'exit status {result.status}'}")
    lines = result.stdout.decode(errors="replace").splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise JubakoError("Couldn't find PID field in ps output")
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    rows: list[object] = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > column and fields[column] in wanted:
            rows.append(fields)
    return {"Titles": list(titles), "Processes": rows}
