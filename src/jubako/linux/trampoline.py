"""The last step before a container's program: exec through a tiny program in sealed memory.

A container may name `/proc/self/exe` as its program, or as the interpreter of a script that it
names (CVE-2019-5736).  Were Python still the running program, the kernel would run, and the
container could reopen for writing, the host's Python.  So the process first becomes a static ELF
file of some 250 bytes in a sealed memfd, and that one executes the program:

    python ── execveat(memfd) ──► trampoline ── fcntl(error_fd, F_SETFD, FD_CLOEXEC)
                                             └─ execve(argv[0], argv + 1, envp) ──► the program
                                             └─ failed: write(error_fd, &errno, 4), exit_group(127)

When somebody executes the trampoline once more through `/proc/self/exe`, error_fd is closed
already, fcntl fails with EBADF and it exits with 127: there is no loop.

Machine code: assembled and linked by hand below, so that neither a compiler nor a binary file is
needed; the tests disassemble nothing but run it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Mapping

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux._libc import MACHINE, function, get_errno, syscall
from jubako.linux.shell import join, quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

AT_EMPTY_PATH = 0x1000
MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_EXEC = 0x10  # 6.3; without it the kernel logs a complaint, older kernels say EINVAL
_F_ADD_SEALS = 1033
_SEALS = 0x0F  # SEAL, SHRINK, GROW, WRITE
# The trampoline's own name in /proc/PID/comm for the microseconds that it runs.
_NAME = "jubako-exec"

_EM_X86_64 = 62
_EM_AARCH64 = 183
_LOAD_ADDRESS = 0x400000

_execveat = syscall(
    "execveat",
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
)
_execve = function("execve", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)


def _x86_64(error_fd: int) -> bytes:
    fd = struct.pack("<I", error_fd)
    return b"".join(
        (
            b"\xbf" + fd,  # mov edi, error_fd
            b"\x6a\x02\x5e",  # push 2; pop rsi                F_SETFD
            b"\x6a\x01\x5a",  # push 1; pop rdx                FD_CLOEXEC
            b"\x6a\x48\x58",  # push 72; pop rax               fcntl
            b"\x0f\x05",  # syscall
            b"\x85\xc0",  # test eax, eax
            b"\x78\x18",  # js fail
            b"\x48\x8b\x04\x24",  # mov rax, [rsp]             argc
            b"\x48\x8b\x7c\x24\x08",  # mov rdi, [rsp + 8]     argv[0]
            b"\x48\x8d\x74\x24\x10",  # lea rsi, [rsp + 16]    argv + 1
            b"\x48\x8d\x54\xc4\x10",  # lea rdx, [rsp + rax*8 + 16]  envp
            b"\x6a\x3b\x58",  # push 59; pop rax               execve
            b"\x0f\x05",  # syscall
            # fail:
            b"\xf7\xd8",  # neg eax
            b"\x50",  # push rax
            b"\xbf" + fd,  # mov edi, error_fd
            b"\x48\x89\xe6",  # mov rsi, rsp
            b"\x6a\x04\x5a",  # push 4; pop rdx
            b"\x6a\x01\x58",  # push 1; pop rax                write
            b"\x0f\x05",  # syscall
            b"\x6a\x7f\x5f",  # push 127; pop rdi
            b"\xb8\xe7\x00\x00\x00",  # mov eax, 231           exit_group
            b"\x0f\x05",  # syscall
        )
    )


def _aarch64(error_fd: int) -> bytes:
    move_fd = 0x52800000 | error_fd << 5  # movz w0, #error_fd
    return struct.pack(
        "<22I",
        move_fd,
        0x52800041,  # mov w1, #2           F_SETFD
        0x52800022,  # mov w2, #1           FD_CLOEXEC
        0x52800328,  # mov w8, #25          fcntl
        0xD4000001,  # svc #0
        0x37F800E0,  # tbnz w0, #31, fail
        0xF94003E3,  # ldr x3, [sp]         argc
        0xF94007E0,  # ldr x0, [sp, #8]     argv[0]
        0x910043E1,  # add x1, sp, #16      argv + 1
        0x8B030C22,  # add x2, x1, x3, lsl #3   envp
        0x52801BA8,  # mov w8, #221         execve
        0xD4000001,  # svc #0
        # fail:
        0x4B0003E0,  # neg w0, w0
        0xB90003E0,  # str w0, [sp]
        move_fd,
        0x910003E1,  # mov x1, sp
        0x52800082,  # mov w2, #4
        0x52800808,  # mov w8, #64          write
        0xD4000001,  # svc #0
        0x52800FE0,  # mov w0, #127
        0x52800BC8,  # mov w8, #94          exit_group
        0xD4000001,  # svc #0
    )


def image(error_fd: int, machine: str = MACHINE) -> bytes:
    """The ELF file for `machine` that reports through `error_fd` (0 to 65535)."""
    if not 0 <= error_fd <= 0xFFFF:
        raise KernelError("trampoline", errno.EBADF, path=f"fd {error_fd}")
    if machine == "x86_64":
        code, number = _x86_64(error_fd), _EM_X86_64
    elif machine == "aarch64":
        code, number = _aarch64(error_fd), _EM_AARCH64
    else:
        raise Unsupported(f"no exec trampoline for {machine}")
    headers = 64 + 2 * 56
    size = headers + len(code)
    return b"".join(
        (
            b"\x7fELF\x02\x01\x01" + bytes(9),
            # ET_EXEC; entry after the headers; two program headers after this one
            struct.pack(
                "<HHIQQQIHHHHHH",
                2,
                number,
                1,
                _LOAD_ADDRESS + headers,
                64,
                0,
                0,
                64,
                56,
                2,
                64,
                0,
                0,
            ),
            # PT_LOAD, read and execute: the whole file.  64 KiB pages exist on aarch64
            struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x10000),
            # PT_GNU_STACK, read and write: its absence would mean READ_IMPLIES_EXEC, which is
            # inherited by the program on old kernels
            struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16),
            code,
        )
    )


def prepare(error_fd: int) -> int:
    """A sealed, close-on-exec memfd with the trampoline.  Raises KernelError."""
    try:
        flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
        try:
            fd = os.memfd_create(_NAME, flags | MFD_EXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fd = os.memfd_create(_NAME, flags)
        try:
            os.write(fd, image(error_fd))
            fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        hint = "the sysctl vm.memfd_noexec must be 0 or 1" if error.errno == errno.EACCES else None
        raise KernelError("memfd_create", error.errno or 0, path=_NAME, hint=hint) from error
    return fd


def _array(items: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    raw = [os.fsencode(item) for item in items]
    for item in raw:
        if b"\0" in item:
            raise InvalidArgument(f"{os.fsdecode(item)!r} has a NUL byte")
    return (ctypes.c_char_p * (len(raw) + 1))(*raw, None)


@traced(
    lambda path, argv, *, why="": f"exec -a {quote(argv[0])} {join([path, *argv[1:]])}",
    op="exec",
)
def _announce(path: str, argv: Sequence[str], *, why: str = "") -> None:
    """For the trace alone, which records calls that return: exec does not."""


def execute(
    memfd: int, path: str, argv: Sequence[str], envp: Mapping[str, str] | Sequence[str]
) -> None:
    """Become the trampoline in `memfd` and through it `path`; returns only by an error.

    envp: a mapping, or strings `NAME=value`.
    Raises KernelError, InvalidArgument (a NUL byte).
    """
    if isinstance(envp, Mapping):
        envp = [f"{key}={value}" for key, value in envp.items()]
    _announce(path, argv, why="the program takes the place of this process")
    arguments = _array([path, *argv])
    environment = _array(envp)
    _execveat(memfd, b"", arguments, environment, AT_EMPTY_PATH)
    number = get_errno()
    if number in (errno.EPERM, errno.ENOSYS):
        # A seccomp profile may allow execve but not execveat.
        _execve(b"/proc/self/fd/%d" % memfd, arguments, environment)
        if get_errno() != errno.ENOENT:
            number = get_errno()
    raise KernelError("exec", number, path=path)


def exec_via_trampoline(
    path: str,
    argv: Sequence[str],
    envp: Mapping[str, str] | Sequence[str],
    error_fd: int,
) -> None:
    """Replace this process by the program at `path` with the arguments `argv` (argv[0] included).

    error_fd: a descriptor for writing; at its other end success is EOF and failure four bytes,
    errno in little-endian order, after which the process has exited with 127.  It is made
    inheritable here and close-on-exec by the trampoline.
    Returns only by KernelError (the trampoline itself cannot be executed), InvalidArgument (NUL).
    """
    memfd = prepare(error_fd)
    os.set_inheritable(error_fd, True)
    try:
        execute(memfd, path, argv, envp)
    finally:
        os.close(memfd)
        os.set_inheritable(error_fd, False)


def read_error(fd: int) -> int:
    """What the other end of error_fd tells: 0 for success, else errno.  Blocks until then."""
    data = b""
    while len(data) < 4:
        chunk = os.read(fd, 4 - len(data))
        if not chunk:
            return 0
        data += chunk
    return int(struct.unpack("<i", data)[0])
