"""seccomp: OCI profiles do to real system calls what they say.

The children set no_new_privs, so that a filter needs no privilege.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux import _libc, prctl, seccomp, seccomp_compile
from tests.unit.linux.child import in_child, run_to_end

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
# What the interpreter needs to hand back an answer under a profile that denies by default.
NEEDED = [
    *("brk", "mmap", "munmap", "mremap", "madvise", "futex", "getrandom", "rt_sigaction"),
    *("rt_sigprocmask", "read", "write", "close", "fstat", "newfstatat", "lseek", "ioctl"),
    *("openat", "exit_group"),
]
_raw = _libc.function("syscall", *[ctypes.c_long] * 7, restype=ctypes.c_long)


def profile(default: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **more}


def rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def condition(index: int, op: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


def under(wanted: dict[str, Any], function: Callable[[], Any]) -> Any:
    """The result of `function` in a child under the profile."""

    def run() -> Any:
        apply(wanted)
        return function()

    return in_child(run)


def apply(wanted: dict[str, Any]) -> None:
    prctl.set_no_new_privs()
    seccomp.load(seccomp.compile_profile(wanted), seccomp.flags_of(wanted))


def errno_of(number: int, *args: int) -> int:
    """0, or the errno of a raw system call."""
    result = _raw(number, *args, *[0] * (6 - len(args)))
    return 0 if result >= 0 else _libc.get_errno()


def try_socket(family: int) -> int:
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.errno or -1
    return 0


def number_of(name: str) -> int:
    return int(seccomp_compile.open_library().seccomp_syscall_resolve_name(name.encode()))


def test_a_denied_call_fails_and_others_work() -> None:
    wanted = profile(ALLOW, rule(ERRNO, "getppid"))
    number, harmless = number_of("getppid"), number_of("getuid")
    assert under(wanted, lambda: [errno_of(number), errno_of(harmless)]) == [errno.EPERM, 0]


def test_errno_is_the_profiles() -> None:
    wanted = profile(ALLOW, rule(ERRNO, "getppid", errnoRet=errno.EXDEV))
    assert under(wanted, lambda: errno_of(number_of("getppid"))) == errno.EXDEV


def test_the_default_denies_what_is_not_named() -> None:
    number = number_of("getppid")
    wanted = profile(ERRNO, rule(ALLOW, *NEEDED), defaultErrnoRet=errno.ENOMEM)
    assert under(wanted, lambda: errno_of(number)) == errno.ENOMEM
    wanted = profile(ERRNO, rule(ALLOW, *NEEDED))
    assert under(wanted, lambda: errno_of(number)) == errno.EPERM


def test_calls_newer_than_the_profile_do_not_exist() -> None:
    """A program that probes for a new call falls back on ENOSYS but gives up on EPERM."""
    wanted = profile(ERRNO, rule(ALLOW, *NEEDED))
    newest = max(number_of(name) for name in NEEDED)
    answer = under(
        wanted, lambda: [errno_of(newest + 1), errno_of(5000), errno_of(number_of("bpf"))]
    )
    assert answer[:2] == [errno.ENOSYS, errno.ENOSYS]
    assert answer[2] == (errno.ENOSYS if number_of("bpf") > newest else errno.EPERM)


def test_a_permissive_default_lets_new_calls_through() -> None:
    assert under(profile(ALLOW, rule(ERRNO, "getppid")), lambda: errno_of(5000)) == errno.ENOSYS
    assert len(seccomp.compile_profile(profile(ALLOW))) < 20 * 8


@pytest.mark.parametrize(
    ("op", "value", "second", "denied"),
    [
        ("EQ", 2, 0, [2]),
        ("NE", 2, 0, [0, 1, 3, 4]),
        ("LT", 2, 0, [0, 1]),
        ("LE", 2, 0, [0, 1, 2]),
        ("GT", 2, 0, [3, 4]),
        ("GE", 2, 0, [2, 3, 4]),
        ("MASKED_EQ", 0b011, 0b001, [1]),
    ],
)
def test_conditions_on_arguments(op: str, value: int, second: int, denied: list[int]) -> None:
    # getpriority(which, who) has no effect; `who` takes any number
    deny = rule(ERRNO, "getpriority", errnoRet=99, args=[condition(1, op, value, second)])
    number = number_of("getpriority")

    def probe() -> list[int]:
        return [who for who in range(5) if errno_of(number, 0, who) == 99]

    assert under(profile(ALLOW, deny), probe) == denied


def test_conditions_on_two_arguments_must_both_hold() -> None:
    args = [condition(0, "EQ", socket.AF_UNIX), condition(1, "MASKED_EQ", 0xF, socket.SOCK_DGRAM)]
    wanted = profile(ALLOW, rule(ERRNO, "socket", args=args))
    families = (socket.AF_UNIX, socket.AF_INET)
    assert under(wanted, lambda: [try_socket(family) for family in families]) == [errno.EPERM, 0]


def test_two_conditions_on_one_argument_are_alternatives() -> None:
    args = [condition(1, "EQ", 1), condition(1, "EQ", 3)]
    number = number_of("getpriority")
    deny = rule(ERRNO, "getpriority", errnoRet=99, args=args)
    answer = under(profile(ALLOW, deny), lambda: [errno_of(number, 0, who) for who in (1, 2, 3)])
    assert answer[0] == answer[2] == 99
    assert answer[1] != 99


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"])
def test_actions_that_end_the_process(action: str) -> None:
    def run() -> None:
        apply(profile(ALLOW, rule(action, "getppid")))
        errno_of(number_of("getppid"))

    assert run_to_end(run) == -signal.SIGSYS


def test_actions_that_let_the_call_through() -> None:
    number = number_of("getppid")
    assert under(profile(ALLOW, rule("SCMP_ACT_LOG", "getppid")), lambda: errno_of(number)) == 0
    # nobody traces: the kernel answers ENOSYS
    traced = profile(ALLOW, rule("SCMP_ACT_TRACE", "getppid", errnoRet=7))
    assert under(traced, lambda: errno_of(number)) == errno.ENOSYS


def test_unknown_names_are_skipped() -> None:
    wanted = profile(ALLOW, rule(ERRNO, "no_such_call_ever", "getppid"))
    assert under(wanted, lambda: errno_of(number_of("getppid"))) == errno.EPERM


def test_rules_that_repeat_or_change_nothing_are_skipped() -> None:
    wanted = profile(
        ALLOW,
        rule(ALLOW, "getpid"),
        rule(ERRNO, "getppid", args=[condition(0, "EQ", 0)]),
        rule(ERRNO, "getppid", args=[condition(0, "EQ", 0)]),
    )
    assert under(wanted, lambda: errno_of(number_of("getppid"))) == errno.EPERM


def test_other_architectures_are_part_of_the_filter() -> None:
    if _libc.MACHINE != "x86_64":
        pytest.skip("needs an x86_64 machine")
    names = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    wide = profile(ERRNO, rule(ALLOW, *NEEDED), architectures=names)
    narrow = profile(ERRNO, rule(ALLOW, *NEEDED), architectures=names[:1])
    x32 = 0x40000000 | number_of("getppid")
    # in the profile: refused like the native call; not in it: libseccomp kills
    assert under(wide, lambda: errno_of(x32)) == errno.EPERM
    assert under(wide, lambda: errno_of(0x40000000 | 5000)) == errno.ENOSYS

    def run() -> None:
        apply(narrow)
        errno_of(x32)

    assert run_to_end(run) == -signal.SIGSYS


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (profile("SCMP_ACT_NONE"), InvalidArgument),
        (profile(ALLOW, rule("SCMP_ACT_NONE", "getpid")), InvalidArgument),
        (profile(ALLOW, rule("SCMP_ACT_NOTIFY", "getpid")), Unsupported),
        (profile(ALLOW, rule(ERRNO, "getpid", args=[condition(0, "XX", 0)])), InvalidArgument),
        (profile(ALLOW, rule(ERRNO, "getpid", args=[condition(6, "EQ", 0)])), InvalidArgument),
        (profile(ALLOW, rule("SCMP_ACT_KILL", "getpid", errnoRet=1)), InvalidArgument),
        (profile(ALLOW, architectures=["SCMP_ARCH_VAX"]), InvalidArgument),
    ],
)
def test_bad_profiles(wanted: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        seccomp.compile_profile(wanted)


def test_flags() -> None:
    assert seccomp.flags_of({}) == 4
    assert seccomp.flags_of({"flags": []}) == 0
    assert seccomp.flags_of({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}) == 2
    with pytest.raises(InvalidArgument):
        seccomp.flags_of({"flags": ["SECCOMP_FILTER_FLAG_NONE"]})


def test_without_no_new_privs_an_unprivileged_load_fails() -> None:
    def run() -> int | None:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        try:
            seccomp.load(seccomp.compile_profile(profile(ALLOW, rule(ERRNO, "getppid"))))
        except KernelError as error:
            return error.errno
        return 0

    assert in_child(run) == errno.EACCES


def test_a_machine_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp_compile, "LIBRARY", "libseccomp-is-not-here.so.2")
    monkeypatch.setattr(seccomp_compile, "_library", None)
    with pytest.raises(Unsupported) as caught:
        seccomp.compile_profile(profile(ALLOW))
    assert caught.value.hint is not None


class TestCache:
    WANTED = profile(ALLOW, rule(ERRNO, "getppid"))

    @pytest.fixture
    def cached(self, tmp_path: Path) -> Path:
        seccomp.compile_profile(self.WANTED, str(tmp_path))
        (path,) = tmp_path.iterdir()
        return path

    def test_a_hit_needs_no_library(self, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = cached.read_bytes()

        def fail(wanted: object) -> bytes:
            raise AssertionError("compiled again")

        monkeypatch.setattr(seccomp_compile, "build", fail)
        assert seccomp.compile_profile(self.WANTED, str(cached.parent)) == expected
        assert cached.stat().st_mode & 0o777 == 0o600

    def test_another_profile_is_another_file(self, cached: Path) -> None:
        other = profile(ALLOW, rule(ERRNO, "getpid"))
        seccomp.compile_profile(other, str(cached.parent))
        assert len(list(cached.parent.iterdir())) == 2

    @pytest.mark.parametrize("data", [b"", b"1234567", b"x" * (4097 * 8)])
    def test_a_file_of_impossible_size_is_replaced(self, cached: Path, data: bytes) -> None:
        good = cached.read_bytes()
        cached.write_bytes(data)
        assert seccomp.compile_profile(self.WANTED, str(cached.parent)) == good
        assert cached.read_bytes() == good

    def test_a_file_that_others_may_write_is_replaced(self, cached: Path) -> None:
        good = cached.read_bytes()
        cached.write_bytes(b"\x06\0\0\0\0\0\xff\x7f")  # ret ALLOW
        cached.chmod(0o666)
        assert seccomp.compile_profile(self.WANTED, str(cached.parent)) == good

    def test_a_link_is_replaced_and_not_followed(self, cached: Path, tmp_path: Path) -> None:
        good = cached.read_bytes()
        other = tmp_path / "other"
        other.write_bytes(b"\x06\0\0\0\0\0\xff\x7f")
        cached.unlink()
        cached.symlink_to(other)
        assert seccomp.compile_profile(self.WANTED, str(cached.parent)) == good
        assert other.read_bytes() == b"\x06\0\0\0\0\0\xff\x7f"

    def test_a_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        assert seccomp.compile_profile(self.WANTED, str(tmp_path / "none"))
