"""What a process of the container may do: user, capabilities, limits, filter; and its program.

`Identity` is prepared by the caller before the fork: everything that reads files of the host, looks
up names or computes happens there.  In the container nothing is imported and no user database is
asked (CVE-2019-14271): the numbers are in the spec.

The order of `assume` and `execute` is forced:

    bounding set      needs CAP_SETPCAP
    groups, gid, uid  need CAP_SETGID, CAP_SETUID; keepcaps saves the permitted set
    capabilities      effective as the program will have it, so that the lookup of the program is
                      decided with the rights of its user; CAP_SYS_ADMIN stays for the filter
    ── waits for start ──
    limits            late: a low RLIMIT_AS leaves no room for Python
    seccomp           before CAP_SYS_ADMIN goes; with no_new_privs it needs none and comes last
    capabilities      the final sets, ambient last: setuid would have cleared it
    exec              through the trampoline
"""

from __future__ import annotations

import errno
import os
import stat

from jubako.errors import InvalidArgument, KernelError, StartError, Unsupported
from jubako.linux import (
    caps,
    credentials,
    fds,
    prctl,
    pseudofile,
    rlimit,
    seccomp,
    task,
    trace,
    trampoline,
)
from jubako.linux.openat2 import open_file_in_root, open_in_root
from jubako.runtime import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    ProcessSpec = dict[str, Any]

_SYS_ADMIN = 1 << caps.NUMBERS["CAP_SYS_ADMIN"]
_SCHEDULER = "whose turn it is when a processor is busy"
_PASSWD_LIMIT_BYTES = 1 << 20  # CVE-2026-47262: a file of the image must not be read without end
_PERSONALITIES = {"LINUX": task.PER_LINUX, "LINUX32": task.PER_LINUX32}
_IO_CLASSES = {
    "IOPRIO_CLASS_RT": task.IOPRIO_CLASS_RT,
    "IOPRIO_CLASS_BE": task.IOPRIO_CLASS_BE,
    "IOPRIO_CLASS_IDLE": task.IOPRIO_CLASS_IDLE,
}

