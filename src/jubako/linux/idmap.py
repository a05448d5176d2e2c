"""ID maps of user namespaces: /proc/PID/{uid_map,gid_map,setgroups} (user_namespaces(7))."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.linux import pseudofile
from jubako.linux.shell import quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_LINES = 340  # of one map, kernel 4.15


def _render(mappings: Iterable[Mapping[str, int]]) -> str:
    lines = [f"{m['containerID']} {m['hostID']} {m['size']}" for m in mappings]
    if not 0 < len(lines) <= MAX_LINES:
        raise InvalidArgument(f"an ID map has 1 to {MAX_LINES} lines, not {len(lines)}")
    return "\n".join(lines) + "\n"


@traced(lambda path, text, *, why="": f"printf %s {quote(text)} > {path}", op="write")
def _write(path: str, text: str, *, why: str = "") -> None:
    # The kernel takes the map in one write or not at all.
    pseudofile.put(path, text, shown=repr(text.strip()))


def write(
    pid: int | str,
    uid_mappings: Iterable[Mapping[str, int]],
    gid_mappings: Iterable[Mapping[str, int]],
    *,
    deny_setgroups: bool = False,
    why: str = "",
) -> None:
    """Write the maps of the user namespace of `pid`, which has none yet.

    mappings: as in the OCI runtime spec, `containerID`, `hostID`, `size`.  deny_setgroups: needed
    when the writer has no CAP_SETGID over the parent namespace.
    """
    if deny_setgroups:
        _write(f"/proc/{pid}/setgroups", "deny", why=why)
    _write(f"/proc/{pid}/gid_map", _render(gid_mappings), why=why)
    _write(f"/proc/{pid}/uid_map", _render(uid_mappings), why=why)


def _try_program(program: str, pid: int, mappings: Iterable[Mapping[str, int]]) -> None:
    from jubako.linux import process

    numbers = [str(m[key]) for m in mappings for key in ("containerID", "hostID", "size")]
    why = "who is not root may write such a table only through a program that checks it"
    done = process.run([program, str(pid), *numbers], timeout_s=10, why=why)
    if done.status != 0:
        reason = done.stderr.decode(errors="replace").strip()
        raise InvalidArgument(f"{program}: {reason}", hint="see subuid(5) and subgid(5)")


def write_with_programs(
    pid: int,
    uid_mappings: Iterable[Mapping[str, int]],
    gid_mappings: Iterable[Mapping[str, int]],
) -> None:
    """The same for an unprivileged user, through newuidmap(1) and newgidmap(1).

    Raises Unavailable (not installed), InvalidArgument with the program's words.
    """
    _try_program("newgidmap", pid, gid_mappings)
    _try_program("newuidmap", pid, uid_mappings)
