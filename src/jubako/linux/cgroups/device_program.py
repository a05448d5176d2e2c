"""Device control in cgroup v2: a small BPF program for each cgroup.

The kernel runs it for every open and mknod of a device with `struct bpf_cgroup_dev_ctx { u32
access_type; u32 major; u32 minor; }`, access in the upper and type in the lower half of the first.
Non-zero means allowed; all ancestors must agree.
"""

from __future__ import annotations

import ctypes
import os
import struct

from jubako.errors import KernelError
from jubako.linux._libc import get_errno, syscall
from jubako.linux.shell import quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.cgroups.devices import Rules

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_TYPE_CGROUP_DEVICE = 6
_ALLOW_MULTI, _REPLACE = 2, 4
_MAX_PROGRAMS = 64

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7

_bpf = syscall("bpf", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)

# opcodes
_LOAD_WORD = 0x61  # LDX | MEM | W
_AND_K, _AND_X = 0x54, 0x5C  # ALU (32 bit)
_RIGHT_K = 0x74
_MOVE_K, _MOVE_X = 0xB4, 0xBC
_JUMP_IF_NOT_K, _JUMP_IF_NOT_X = 0x56, 0x5E  # JMP32 | JNE
_JUMP_IF_K = 0x16  # JMP32 | JEQ
_EXIT = 0x95


def _instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, offset, value)


def build(rules: Rules) -> bytes:
    """The program: one block for each exception, then the default."""
    allow = not rules.default
    program = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_AND_K, 2, value=0xFFFF),  # r2 = type
        _instruction(_LOAD_WORD, 3, 1, 0),
        _instruction(_RIGHT_K, 3, value=16),  # r3 = access
        _instruction(_LOAD_WORD, 4, 1, 4),  # r4 = major
        _instruction(_LOAD_WORD, 5, 1, 8),  # r5 = minor
    ]
    for (kind, major, minor), letters in rules.exceptions.items():
        access = sum(_ACCESS[letter] for letter in letters)
        # (code, register, value or other register) of the tests that must not hold
        tests: list[tuple[int, int, int]] = [(_JUMP_IF_NOT_K, 2, _TYPES[kind])]
        if major >= 0:
            tests.append((_JUMP_IF_NOT_K, 4, major))
        if minor >= 0:
            tests.append((_JUMP_IF_NOT_K, 5, minor))
        extra = 0 if access == _ALL_ACCESS else 3
        tail = 2
        length = len(tests) + extra + tail
        for position, (code, register, value) in enumerate(tests):
            program.append(_instruction(code, register, 0, length - position - 1, value))
        if extra:
            program.append(_instruction(_MOVE_X, 1, 3))
            program.append(_instruction(_AND_K, 1, value=access))
            if allow:  # all of what is asked for must be in `access`
                program.append(_instruction(_JUMP_IF_NOT_X, 1, 3, tail))
            else:  # any of it is enough to refuse
                program.append(_instruction(_JUMP_IF_K, 1, 0, tail, 0))
        program.append(_instruction(_MOVE_K, 0, value=int(allow)))
        program.append(_instruction(_EXIT))
    program.append(_instruction(_MOVE_K, 0, value=int(rules.default)))
    program.append(_instruction(_EXIT))
    return b"".join(program)


def _call(command: int, attributes: bytes | ctypes.Array[ctypes.c_char], what: str) -> int:
    result = _bpf(command, attributes, len(attributes))
    if result < 0:
        raise KernelError(what, get_errno())
    return result


def load(program: bytes) -> int:
    """A descriptor of the loaded program.  Raises KernelError (EPERM, EINVAL)."""
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
        b"jubako_devices",
    )
    return _call(_PROG_LOAD, attributes, "load device program")


def _attached(cgroup_fd: int) -> list[int]:
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    query = ctypes.create_string_buffer(
        struct.pack(
            "=IIIIQII",
            cgroup_fd,
            _ATTACH_TYPE_CGROUP_DEVICE,
            0,
            0,
            ctypes.addressof(ids),
            _MAX_PROGRAMS,
            0,
        )
    )
    _call(_PROG_QUERY, query, "query device programs")
    count = struct.unpack_from("=I", query.raw, 24)[0]
    programs = []
    for identifier in ids[:count]:
        result = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", identifier, 0, 0), 12)
        if result >= 0:
            programs.append(result)
    return programs


@traced(
    lambda path, rules, *, why="": (
        f"bpftool cgroup attach {quote(path)} cgroup_device pinned PROGRAM multi"
    ),
    op="bpf",
    facts=lambda path, rules, *, why="": {
        "path": path,
        "default": rules.default,
        "exceptions": [f"{k} {a}:{b} {access}" for (k, a, b), access in rules.exceptions.items()],
    },
)
def attach(path: str, rules: Rules, *, why: str = "") -> None:
    """Make `rules` what the cgroup at `path` obeys, at no moment without any.

    Programs attached before by us are replaced.  Raises KernelError.
    """
    opened: list[int] = []
    try:
        try:
            cgroup_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError.from_oserror("open", error, path=path) from error
        opened.append(cgroup_fd)
        program = load(build(rules))
        opened.append(program)
        old = _attached(cgroup_fd)
        opened += old
        header = (cgroup_fd, program, _ATTACH_TYPE_CGROUP_DEVICE)
        if len(old) == 1:
            # one step (5.6); where that is refused, attach the new before the old goes
            replace = struct.pack("=5I", *header, _ALLOW_MULTI | _REPLACE, old[0])
            if _bpf(_PROG_ATTACH, replace, len(replace)) == 0:
                return
        _call(_PROG_ATTACH, struct.pack("=5I", *header, _ALLOW_MULTI, 0), "attach device program")
        for other in old:
            detach = struct.pack("=5I", cgroup_fd, other, _ATTACH_TYPE_CGROUP_DEVICE, 0, 0)
            _call(_PROG_DETACH, detach, "detach device program")
    except KernelError as error:
        raise KernelError(error.op, error.errno or 0, path=path) from error
    finally:
        for fd in opened:
            os.close(fd)
