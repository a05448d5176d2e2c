"""Values of the API as the short texts that people write: `64m`, `1.5`, `30s`, `8080:80/udp`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from jubako.containers.model import Json, Secret

_CPU_NS = 1_000_000_000


def size(number: int) -> str:
    """Bytes in the largest unit that is exact."""
    for letter, factor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
        if number > 0 and number % factor == 0:
            return f"{number // factor}{letter}"
    return str(number)


def cpus(nano: int) -> str:
    whole, rest = divmod(nano, _CPU_NS)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")


def duration(nanoseconds: int) -> str:
    for unit, factor in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if nanoseconds % factor == 0:
            return f"{nanoseconds // factor}{unit}"
    return f"{nanoseconds}ns"


def restart(policy: Json) -> str:
    count = policy.get("MaximumRetryCount") or 0
    return f"{policy['Name']}:{count}" if count else str(policy["Name"])


def device(mapping: Json) -> str:
    outside = mapping["PathOnHost"]
    inside = mapping.get("PathInContainer") or outside
    access = mapping.get("CgroupPermissions") or "rwm"
    if access != "rwm":
        return f"{outside}:{inside}:{access}"
    return str(outside) if inside == outside else f"{outside}:{inside}"


def ports(bindings: Json) -> Iterator[str]:
    """Every published port as `-p` takes it."""
    anywhere: Json = {}
    for port, addresses in bindings.items():
        inside = port.removesuffix("/tcp")
        for address in addresses or (anywhere,):
            ip, number = address.get("HostIp") or "", address.get("HostPort") or ""
            if ip:
                host = f"[{ip}]" if ":" in ip else ip
                yield f"{host}:{number}:{inside}"
            elif number:
                yield f"{number}:{inside}"
            else:
                yield inside


def ulimit(limit: Json) -> str:
    soft, hard = limit["Soft"], limit["Hard"]
    return f"{limit['Name']}={soft}" if soft == hard else f"{limit['Name']}={soft}:{hard}"


def csv(fields: list[str]) -> str:
    """One record of comma-separated values, quoted where it must be."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if any(c in field for c in '",\n\r') else field
        for field in fields
    )


def mount(spec: Json) -> tuple[str, list[str]]:
    """A Mount as `--mount` takes it, and the names of what that grammar cannot say."""
    fields = [f"type={spec['Type']}"]
    if spec.get("Source"):
        fields.append(f"src={spec['Source']}")
    fields.append(f"dst={spec['Target']}")
    if spec.get("ReadOnly"):
        fields.append("readonly")
    if spec.get("Consistency"):
        fields.append(f"consistency={spec['Consistency']}")
    if spec.get("Chown"):
        fields.append("chown")
    if spec.get("IDMap"):
        fields.append(f"idmap={spec['IDMap']}")
    lost = [key for key, value in spec.items() if value and key not in _MOUNT_KEYS]
    for section in MOUNT_SECTIONS:
        for key, value in _flat(spec.get(section) or {}):
            write = _MOUNT_FIELDS.get((section, key))
            if value and write is None:
                lost.append(f"{section}.{key}")
            elif value and write is not None:
                fields += write(value)
    return csv(fields), lost


MOUNT_SECTIONS = ("BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions")
PLAIN_MOUNT_KEYS = ("Type", "Source", "Target", "ReadOnly", "Consistency")
_MOUNT_KEYS = frozenset((*PLAIN_MOUNT_KEYS, *MOUNT_SECTIONS, "Chown", "IDMap"))


def _flat(options: Json) -> Iterator[tuple[str, Any]]:
    """The options, with those of DriverConfig among them."""
    for key, value in options.items():
        if key == "DriverConfig":
            yield from ((f"Driver{name}", setting) for name, setting in (value or {}).items())
        else:
            yield key, value


def _pairs(field: str) -> Callable[[Any], list[str]]:
    return lambda values: [f"{field}={name}={value}" for name, value in values.items()]


_MOUNT_FIELDS: dict[tuple[str, str], Callable[[Any], list[str]]] = {
    ("BindOptions", "Propagation"): lambda value: [f"bind-propagation={value}"],
    ("BindOptions", "NonRecursive"): lambda value: ["bind-nonrecursive"],
    ("BindOptions", "ReadOnlyNonRecursive"): lambda value: ["bind-recursive=writable"],
    ("BindOptions", "ReadOnlyForceRecursive"): lambda value: ["bind-recursive=readonly"],
    ("VolumeOptions", "NoCopy"): lambda value: ["volume-nocopy"],
    ("VolumeOptions", "Labels"): _pairs("volume-label"),
    ("VolumeOptions", "Subpath"): lambda value: [f"volume-subpath={value}"],
    ("VolumeOptions", "DriverName"): lambda value: [f"volume-driver={value}"],
    ("VolumeOptions", "DriverOptions"): _pairs("volume-opt"),
    ("TmpfsOptions", "SizeBytes"): lambda value: [f"tmpfs-size={value}"],
    ("TmpfsOptions", "Mode"): lambda value: [f"tmpfs-mode={value:o}"],
    ("ImageOptions", "Subpath"): lambda value: [f"image-subpath={value}"],
}


def secret(entry: Secret) -> str:
    """A secret as `--secret` takes it; content that was given directly has no source."""
    fields = [f"id={entry['Name']}"]
    if "File" in entry:
        fields.append(f"src={entry['File']}")
    else:
        fields.append(f"env={entry.get('Env') or 'VARIABLE'}")
    if entry["Target"] != f"/run/secrets/{entry['Name']}":
        fields.append(f"target={entry['Target']}")
    fields += [f"{key.lower()}={entry[key]}" for key in ("Uid", "Gid") if entry[key]]
    if entry["Mode"] != 0o444:
        fields.append(f"mode={entry['Mode']:04o}")
    return csv(fields)
