"""OCI `linux.seccomp` -> BPF, by libseccomp through ctypes.  Loaded only when no cache helps.

libseccomp's program is preceded by a stub that answers ENOSYS to system calls newer than all the
profile names (as runc does): programs probe for new calls and fall back on ENOSYS, but take the
profile's EPERM for a refusal.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux.seccomp import ACTIONS, LIBRARY, MAX_INSTRUCTIONS, OPERATORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from jubako.linux.seccomp import Profile

_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")


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


def open_library() -> ctypes.CDLL:
    """libseccomp with its argument types.  Raises Unsupported when it is not installed."""
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


def build(profile: Profile) -> bytes:
    """See `seccomp.compile_profile`."""
    library = open_library()
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
