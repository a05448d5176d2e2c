"""`features`: what this runtime can do (runtime-spec features.md)."""

from __future__ import annotations

from jubako.linux import caps, ns, seccomp
from jubako.runtime.options import FLAGS, PROPAGATION, RECURSIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.2.0"

# What libseccomp can put into one filter for a machine of ours.
_ARCHITECTURES = ("AARCH64", "ARM", "X32", "X86", "X86_64")


def features() -> dict[str, Any]:
    """The object of features-schema.json, for the kernel that this runs on."""
    own = ("idmap", "ridmap", "tmpcopyup")
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        "mountOptions": sorted({*FLAGS, *PROPAGATION, *RECURSIVE, *own}),
        "linux": {
            "namespaces": sorted(ns.KINDS),
            "capabilities": caps.names((1 << caps.last_cap() + 1) - 1),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": {
                "enabled": seccomp.is_available(),
                "actions": sorted(a for a in seccomp.ACTIONS if seccomp.is_available(a)),
                "operators": sorted(seccomp.OPERATORS),
                "archs": [f"SCMP_ARCH_{name}" for name in _ARCHITECTURES],
                "knownFlags": sorted(seccomp.FLAGS),
                "supportedFlags": sorted(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    }
