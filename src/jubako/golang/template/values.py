"""How values print, compare and count as true, seen with Go's eyes.

JSON has lost the difference between a Go struct (whose fields are fixed) and a Go map (any key).
It comes back through the names of the fields that hold maps in Docker's types.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAP_FIELDS = frozenset(
    "Annotations AuxiliaryAddresses Containers Data DriverOpts ExposedPorts IndexConfigs Labels"
    " LogConfigOptions Networks Options Opts PortBindings Ports Runtimes StorageOpt Sysctls Tmpfs"
    " UsageDetails Volumes Details".split()
)


class Map(dict):  # type: ignore[type-arg]  # of str to anything; typing is not loaded here
    """A Go map: any key may be asked for.  default: what a missing key gives to `index`."""

    __slots__ = ("default",)

    def __init__(self, value: dict[str, Any], default: Any):
        super().__init__(value)
        self.default = default


class Nil:
    """A nil slice or map: empty, but printed as what it would be."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())


NIL_SLICE = Nil("[]")
NIL_MAP = Nil("map[]")
NIL_POINTER = Nil("<nil>")

_TEXT_MAPS = frozenset(
    "Annotations Data Details DriverOpts Labels Options Opts StorageOpt Sysctls Tmpfs".split()
)
_POINTERS = frozenset(
    "Health Healthcheck IPAMConfig Init MemorySwappiness OomKillDisable PidsLimit Platform"
    " StopTimeout".split()
)
# Fields that Docker's types have and its JSON leaves out when they are empty: by a key that only
# the object of that type has.
_OMITTED = (
    ("OOMKilled", {"Health": NIL_POINTER}),
    (
        "OnBuild",
        {
            "ArgsEscaped": False,
            "ExposedPorts": NIL_MAP,
            "Healthcheck": NIL_POINTER,
            "MacAddress": "",
            "NetworkDisabled": False,
            "Shell": NIL_SLICE,
            "StopSignal": "",
            "StopTimeout": NIL_POINTER,
        },
    ),
    (
        "NetworkMode",
        {
            "Annotations": NIL_MAP,
            "Init": NIL_POINTER,
            "Mounts": NIL_SLICE,
            "StorageOpt": NIL_MAP,
            "Sysctls": NIL_MAP,
            "Tmpfs": NIL_MAP,
        },
    ),
    ("RW", {"Driver": "", "Name": "", "Type": ""}),
    (
        "Target",
        {
            "BindOptions": NIL_POINTER,
            "ReadOnly": False,
            "Source": "",
            "TmpfsOptions": NIL_POINTER,
            "VolumeOptions": NIL_POINTER,
        },
    ),
    ("HostConfig", {"SizeRootFs": NIL_POINTER, "SizeRw": NIL_POINTER}),
)


class NoValue:
    """What a missing key of a map gives."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


NO_VALUE = NoValue()


def find(value: dict[str, Any], name: str) -> Any:
    """The field of an object, or NO_VALUE.

    Go's names of fields have acronyms in capitals where the JSON may not: `.ID` finds `Id`.
    """
    if name in value:
        return typed(name, value[name])
    if any(name[index : index + 2].isupper() for index in range(len(name) - 1)):
        folded = name.casefold()
        for key, found in value.items():
            if key.casefold() == folded:
                return typed(key, found)
    for mark, fields in _OMITTED:
        if mark in value and name in fields:
            return fields[name]
    return NO_VALUE


def typed(name: str, value: Any) -> Any:
    """The value of a field, with the kind that Docker's type of that name has."""
    if value is None:
        if name in _POINTERS:
            return NIL_POINTER
        return NIL_MAP if name in MAP_FIELDS else NIL_SLICE
    if type(value) is dict and name in MAP_FIELDS:
        return Map(value, "" if name in _TEXT_MAPS else NO_VALUE)
    return value


def truth(value: Any) -> bool:
    """Go: the zero value is false; a struct is always true."""
    if value is None or value is NO_VALUE:
        return False
    if type(value) is dict:
        return True
    if isinstance(value, (str, list, dict, Nil)):
        return len(value) > 0
    if isinstance(value, (bool, int, float)):
        return bool(value)
    return True


def show(value: Any) -> str:
    """As `fmt.Print` writes it."""
    if value is NO_VALUE or value is None:
        return "<no value>"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return show_float(value)
    if isinstance(value, Nil):
        return value.text
    return _inner(value)


def _inner(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, Map):
        return f"map[{' '.join(f'{key}:{_inner(value[key])}' for key in sorted(value))}]"
    if isinstance(value, dict):
        return f"{{{' '.join(_inner(typed(key, one)) for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(_inner, value))}]"
    if isinstance(value, (str, bool, float, Nil)):
        return show(value)
    return str(value)


def show_float(value: float) -> str:
    """Go's %v: the shortest digits, with an exponent below 1e-4 and from 1e21."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-4 <= abs(value) < 1e21:
        if value == int(value):
            return str(int(value))
        text = repr(value)
        return text if "e" not in text else f"{value:f}"
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        mantissa, _, exponent = f"{value:e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
    sign = exponent[0] if exponent[0] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent.lstrip('+-').zfill(2)}"


def type_name(value: Any) -> str:
    """The type as Go's errors call it."""
    for kind, name in (
        (bool, "bool"),
        (str, "string"),
        (int, "int"),
        (float, "float64"),
        (list, "[]interface {}"),
        (tuple, "[]string"),
        (dict, "map[string]interface {}"),
    ):
        if isinstance(value, kind):
            return name
    if value is None or isinstance(value, (Nil, NoValue)):
        return "nil"
    return str(getattr(value, "go_type", type(value).__name__))


def to_json(value: Any, name: str = "") -> Any:
    """A value for `json.dumps`: maps in the order of their keys, structs in their own."""
    if isinstance(value, (Nil, NoValue)):
        return None
    if isinstance(value, dict):
        keys = sorted(value) if isinstance(value, Map) or name in MAP_FIELDS else list(value)
        return {key: to_json(value[key], key) for key in keys}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if hasattr(value, "to_json"):
        return value.to_json()
    return value
