"""What the help says about the commands for registries, in Docker's words."""

from __future__ import annotations

from jubako.cli.texts.text import Text

_INSECURE = "Allow communication with an insecure registry"

TEXTS = {
    "login": Text(
        "Authenticate to a registry",
        {
            "password": "Password or Personal Access Token (PAT)",
            "password-stdin": "Take the Password or Personal Access Token (PAT) from stdin",
            "username": "Username",
        },
        "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    ),
    "logout": Text(
        "Log out from a registry",
        long="Log out from a registry.\nIf no server is specified, Docker Hub is meant.",
    ),
    "search": Text(
        "Search a registry for images",
        {
            "filter": "Filter output based on conditions provided",
            "format": "Pretty-print search using a Go template",
            "limit": "Max number of search results",
            "no-trunc": "Don't truncate output",
        },
    ),
    "manifest_inspect": Text(
        "Display an image manifest, or manifest list",
        {
            "insecure": _INSECURE,
            "verbose": "Output additional info including layers and platform",
        },
    ),
    "manifest_create": Text(
        "Create a local manifest list for annotating and pushing to a registry",
        {"amend": "Amend an existing manifest list", "insecure": _INSECURE},
    ),
    "manifest_annotate": Text(
        "Add additional information to a local image manifest",
        {
            "arch": "Set architecture",
            "os": "Set operating system",
            "os-features": "Set operating system feature",
            "os-version": "Set operating system version",
            "variant": "Set architecture variant",
        },
    ),
    "manifest_push": Text(
        "Push a manifest list to a repository",
        {
            "insecure": "Allow push to an insecure registry",
            "purge": "Remove the local manifest list after push",
        },
    ),
    "manifest_rm": Text("Delete one or more manifest lists from local storage"),
}
