"""Docker's rules for `cp`: what becomes of which path.

    SOURCE            DESTINATION                  result
    file              missing                      a file of that name
    file              missing, ends in /           error
    file              file                         replaced
    file              directory                    a file in it, with the source's name
    directory         missing                      a directory of that name, with the content
    directory         file                         error
    directory         directory                    a directory in it, with the source's name
    directory/.       directory                    the content, merged

Pure functions on paths, which may hold any byte but NUL (surrogate escapes).
"""

from __future__ import annotations

import posixpath

from jubako.errors import InvalidArgument


class CopyPath:
    """One side of a copy.  path: absolute, with the `/` or `/.` it was given with at its end.

    exists, directory: what is there.  rename: the name that the content gets instead of the last
    component of `path`; "" for that one itself.
    """

    __slots__ = __match_args__ = ("path", "exists", "directory", "rename")

    def __init__(
        self, path: str, *, exists: bool = False, directory: bool = False, rename: str = ""
    ):
        self.path = path
        self.exists = exists
        self.directory = directory
        self.rename = rename


class Plan:
    """directory: where the content goes.  name: what the source is called there; "" for `/.`, the
    content of a directory without the directory."""

    __slots__ = __match_args__ = ("directory", "name")

    def __init__(self, directory: str, name: str):
        self.directory = directory
        self.name = name


def plan(source: CopyPath, destination: CopyPath) -> Plan:
    """Where a source goes.  Raises InvalidArgument with Docker's sentences."""
    name = source.rename or split(source.path)[1]
    if destination.exists and destination.directory:
        return Plan(destination.path, "" if name == "." else name)
    if destination.exists and source.directory:
        raise InvalidArgument("cannot copy directory", subject=destination.path)
    if not destination.exists and not source.directory and asserts_directory(destination.path):
        raise InvalidArgument("no such directory", subject=destination.path)
    directory, name = split(destination.path)
    return Plan(directory, "" if name == "." else name)


def clean(path: str) -> str:
    """Go's path.Clean of an absolute path."""
    cleaned = posixpath.normpath("/" + path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def with_ending(cleaned: str, original: str) -> str:
    """`cleaned` with the `/` or `/.` that `original` has at its end."""
    if names_content(original) and not names_content(cleaned):
        cleaned = cleaned.rstrip("/") + "/."
    if original.endswith("/") and not cleaned.endswith("/"):
        cleaned += "/"
    return cleaned


def inside(path: str) -> str:
    """A path of a container, absolute and clean but for its ending."""
    return with_ending(clean(path), path)


def names_content(path: str) -> bool:
    """Whether the last component is `.`: the content of a directory."""
    return posixpath.basename(path) == "."


def asserts_directory(path: str) -> bool:
    """Whether the path says itself that it is a directory's."""
    return path.endswith("/") or names_content(path)


def split(path: str) -> tuple[str, str]:
    """(directory, last component); `a/.` is `.` in `a`, and the root is `/` in `/`."""
    cleaned = clean(path)
    if names_content(path):
        return cleaned, "."
    directory, name = posixpath.split(cleaned)
    return directory, name or "/"


def after_link(path: str, target: str) -> CopyPath:
    """The source `path`, a link, as its target, which keeps the ending and the name of the link."""
    target = with_ending(target, path)
    name = _last(path)
    return CopyPath(target, exists=True, rename=name if name != _last(target) else "")


def _last(path: str) -> str:
    """Go's filepath.Base."""
    return posixpath.basename(path.rstrip("/")) or "/"


def split_argument(text: str) -> tuple[str, str]:
    """(container, path) of an argument of `cp`; the container is "" for a path of the host."""
    if text.startswith("/"):
        return "", text
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return "", text
    return container, path
