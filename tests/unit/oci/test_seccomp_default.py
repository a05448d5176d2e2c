"""The default seccomp profile says exactly what Docker's says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jubako.linux import caps
from jubako.oci import runtime_defaults, seccomp_default, seccomp_profile


def moby_profile() -> dict[str, Any]:
    """Docker's own file, which this repository does not carry."""
    path = Path(os.environ.get("JUBAKO_MOBY_SECCOMP", "../shared/specs/seccomp/moby-default.json"))
    if not path.exists():
        pytest.skip(f"no file of Docker's seccomp profile at {path} (JUBAKO_MOBY_SECCOMP names it)")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def canonical(rule: dict[str, Any]) -> str:
    """A rule without remarks and without fields that say nothing."""
    kept = {key: value for key, value in rule.items() if key != "comment" and value}
    return json.dumps(kept, sort_keys=True)


def test_document_equals_dockers() -> None:
    theirs, ours = moby_profile(), seccomp_default.document()
    assert ours["defaultAction"] == theirs["defaultAction"]
    assert ours["defaultErrnoRet"] == theirs["defaultErrnoRet"]
    assert ours["archMap"] == theirs["archMap"]
    assert [canonical(rule) for rule in ours["syscalls"]] == [
        canonical(rule) for rule in theirs["syscalls"]
    ]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64", "s390x", "ppc64le"])
def test_resolved_profile_equals_dockers_for_every_capability(machine: str) -> None:
    theirs = moby_profile()
    sets: list[tuple[str, ...]] = [(), runtime_defaults.CAPABILITIES]
    sets += [(name,) for name in caps.NAMES]
    sets.append(caps.NAMES)
    for names in sets:
        for kernel in ((3, 10), (4, 8), (6, 1)):
            assert seccomp_default.profile(
                names, machine=machine, kernel=kernel
            ) == seccomp_profile.resolve(theirs, names, machine=machine, kernel=kernel)


def names_allowed(profile: dict[str, Any]) -> set[str]:
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }


def test_default_container_may_not_reach_the_kernel() -> None:
    allowed = names_allowed(
        seccomp_default.profile(runtime_defaults.CAPABILITIES, machine="x86_64", kernel=(6, 1))
    )
    for name in (
        "add_key",
        "bpf",
        "clone",  # only with a condition on its flags
        "clone3",
        "init_module",
        "io_uring_setup",
        "kexec_load",
        "keyctl",
        "mount",
        "open_by_handle_at",
        "pivot_root",
        "reboot",
        "setns",
        "socket",
        "swapon",
        "unshare",
        "userfaultfd",
    ):
        assert name not in allowed
    assert {"read", "execve", "openat2", "ptrace", "chroot"} <= allowed


def test_clone3_says_that_it_does_not_exist() -> None:
    profile = seccomp_default.profile((), machine="x86_64", kernel=(6, 1))
    (rule,) = [rule for rule in profile["syscalls"] if rule["names"] == ["clone3"]]
    assert rule == {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}


def test_each_call_gives_an_object_of_its_own() -> None:
    first = seccomp_default.profile(())
    first["syscalls"][0]["names"].append("keyctl")
    assert "keyctl" not in names_allowed(seccomp_default.profile(()))
