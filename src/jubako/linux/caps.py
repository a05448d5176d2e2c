"""Capabilities: names, the five sets of a thread, and how to change them (capabilities(7)).

A set is an `int`: bit N is capability number N.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from jubako.errors import InvalidArgument, KernelError
from jubako.linux._libc import check, get_errno, syscall
from jubako.linux.prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    _prctl,
)
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522  # 64 bits in two 32-bit halves
_capget = syscall("capget", ctypes.c_char_p, ctypes.c_void_p)
_capset = syscall("capset", ctypes.c_char_p, ctypes.c_char_p)
_last: int | None = None


def last_cap() -> int:
    """The highest capability number this kernel knows."""
    global _last
    if _last is None:
        low, high = 0, 63  # PR_CAPBSET_READ: EINVAL beyond the last; needs no /proc
        while low < high:
            middle = (low + high + 1) // 2
            if _prctl(PR_CAPBSET_READ, middle, 0, 0, 0) >= 0:
                low = middle
            else:
                high = middle - 1
        _last = low
    return _last


def available() -> list[str]:
    """The names of what this process can hand on: known to the kernel and in its bounding set (a
    container inside a container cannot give what it does not have)."""
    last = last_cap()
    return [
        name
        for bit, name in enumerate(NAMES)
        if bit <= last and _prctl(PR_CAPBSET_READ, bit, 0, 0, 0) == 1
    ]


def number(name: str) -> int:
    """The number of `CAP_CHOWN`.  Raises InvalidArgument for an unknown name."""
    try:
        return NUMBERS[name]
    except KeyError:
        raise InvalidArgument(f"unknown capability {name}", subject=name) from None


def mask(names: Iterable[str]) -> int:
    """The set of `names`, without those that this kernel or this table does not know.

    runtime-spec config.md (capabilities): what cannot be mapped is skipped with a warning.
    """
    highest = last_cap()
    bits = 0
    for name in names:
        found = NUMBERS.get(name)
        if found is not None and found <= highest:
            bits |= 1 << found
    return bits


def names(bits: int) -> list[str]:
    """The names of a set, in the order of their numbers; `CAP_<n>` where there is none."""
    return [
        NAMES[n] if n < len(NAMES) else f"CAP_{n}"
        for n in range(bits.bit_length())
        if bits >> n & 1
    ]


def _words(bits: int) -> str:
    """As setpriv(1) wants them: `+chown,+kill`."""
    return ",".join(f"+{name[4:].lower()}" for name in names(bits))


def _all_but(keep: int) -> str:
    return f"-all,{_words(keep)}" if keep else "-all"


def get(pid: int = 0) -> tuple[int, int, int]:
    """The effective, permitted and inheritable sets of a thread (0: this one)."""
    header = struct.pack("=Ii", _VERSION_3, pid)
    data = ctypes.create_string_buffer(24)
    check(_capget(header, data), "capget", path=f"pid {pid}" if pid else None)
    e0, p0, i0, e1, p1, i1 = struct.unpack("=6I", data.raw)
    return e0 | e1 << 32, p0 | p1 << 32, i0 | i1 << 32


def _cap_words(bits: int) -> str:
    """As capsh(1) wants them: `cap_chown,cap_kill`."""
    return ",".join(name.lower() for name in names(bits))


def _set_words(effective: int, permitted: int, inheritable: int, *, why: str = "") -> str:
    """capsh(1) with the text of cap_text_formats(7): one clause for each combination of sets."""
    clauses = []
    for letters in ("eip", "ep", "ei", "ip", "e", "p", "i"):
        bits = (1 << 64) - 1
        for letter, members in (("e", effective), ("p", permitted), ("i", inheritable)):
            bits &= members if letter in letters else ~members
        if bits:
            clauses.append(f"{_cap_words(bits)}={letters}")
    return f"capsh --caps='{' '.join(clauses) or '='}'"


def _kept_and_dropped(keep: int, *, why: str = "") -> dict[str, Any]:
    everything = (1 << last_cap() + 1) - 1
    return {"kept": names(keep & everything), "dropped": names(everything & ~keep)}


@traced(
    _set_words,
    op="capset",
    facts=lambda effective, permitted, inheritable, *, why="": {
        "effective": names(effective),
        "permitted": names(permitted),
        "inheritable": names(inheritable),
    },
)
def set(effective: int, permitted: int, inheritable: int, *, why: str = "") -> None:
    """capset(2) on this thread.  Raises KernelError (EPERM: more than it has)."""
    low = 0xFFFFFFFF
    sets = (effective, permitted, inheritable)
    data = struct.pack("=6I", *(s & low for s in sets), *(s >> 32 for s in sets))
    if _capset(struct.pack("=Ii", _VERSION_3, 0), data) < 0:
        facts = ", ".join(f"{s:#x}" for s in sets)
        check(-1, "capset", detail=f"effective, permitted, inheritable {facts}")


@traced(
    lambda keep, *, why="": f"setpriv --bounding-set {_all_but(keep)}",
    facts=_kept_and_dropped,
)
def drop_bounding(keep: int, *, why: str = "") -> None:
    """Drop every capability that is not in `keep` from the bounding set (needs CAP_SETPCAP)."""
    for number in range(last_cap() + 1):
        if keep >> number & 1:
            continue
        if _prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            name = names(1 << number)[0]
            # Without CAP_SETPCAP it is still right if the capability is not there any more.
            code = get_errno()
            if code == errno.EPERM and _prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 0:
                continue
            raise KernelError("drop from the bounding set", code, path=name)


def bounding() -> int:
    """The bounding set of this thread."""
    bits = 0
    for number in range(last_cap() + 1):
        if _prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            bits |= 1 << number
    return bits


@traced(
    lambda wanted, *, why="": f"setpriv --ambient-caps {_all_but(wanted)}",
    facts=lambda wanted, *, why="": {"ambient": names(wanted)},
)
def set_ambient(wanted: int, *, why: str = "") -> None:
    """Replace the ambient set; each member must be permitted and inheritable.

    After setuid: the kernel clears the ambient set when the last UID 0 goes.
    """
    check(_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities")
    for number in range(wanted.bit_length()):
        if wanted >> number & 1:
            result = _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
            if result < 0:
                check(result, "raise ambient capability", path=names(1 << number)[0])


def read(pid: int | str = "self") -> dict[str, int]:
    """The sets of a process by OCI name: inheritable, permitted, effective, bounding, ambient."""
    keys = {
        b"CapInh": "inheritable",
        b"CapPrm": "permitted",
        b"CapEff": "effective",
        b"CapBnd": "bounding",
        b"CapAmb": "ambient",
    }
    path = f"/proc/{pid}/status"
    found: dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                key, _, value = line.partition(b":")
                if key in keys:
                    found[keys[key]] = int(value, 16)
    except OSError as error:
        raise KernelError.from_oserror("read", error, path=path) from error
    return found
