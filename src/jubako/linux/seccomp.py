"""System call filters: OCI `linux.seccomp` -> BPF, by libseccomp; BPF -> kernel, by seccomp(2).

Compiling takes about 20 ms and the result depends on nothing but the profile, the machine and the
library.  It is kept in a cache directory, and a hit loads no library at all:

    <hash of profile, machine, library file>.bpf     struct sock_filter[], as the kernel takes it
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from jubako.errors import InvalidArgument, KernelError
from jubako.linux._libc import MACHINE, get_errno, syscall
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Profile = Mapping[str, Any]

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,  # | errno
    "SCMP_ACT_TRACE": 0x7FF00000,  # | what the tracer sees
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_CACHE_FORMAT = "1"  # change it when the same profile compiles to something else

LIBRARY = "libseccomp.so.2"
# Where distributions keep it; only to notice an upgrade without loading it.
_LIBRARY_DIRECTORIES = (
    f"/usr/lib/{MACHINE}-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    f"/lib/{MACHINE}-linux-gnu",
    "/lib64",
    "/lib",
)

_seccomp = syscall("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.c_char_p)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_load_program = syscall("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(_Program))


def flags_of(profile: Profile) -> int:
    """The flags for `load`; a profile without `flags` gets SPEC_ALLOW, as with runc.

    Raises InvalidArgument for one that is not known.
    """
    names = profile.get("flags")
    if names is None:
        names = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    flags = 0
    for name in names:
        if name not in FLAGS:
            raise InvalidArgument(f"unknown seccomp flag {name}", subject=name)
        flags |= FLAGS[name]
    return flags


@traced(
    lambda bpf, flags=0, *, why="": (
        f"# seccomp(2) with a filter of {len(bpf) // 8} instructions, as bwrap --seccomp loads"
    ),
    op="seccomp",
    facts=lambda bpf, flags=0, *, why="": {"instructions": len(bpf) // 8, "flags": flags},
)
def load(bpf: bytes, flags: int = 0, *, why: str = "") -> None:
    """Filter the system calls of this thread and its children from now on, irrevocably.

    Needs no_new_privs or CAP_SYS_ADMIN.  Raises KernelError (EACCES: neither; EINVAL: bad program).
    """
    program = _Program(len(bpf) // 8, bpf)
    if _load_program(SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program)) != 0:
        raise KernelError("seccomp", get_errno(), detail=f"{len(bpf) // 8} instructions")


def is_available(action: str = "SCMP_ACT_ERRNO") -> bool:
    """Whether this kernel has seccomp filters and `action`."""
    return _seccomp(SECCOMP_GET_ACTION_AVAIL, 0, struct.pack("=I", ACTIONS[action])) == 0


def compile_profile(profile: Profile, cache_dir: str | None = None) -> bytes:
    """The BPF program of an OCI `linux.seccomp` object.

    cache_dir: an existing directory of the engine's own; what is not a file of this user with sane
    content is ignored and replaced.  System calls whose names libseccomp does not know are skipped,
    as runc does: no program on this machine can make them by that name.
    Raises InvalidArgument (unknown action, operator, architecture), Unsupported (no libseccomp,
    SCMP_ACT_NOTIFY).
    """
    if cache_dir is None:
        return _build(profile)
    path = os.path.join(cache_dir, f"{_key(profile)}.bpf")
    bpf = _read_cache(path)
    if bpf is None:
        bpf = _build(profile)
        from jubako.linux import atomic

        try:
            # Not durable: it can always be made again.
            atomic.write_file(path, bpf, 0o600, durable=False)
        except KernelError:
            pass  # a full or read-only disk only makes the next start slower
    return bpf


def _build(profile: Profile) -> bytes:
    from jubako.linux import seccomp_compile

    return seccomp_compile.build(profile)


def _key(profile: Profile) -> str:
    # Here, because many who load a filter compile none.
    import json

    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b  # 2 ms: it loads OpenSSL

    facts = [_CACHE_FORMAT, MACHINE]
    for directory in _LIBRARY_DIRECTORIES:
        try:
            status = os.stat(f"{directory}/{LIBRARY}")
        except OSError:
            continue
        facts.append(f"{status.st_ino} {status.st_size} {status.st_mtime_ns}")
        break
    facts.append(json.dumps(profile, sort_keys=True, separators=(",", ":")))
    return blake2b("\n".join(facts).encode(), digest_size=32).hexdigest()


def _read_cache(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        size = status.st_size
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_uid != os.geteuid()
            or status.st_mode & 0o022
            or size == 0
            or size % 8
            or size > MAX_INSTRUCTIONS * 8
        ):
            return None
        data = os.read(fd, size)
        return data if len(data) == size else None
    except OSError:
        return None
    finally:
        os.close(fd)
