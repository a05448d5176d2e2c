"""What is known of a container beside its output: its tag, and attributes that options choose."""

from __future__ import annotations

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jubako.containers.model import ContainerRecord

DAEMON = "docker"  # what {{.DaemonName}} is everywhere; receivers have rules for it
ATTRIBUTE_OPTIONS = ("labels", "labels-regex", "env", "env-regex", "tag")


def attributes(
    options: Mapping[str, str],
    record: ContainerRecord,
    name: Callable[[str], str] = lambda key: key,
) -> dict[str, str]:
    """The labels and variables of the container that the options choose, by key.

    name: makes the key what the receiver takes.  Raises InvalidArgument (a regular expression).
    """
    labels: dict[str, str] = record["Config"].get("Labels") or {}
    pairs = [entry.partition("=") for entry in record["Config"].get("Env") or ()]
    variables = {key: value for key, found, value in pairs if found}
    chosen: dict[str, str] = {}
    for option, values in (("labels", labels), ("env", variables)):
        wanted = options.get(option, "").split(",")
        chosen.update((name(key), values[key]) for key in wanted if key in values)
        if pattern := options.get(f"{option}-regex"):
            matches = _matcher(pattern)
            chosen.update((name(key), value) for key, value in values.items() if matches(key))
    return dict(sorted(chosen.items()))


def _matcher(pattern: str) -> Callable[[str], object]:
    import re

    try:
        return re.compile(pattern).search
    except re.error as exc:
        raise InvalidArgument(f"error parsing regexp: {exc}: `{pattern}`") from None


def tag(options: Mapping[str, str], record: ContainerRecord, default: str) -> str:
    """The option `tag`, a template over `{{.ID}}` and its kin; else `default`.

    Raises InvalidArgument with Go's sentence.
    """
    text = options.get("tag", "")
    if not text:
        return default
    if "{{" not in text:
        return text
    from jubako.golang.template import parse, render

    return render(parse(text, "log-tag"), _Info(record))


class _Info:
    """Docker's `logger.Info`, as a template sees it."""

    go_type = "*logger.Info"

    def __init__(self, record: ContainerRecord):
        self._fields: dict[str, object] = {
            "ID": record["Id"][:12],
            "FullID": record["Id"],
            "Name": record["Name"],
            "ImageID": record["ImageId"][:12],
            "ImageFullID": record["ImageId"],
            "ImageName": record["ImageRef"],
            "DaemonName": DAEMON,
            "Command": command(record),
            "ContainerID": record["Id"],
            "ContainerName": f"/{record['Name']}",
            "ContainerImageID": record["ImageId"],
            "ContainerImageName": record["ImageRef"],
            "ContainerEntrypoint": record["Path"],
            "ContainerArgs": record["Args"],
            "ContainerEnv": record["Config"].get("Env") or [],
            "ContainerLabels": record["Config"].get("Labels") or {},
        }

    def lookup(self, name: str) -> object:
        return self._fields[name]


def command(record: ContainerRecord) -> str:
    """The program and its arguments, with spaces between."""
    return " ".join((record["Path"], *record["Args"]))
