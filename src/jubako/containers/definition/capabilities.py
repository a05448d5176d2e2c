"""Which capabilities a container has: Docker's default set, `--cap-add`, `--cap-drop`."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.linux import caps
from jubako.oci import runtime_defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.containers.model import HostConfig, Json


def of(host: HostConfig) -> list[str]:
    """The names of the capabilities of a container's processes, and of its bounding set.

    Raises InvalidArgument for a name that this kernel does not know.
    """
    if host["Privileged"]:
        return caps.available()
    if not host["CapAdd"] and not host["CapDrop"]:
        return list(runtime_defaults.CAPABILITIES)
    dropped = normalise(host["CapDrop"] or ())
    added = normalise(host["CapAdd"] or ())
    if "ALL" in added:
        names = caps.available()
    elif "ALL" in dropped:
        return list(dict.fromkeys(added))
    else:
        names = list(runtime_defaults.CAPABILITIES)
    kept = [name for name in names if name not in dropped]
    if "ALL" in added:
        return kept
    return list(dict.fromkeys([*kept, *added]))


def normalise(names: Sequence[str]) -> list[str]:
    """`net_admin` and `CAP_NET_ADMIN` become the latter; `ALL` stays.

    Raises InvalidArgument in Docker's words.
    """
    result = []
    available: list[str] | None = None
    for name in names:
        upper = name.upper()
        if upper != "ALL":
            if not upper.startswith("CAP_"):
                upper = f"CAP_{upper}"
            if upper not in caps.NAMES:
                raise InvalidArgument(f'unknown capability: "{upper}"', subject=name)
            if available is None:
                available = caps.available()
            if upper not in available:
                raise InvalidArgument(
                    "capability not supported by your kernel or not available in the current "
                    f'environment: "{upper}"',
                    subject=name,
                )
        result.append(upper)
    return result


def sets(names: Sequence[str]) -> Json:
    """The OCI `process.capabilities`: none inheritable or ambient (CVE-2022-24769)."""
    return {kind: list(names) for kind in ("bounding", "effective", "permitted")}
