"""Options of tmpfs mounts: `--tmpfs /run:size=64m,mode=1777` and `--mount type=tmpfs`."""

from __future__ import annotations

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.containers.model import Json, TmpfsOptions

DEFAULT_OPTIONS = ("noexec", "nosuid", "nodev", "rprivate")

_DATA = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))
_PROPAGATION = frozenset(
    "private rprivate shared rshared slave rslave unbindable runbindable".split()
)
# option -> what it sets or clears: of two about the same thing the later one counts
_FLAGS = {
    word: what
    for what, words in (
        ("ro", "ro rw"),
        ("nosuid", "suid nosuid"),
        ("nodev", "dev nodev"),
        ("noexec", "exec noexec"),
        ("sync", "sync async"),
        ("dirsync", "dirsync"),
        ("mand", "mand nomand"),
        ("noatime", "atime noatime"),
        ("nodiratime", "diratime nodiratime"),
        ("relatime", "relatime norelatime"),
        ("strictatime", "strictatime nostrictatime"),
        ("propagation", " ".join(sorted(_PROPAGATION))),
    )
    for word in words.split()
}


def mount(target: str, data: str) -> Json:
    """The OCI mount of a tmpfs at `target`; data: comma-separated options of the user."""
    options = merge([*DEFAULT_OPTIONS, *(data.split(",") if data else ())])
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}


def merge(options: Sequence[str]) -> list[str]:
    """Drop what a later option contradicts or repeats.

    Raises InvalidArgument for an option that tmpfs does not have.
    """
    seen: set[str] = set()
    kept: list[str] = []
    for option in reversed(options):
        if option == "defaults":
            continue
        key = _FLAGS.get(option)
        if key is None:
            key, equals, _ = option.partition("=")
            if not equals or key not in _DATA:
                raise InvalidArgument(f'invalid tmpfs option "{key}"', subject=option)
        if key not in seen:
            seen.add(key)
            kept.append(option)
    kept.reverse()
    return kept


def data_of(options: TmpfsOptions | None) -> str:
    """The option string of `--mount type=tmpfs,tmpfs-size=...,tmpfs-mode=...`.

    Raises InvalidArgument for an option that is not allowed there.
    """
    words = []
    if options and options.get("Mode"):
        words.append(f"mode={options['Mode']:o}")
    if options and options.get("SizeBytes"):
        size, suffix = options["SizeBytes"], ""
        for letter, factor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
            if size % factor == 0:
                size, suffix = size // factor, letter
                break
        words.append(f"size={size}{suffix}")
    for option in (options or {}).get("Options") or ():
        if not 1 <= len(option) <= 2:
            raise InvalidArgument(f"invalid option array length: {len(option)}, should be 1 or 2")
        if len(option) == 2 or option[0] not in ("exec", "noexec"):
            raise InvalidArgument(f"invalid option: {option[0]}", subject=option[0])
        words.append(option[0])
    return ",".join(words)