_FILTER = "only the system calls that containers need; others fail, here and in all children"
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Identity:
    """A process object of the spec, ready to be assumed."""

    __slots__ = (
        "ambient",
        "arguments",
        "bounding",
        "cwd",
        "effective",
        "environment",
        "filter",
        "filter_flags",
        "gid",
        "groups",
        "inheritable",
        "io_priority",
        "label",
        "limits",
        "no_new_privs",
        "oom_score_adj",
        "path",
        "permitted",
        "program_search",
        "scheduler",
        "uid",
        "umask",
    )

    def __init__(self, process: ProcessSpec, bpf: bytes | None, filter_flags: int = 0):
        user = process.get("user") or {}
        self.uid: int = user.get("uid") or 0
        self.gid: int = user.get("gid") or 0
        self.groups: list[int] = list(user.get("additionalGids") or ())
        umask = user.get("umask")
        self.umask = 0o022 if umask is None else umask & 0o777
        self.arguments: list[str] = list(process.get("args") or ())
        if not self.arguments:
            raise InvalidArgument("the process has no arguments")
        self.environment: list[str] = list(process.get("env") or ())
        self.cwd: str = process["cwd"]
        for text in (*self.arguments, *self.environment, self.cwd):
            if "\0" in text:
                raise InvalidArgument(f"null byte in {text!r}")
        # None means none, as with runc and crun: forgetting them must not be the way to have all.
        sets = process.get("capabilities") or {}
        masks = {name: caps.mask(sets.get(name) or ()) for name in _SETS}
        self.bounding = masks["bounding"]
        self.permitted = masks["permitted"]
        self.effective = masks["effective"]
        self.inheritable = masks["inheritable"]
        # The kernel has no others, and the configuration that runc prints asks for more.
        self.ambient = masks["ambient"] & self.permitted & self.inheritable
        self.no_new_privs = bool(process.get("noNewPrivileges"))
        self.oom_score_adj: int | None = process.get("oomScoreAdj")
        self.limits: list[tuple[str, int, int]] = []
        for limit in process.get("rlimits") or ():
            rlimit.number(limit["type"])
            self.limits.append((limit["type"], limit["soft"], limit["hard"]))
        self.scheduler: dict[str, Any] | None = process.get("scheduler")
        self.io_priority: dict[str, Any] | None = process.get("ioPriority")
        if self.io_priority and (
            self.io_priority.get("class") not in _IO_CLASSES
            or not 0 <= self.io_priority.get("priority", -1) < 8
        ):
            raise InvalidArgument(f"invalid ioPriority {self.io_priority}")
        self.label: tuple[str, str] | None = _label(process)
        self.filter = bpf
        self.filter_flags = filter_flags
        self.program_search = _search_path(self.environment)
        self.path = ""

    # --- steps -------------------------------------------------------------------------------

    def set_oom_score(self) -> None:
        """Before the user changes: afterwards /proc/self/oom_score_adj is root's."""
        if self.oom_score_adj is not None:
            why = "who ends first when the host is out of memory, from -1000 to 1000"
            pseudofile.write("/proc/self/oom_score_adj", str(self.oom_score_adj), why=why)

    def raise_limits(self) -> None:
        """Raise hard limits while that is allowed; the rest follows just before exec."""
        for name, _soft, hard in self.limits:
            soft_now, hard_now = rlimit.get(name)
            if hard & rlimit.INFINITY > hard_now:
                why = "a higher limit of this kind; later this process may not set it any more"
                rlimit.set(name, soft_now, hard, why=why)

    def enter_directory(self, root: int = -100) -> None:
        """Change to the working directory, once as root and, where that is not allowed, later.

        Magic links are refused on the way, and a directory outside the root afterwards: both are
        how a leaked descriptor becomes the host's file system (CVE-2024-21626).
        """
        try:
            fd = open_in_root(root, self.cwd, os.O_PATH | os.O_DIRECTORY)
        except KernelError as error:
            raise words.working_directory_error(self.cwd, error.errno or 0) from error
        try:
            os.fchdir(fd)
        except OSError as error:
            raise words.working_directory_error(self.cwd, error.errno or 0) from error
        finally:
            os.close(fd)
        check_directory(self.cwd)

    def assume(self) -> None:
        """Become the user, with the capabilities that the lookup of the program is decided by."""
        caps.drop_bounding(self.bounding, why="no program in the container can ever get the others")
        prctl.set_keepcaps(True, why="a change of the user must not take the capabilities yet")
        try:
            _set_groups(self.groups)
            credentials.setgid(self.gid, why="the group that the program runs as")
            credentials.setuid(self.uid, why="the user that the program runs as")
        except OSError as error:
            detail = f"{self.uid}:{self.gid}"
            raise KernelError("set user", error.errno or 0, path=detail) from error
        prctl.set_keepcaps(False, why="the user is changed; from here on the usual rule holds")
        # A change of IDs makes a process dumpable again where /proc/sys/fs/suid_dumpable says so.
        why = "the change of the user may have opened this process to others of that user"
        prctl.set_dumpable(False, why=why)
        _effective, permitted, _inheritable = caps.get()
        extra = 0 if self.no_new_privs or self.filter is None else _SYS_ADMIN & permitted
        why = "what the program will have; CAP_SYS_ADMIN stays until the filter is loaded"
        if not extra:
            why = "what the program will have, so that its file is looked up with its rights"
        caps.set(self.effective | extra, self.permitted | extra, self.inheritable, why=why)
        os.umask(self.umask)

    def find_program(self) -> None:
        """Look the program up as its user will see it.  Raises StartError in Docker's words."""
        self.path = look_path(self.arguments[0], self.program_search)

    def execute(self, error_fd: int) -> None:
        """Become the program.  Returns only by an error."""
        memfd = trampoline.prepare(error_fd)
        os.set_inheritable(error_fd, True)
        for name, soft, hard in self.limits:
            rlimit.set(name, soft, hard, why="what each process may use: soft limit, hard limit")
        if self.no_new_privs:
            prctl.set_no_new_privs(why="no file, setuid or not, gives it more rights than it has")
        elif self.filter is not None:
            seccomp.load(self.filter, self.filter_flags, why=_FILTER)
        caps.set(self.effective, self.permitted, self.inheritable, why=self._final())
        if self.ambient:
            why = "what the program has although its user is not root"
            caps.set_ambient(self.ambient, why=why)
        if self.no_new_privs and self.filter is not None:
            # nothing of ours but exec comes after it
            seccomp.load(self.filter, self.filter_flags, why=_FILTER)
        trampoline.execute(memfd, self.path, self.arguments, self.environment)

    def _final(self) -> str:
        if self.uid == 0 or not self.permitted:
            return "what the program has"
        if self.ambient:
            return "what it may have; of these, the program of a user keeps the next"
        return "what it may have; the program of a user that is not root begins without any"

    def set_label(self) -> None:
        """The AppArmor profile or SELinux label from the next exec on."""
        if self.label is not None:
            path, text = self.label
            pseudofile.write(path, text, why="the security label of the program")

    def set_scheduler(self) -> None:
        """process.scheduler and ioPriority; SCHED_DEADLINE has no wrapper in Python."""
        if self.io_priority:
            kind = _IO_CLASSES[self.io_priority["class"]]
            why = "whose turn it is when a disk is busy"
            task.set_io_priority(kind, self.io_priority["priority"], why=why)
        if not self.scheduler:
            return
        policy = self.scheduler.get("policy", "SCHED_OTHER")
        if not hasattr(os, policy):
            raise Unsupported(f"scheduler policy {policy}")
        try:
            task.set_scheduler(policy, self.scheduler.get("priority") or 0, why=_SCHEDULER)
            if "nice" in self.scheduler:
                task.set_nice(self.scheduler["nice"], why=_SCHEDULER)
        except OSError as error:
            raise KernelError.from_oserror(f"set scheduler {policy}", error) from error


