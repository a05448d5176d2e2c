"""System call filters: OCI `linux.seccomp` -> BPF, by libseccomp; BPF -> kernel, by seccomp(2).

Compiling takes about 20 ms and the result depends on nothing but the profile, the machine and the
library.  It is kept in a cache directory, and a hit loads no library at all:

    <hash of profile, machine, library file>.bpf     struct sock_filter[], as the kernel takes it

libseccomp's program is preceded by a stub that answers ENOSYS to system calls newer than all the
profile names (as runc does): programs probe for new calls and fall back on ENOSYS, but take the
profile's EPERM for a refusal.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux._libc import MACHINE, get_errno, syscall
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
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
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")

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


@traced(lambda bpf, flags=0, *, why="": f"seccomp --load {len(bpf) // 8}-instructions")
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
        return _compile(profile)
    path = os.path.join(cache_dir, f"{_key(profile)}.bpf")
    bpf = _read_cache(path)
    if bpf is None:
        bpf = _compile(profile)
        from jubako.linux import atomic

        try:
            # Not durable: it can always be made again.
            atomic.write_file(path, bpf, 0o600, durable=False)
        except KernelError:
            pass  # a full or read-only disk only makes the next start slower
    return bpf


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


# --- compiling -----------------------------------------------------------------------------------


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


_ATTRIBUTE_NO_NEW_PRIVS = 3
_ATTRIBUTE_OPTIMIZE = 8  # 2: a binary tree over the numbers instead of a chain (2.5)

_library: ctypes.CDLL | None = None


def _open_library() -> ctypes.CDLL:
    global _library
    if _library is None:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise Unsupported(
                f"compile seccomp profile: {LIBRARY} is not installed",
                hint="install libseccomp, or run with --security-opt seccomp=unconfined",
            ) from error
        context = ctypes.c_void_p
        library.seccomp_init.argtypes = (ctypes.c_uint32,)
        library.seccomp_init.restype = context
        library.seccomp_release.argtypes = (context,)
        library.seccomp_release.restype = None
        library.seccomp_attr_set.argtypes = (context, ctypes.c_int, ctypes.c_uint32)
        library.seccomp_arch_add.argtypes = (context, ctypes.c_uint32)
        library.seccomp_arch_native.restype = ctypes.c_uint32
        library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
        library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
        library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
        library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
        library.seccomp_rule_add_array.argtypes = (
            context,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Condition),
        )
        library.seccomp_export_bpf.argtypes = (context, ctypes.c_int)
        _library = library
    return _library


def _action(name: str, number: int | None) -> int:
    if name == "SCMP_ACT_NOTIFY":
        raise Unsupported("seccomp action SCMP_ACT_NOTIFY", subject=name)
    if name not in ACTIONS:
        raise InvalidArgument(f"unknown seccomp action {name}", subject=name)
    action = ACTIONS[name]
    if name in _WITH_NUMBER:
        return action | ((errno.EPERM if number is None else number) & 0xFFFF)
    if number is not None:
        raise InvalidArgument(f"seccomp action {name} takes no errnoRet", subject=name)
    return action


def _conditions(args: list[dict[str, Any]], name: str) -> Iterator[_Condition]:
    for argument in args:
        operator = argument.get("op", "")
        index = argument.get("index", 0)
        if operator not in OPERATORS:
            raise InvalidArgument(f"seccomp rule of {name}: unknown operator {operator!r}")
        if not 0 <= index <= 5:
            raise InvalidArgument(f"seccomp rule of {name}: no argument {index}")
        mask = (1 << 64) - 1
        value, second = argument.get("value", 0) & mask, argument.get("valueTwo", 0) & mask
        yield _Condition(index, OPERATORS[operator], value, second)


def _compile(profile: Profile) -> bytes:
    library = _open_library()
    default_name = profile.get("defaultAction", "")
    default = _action(default_name, profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise InvalidArgument(f"seccomp: libseccomp refuses the default action {default_name}")
    try:
        # We set no_new_privs ourselves, where the container asks for it.
        library.seccomp_attr_set(context, _ATTRIBUTE_NO_NEW_PRIVS, 0)
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, 2)
        architectures = _add_architectures(library, context, profile.get("architectures") or ())
        newest = dict.fromkeys(architectures, -1)
        for rule in profile.get("syscalls") or ():
            action = _action(rule.get("action", ""), rule.get("errnoRet"))
            args = rule.get("args") or []
            for name in rule.get("names") or ():
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number == -1:
                    continue
                for token in newest:
                    there = library.seccomp_syscall_resolve_name_arch(token, name.encode())
                    newest[token] = max(newest[token], there)
                if action == default:
                    continue  # libseccomp refuses what changes nothing
                _add_rule(library, context, action, number, name, list(_conditions(args, name)))
        bpf = _export(library, context)
    finally:
        library.seccomp_release(context)
    if default_name not in _PERMISSIVE and default != ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS:
        bpf = _enosys_stub(newest) + bpf
    if len(bpf) > MAX_INSTRUCTIONS * 8:
        raise InvalidArgument(f"seccomp profile compiles to {len(bpf) // 8} instructions")
    return bpf


def _add_architectures(library: ctypes.CDLL, context: int, names: Iterable[str]) -> list[int]:
    """Returns the tokens of all architectures of the filter, the native one first."""
    tokens = [library.seccomp_arch_native()]
    for name in names:
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if name == "SCMP_ARCH_NATIVE" or token in tokens:
            continue
        if not token:
            raise InvalidArgument(f"unknown seccomp architecture {name}", subject=name)
        result = library.seccomp_arch_add(context, token)
        if result < 0:
            reason = os.strerror(-result)
            raise InvalidArgument(f"seccomp architecture {name}: {reason}", subject=name)
        tokens.append(token)
    return tokens


def _add_rule(
    library: ctypes.CDLL,
    context: int,
    action: int,
    number: int,
    name: str,
    conditions: list[_Condition],
) -> None:
    indexes = [condition.argument for condition in conditions]
    if len(set(indexes)) == len(indexes):
        groups = [conditions]
    else:
        # Two conditions on one argument: as with runc each is a rule of its own.
        groups = [[condition] for condition in conditions]
    for group in groups:
        array = (_Condition * len(group))(*group)
        result = library.seccomp_rule_add_array(context, action, number, len(group), array)
        if result == -errno.EEXIST:
            continue  # the same rule twice
        if result < 0:
            raise InvalidArgument(f"seccomp rule of {name}: {os.strerror(-result)}", subject=name)


def _export(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(context, fd)
        if result < 0:
            raise KernelError("seccomp_export_bpf", -result)
        size = os.lseek(fd, 0, os.SEEK_END)
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


# --- the stub: ENOSYS for what is newer than the profile -----------------------------------------

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_ALWAYS = 0x05  # BPF_JMP | BPF_JA
_RETURN = 0x06  # BPF_RET | BPF_K
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE = 0, 4  # in struct seccomp_data

_X86_64 = 0xC000003E
_X32 = 0x4000003E  # libseccomp's token; to the kernel it is x86_64 with a bit in the number
_X32_BIT = 0x40000000


def _instruction(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, k)


def _enosys_stub(newest: dict[int, int]) -> bytes:
    """newest: architecture token -> highest number that the profile names there (-1: none).

    ld architecture
    for each:   jeq TOKEN, +0, +4       another: next block
                ld number
                jgt LIMIT, +0, +1
                ret ERRNO | ENOSYS
                ja  end                 on to libseccomp's program
    """
    blocks: list[bytes] = []
    for token, highest in newest.items():
        if highest < 0 or token == _X32:
            continue
        body = [_instruction(_LOAD, _OFFSET_NUMBER)]
        if token == _X86_64:
            x32 = newest.get(_X32, -1)
            if x32 >= 0:
                body.append(_instruction(_GREATER, x32 | _X32_BIT, 2, 0))  # to the return
            # Other x32 calls go on; when the profile has no x32 they meet libseccomp's KILL.
            body.append(_instruction(_GREATER, _X32_BIT - 1, 2, 0))  # to the end
        body.append(_instruction(_GREATER, highest, 0, 1))
        body.append(_instruction(_RETURN, ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS))
        blocks.append(b"".join([_instruction(_EQUAL, token, 0, len(body) + 1), *body]))
    if not blocks:
        return b""
    # A block ends with a jump behind the last one; the distance is known only now.
    sizes = [len(block) // 8 + 1 for block in blocks]
    program = [_instruction(_LOAD, _OFFSET_ARCHITECTURE)]
    for index, block in enumerate(blocks):
        program += [block, _instruction(_ALWAYS, sum(sizes[index + 1 :]))]
    return b"".join(program)
