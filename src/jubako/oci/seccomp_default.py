"""Docker's default seccomp profile: what a container may ask of the kernel.

The list is a fact of the Docker engine (the `default.json` of its seccomp profiles); a test
compares the result with it for every capability.  Everything that is not named here fails with
EPERM, and so does `clone` into new namespaces; `clone3`, whose flags a filter cannot read, fails
with ENOSYS, so that C libraries fall back to `clone`.  Socket families 38 (AF_ALG) and 40
(AF_VSOCK) are refused: they reach the host whatever the network namespace.

A rule is (names, condition, arguments).  Condition: words that must all hold, `cap:X` the bounding
set has CAP_X, `no-cap:X` it has not, `arch:a,b` the machine is one of these, `no-arch:a,b` it is
none, `kernel:4.8` or newer.
"""

from __future__ import annotations

from jubako.oci import seccomp_profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

_ALWAYS = """
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32
geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp
getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid
getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set
io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek
lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall
munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev
pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr
sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid
setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt
set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget
shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat
stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""

_ADMIN = """
bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open
quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare
"""

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}

_ENOSYS = 38

# (names, condition, () or (index, value, comparison) or the errno instead of permission)
_RULES: tuple[tuple[str, str, tuple[int, int, str] | tuple[()] | int], ...] = (
    (_ALWAYS, "", ()),
    ("process_vm_readv process_vm_writev ptrace", "kernel:4.8", ()),
    ("socket", "", (0, 38, "LT")),
    ("socket", "", (0, 39, "EQ")),
    ("socket", "", (0, 40, "GT")),
    ("personality", "", (0, 0x0, "EQ")),
    ("personality", "", (0, 0x8, "EQ")),
    ("personality", "", (0, 0x20000, "EQ")),
    ("personality", "", (0, 0x20008, "EQ")),
    ("personality", "", (0, 0xFFFFFFFF, "EQ")),
    ("sync_file_range2 swapcontext", "arch:ppc64le", ()),
    (
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
        "arch:arm,arm64",
        (),
    ),
    ("arch_prctl", "arch:amd64,x32", ()),
    ("modify_ldt", "arch:amd64,x32,x86", ()),
    ("s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr", "arch:s390,s390x", ()),
    ("riscv_flush_icache", "arch:riscv64", ()),
    ("open_by_handle_at", "cap:DAC_READ_SEARCH", ()),
    (_ADMIN, "cap:SYS_ADMIN", ()),
    ("clone", "no-cap:SYS_ADMIN no-arch:s390,s390x", (0, _NEW_NAMESPACES, "MASKED_EQ")),
    ("clone", "arch:s390,s390x no-cap:SYS_ADMIN", (1, _NEW_NAMESPACES, "MASKED_EQ")),
    ("clone3", "no-cap:SYS_ADMIN", _ENOSYS),
    ("reboot", "cap:SYS_BOOT", ()),
    ("chroot", "cap:SYS_CHROOT", ()),
    ("delete_module init_module finit_module", "cap:SYS_MODULE", ()),
    ("acct", "cap:SYS_PACCT", ()),
    (
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
        "cap:SYS_PTRACE",
        (),
    ),
    ("iopl ioperm", "cap:SYS_RAWIO", ()),
    ("settimeofday stime clock_settime clock_settime64", "cap:SYS_TIME", ()),
    ("vhangup", "cap:SYS_TTY_CONFIG", ()),
    ("get_mempolicy mbind set_mempolicy set_mempolicy_home_node", "cap:SYS_NICE", ()),
    ("syslog", "cap:SYSLOG", ()),
    ("bpf", "cap:BPF", ()),
    ("perf_event_open", "cap:PERFMON", ()),
)

# machine -> the architectures whose system calls the filter judges by their own numbers
_ARCHITECTURES = {
    "X86_64": ("X86", "X32"),
    "AARCH64": ("ARM",),
    "MIPS64": ("MIPS", "MIPS64N32"),
    "MIPS64N32": ("MIPS", "MIPS64"),
    "MIPSEL64": ("MIPSEL", "MIPSEL64N32"),
    "MIPSEL64N32": ("MIPSEL", "MIPSEL64"),
    "S390X": ("S390",),
    "RISCV64": (),
    "LOONGARCH64": (),
}


def document() -> dict[str, Any]:
    """The profile in Docker's own file format, every condition still unresolved."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {
                "architecture": f"SCMP_ARCH_{name}",
                "subArchitectures": [f"SCMP_ARCH_{sub}" for sub in subs] or None,
            }
            for name, subs in _ARCHITECTURES.items()
        ],
        "syscalls": [_rule(*rule) for rule in _RULES],
    }


def profile(
    capabilities: Collection[str],
    *,
    machine: str | None = None,
    kernel: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The OCI `linux.seccomp` object for a container with this bounding set.

    machine, kernel: as `uname` says, by default of this host.
    """
    return seccomp_profile.resolve(document(), capabilities, machine=machine, kernel=kernel)


def _rule(
    names: str, condition: str, rest: tuple[int, int, str] | tuple[()] | int
) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names.split(), "action": "SCMP_ACT_ALLOW"}
    if isinstance(rest, int):
        rule.update(action="SCMP_ACT_ERRNO", errnoRet=rest)
    elif rest:
        index, value, comparison = rest
        rule["args"] = [{"index": index, "value": value, "op": f"SCMP_CMP_{comparison}"}]
    for word in condition.split():
        key, _, text = word.partition(":")
        side = rule.setdefault("excludes" if key.startswith("no-") else "includes", {})
        if key == "kernel":
            side["minKernel"] = text
        elif key.endswith("cap"):
            side.setdefault("caps", []).append(f"CAP_{text}")
        else:
            side["arches"] = text.split(",")
    return rule