def _label(process: ProcessSpec) -> tuple[str, str] | None:
    """File and text of the label.  Raises Unsupported where the host's kernel knows none."""
    profile, label = process.get("apparmorProfile"), process.get("selinuxLabel")
    if profile:
        if not os.path.isdir("/sys/kernel/security/apparmor"):
            raise Unsupported(f"AppArmor profile {profile}: this host has no AppArmor")
        path = "/proc/thread-self/attr/apparmor/exec"
        if not os.path.exists(path):
            path = "/proc/thread-self/attr/exec"
        return path, f"exec {profile}"
    if label:
        if not os.path.isdir("/sys/fs/selinux"):
            raise Unsupported("selinux label is specified in config, but selinux is disabled")
        return "/proc/thread-self/attr/exec", label
    return None


def leave_keyring() -> None:
    """A session keyring of its own: the caller's may hold keys of the host."""
    try:
        task.join_session_keyring(why="the kernel's keys of the caller stay outside")
    except KernelError as error:
        # EPERM: a filter around us; the container's will be at least as strict
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise


def set_personality(personality: dict[str, Any] | None) -> None:
    """linux.personality: what uname(2) and friends pretend."""
    if not personality:
        return
    domain = personality.get("domain", "LINUX")
    if domain not in _PERSONALITIES or personality.get("flags"):
        raise Unsupported(f"personality {domain} {personality.get('flags') or ''}".rstrip())
    task.set_personality(_PERSONALITIES[domain], why="what kind of machine programs believe in")


def check_directory(wanted: str) -> None:
    """The working directory must be below the root of this process."""
    try:
        inside = os.getcwd().startswith("/")
    except OSError:
        inside = False
    if not inside:
        raise StartError(
            f"current working directory is outside of container mount namespace root ({wanted})"
        )


def _set_groups(groups: list[int]) -> None:
    try:
        credentials.setgroups(groups, why="the further groups of the program's user")
    except PermissionError:
        # A user namespace whose maps an unprivileged user wrote denies setgroups(2) for good.
        with open("/proc/self/setgroups", "rb") as file:
            denied = file.read().startswith(b"deny")
        if groups or not denied:
            raise


def _search_path(environment: list[str]) -> str:
    found = ""
    for item in environment:
        if item.startswith("PATH="):
            found = item[5:]  # the last one wins, as it does for the program
    return found


def look_path(program: str, search: str) -> str:
    """The file that `program` means, found as Go's exec.LookPath finds it, which runc uses.

    search: PATH of the process.  Asks with the effective user and capabilities.
    Raises StartError: 127 when there is nothing, 126 when it is not executable or a directory.
    """
    if "/" in program:
        number, in_stat = _executable(program)
        if number:
            raise words.program_error(program, number, stat=in_stat)
        return program
    for directory in search.split(":") if search else ():
        path = f"{directory or '.'}/{program}"
        if program and not _executable(path)[0]:
            if not path.startswith("/"):
                raise StartError(
                    f'exec: "{program}": cannot run executable found relative to current directory',
                    exit_code=words.NOT_EXECUTABLE,
                    subject=program,
                )
            return path
    raise words.program_not_in_path(program)


def _executable(path: str) -> tuple[int, bool]:
    """0 or the errno that says why `path` cannot be executed, and whether stat(2) said it."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.EIO, True
    if stat.S_ISDIR(mode):
        return errno.EISDIR, False
    if not os.access(path, os.X_OK, effective_ids=True):
        return errno.EACCES, False
    return 0, False


def home_of(root: int, uid: int) -> str:
    """The home directory of `uid` in the image's /etc/passwd, "/" if it has none.

    root: descriptor of the container's root.  At most the first mebibyte is looked at.
    """
    try:
        fd = open_file_in_root(root, "etc/passwd")
        try:
            data = os.read(fd, _PASSWD_LIMIT_BYTES)
        finally:
            os.close(fd)
    except OSError:  # KernelError too
        return "/"
    for line in data.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid:
            return os.fsdecode(fields[5]) or "/"
    return "/"


def close_descriptors(keep: int, preserve: int) -> None:
    """Leave 0 to 2 and `preserve` more for the program, `keep` and the trace for us."""
    kept = [fd for fd in (keep, trace.descriptor()) if fd >= 3 + preserve]
    for fd in kept:
        os.set_inheritable(fd, False)  # neither reaches the program
    fds.close_except(kept, 3 + preserve)
