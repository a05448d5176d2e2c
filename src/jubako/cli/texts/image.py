"""What the help says about the image commands, in Docker's words."""

from __future__ import annotations

from jubako.cli.texts.text import INSPECT_FORMAT, LIST_FORMAT, Text

TEXTS = {
    "images": Text(
        "List images",
        {
            "all": "Show all images (default hides intermediate images)",
            "digests": "Show digests",
            "filter": "Filter output based on conditions provided",
            "format": LIST_FORMAT,
            "no-trunc": "Don't truncate output",
            "quiet": "Only show image IDs",
        },
    ),
    "rmi": Text(
        "Remove one or more images",
        {
            "force": "Force removal of the image",
            "no-prune": "Do not delete untagged parents",
            "platform": (
                "Remove only the given platform variant. Formatted as "
                '"os[/arch[/variant]]" (e.g., "linux/amd64")'
            ),
        },
    ),
    "tag": Text("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "history": Text(
        "Show the history of an image",
        {
            "format": LIST_FORMAT,
            "human": "Print sizes and dates in human readable format",
            "no-trunc": "Don't truncate output",
            "platform": (
                'Show history for the given platform. Formatted as "os[/arch[/variant]]" '
                '(e.g., "linux/amd64")'
            ),
            "quiet": "Only show image IDs",
        },
    ),
    "pull": Text(
        "Download an image from a registry",
        {
            "all-tags": "Download all tagged images in the repository",
            "disable-content-trust": "Skip image verification",
            "dry-run": "Only show what would be downloaded",
            "lazy": "Return when containers can start, and fetch the rest meanwhile",
            "platform": "Set platform if server is multi-platform capable",
            "quiet": "Suppress verbose output",
        },
    ),
    "outdated": Text(
        "List images and whether their registries have newer ones",
        {
            "format": LIST_FORMAT,
            "no-trunc": "Don't truncate output",
            "quiet": "Only show the names of images that are outdated",
        },
    ),
    "push": Text(
        "Upload an image to a registry",
        {
            "all-tags": "Push all tags of an image to the repository",
            "disable-content-trust": "Skip image signing",
            "platform": (
                "Push a platform-specific manifest as a single-platform image to the registry.\n"
                "Image index won't be pushed, meaning that other manifests, including "
                "attestations won't be preserved.\n"
                "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"
            ),
            "quiet": "Suppress verbose output",
        },
    ),
    "save": Text(
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
        {
            "output": "Write to a file, instead of STDOUT",
            "platform": (
                'Save only the given platform variant. Formatted as "os[/arch[/variant]]"'
                ' (e.g., "linux/amd64")'
            ),
            "since": "Leave out the layers of this image, which whoever loads the archive has",
        },
    ),
    "load": Text(
        "Load an image from a tar archive or STDIN",
        {
            "input": "Read from tar archive file, instead of STDIN",
            "platform": (
                'Load only the given platform variant. Formatted as "os[/arch[/variant]]"'
                ' (e.g., "linux/amd64")'
            ),
            "quiet": "Suppress the load output",
        },
    ),
    "import_": Text(
        "Import the contents from a tarball to create a filesystem image",
        {
            "change": "Apply Dockerfile instruction to the created image",
            "message": "Set commit message for imported image",
            "platform": "Set platform if server is multi-platform capable",
        },
    ),
    "image_inspect": Text(
        "Display detailed information on one or more images",
        {
            "format": INSPECT_FORMAT,
            "platform": (
                "Inspect a specific platform of the multi-platform image.\n"
                "If the image or the server is not multi-platform capable, the command "
                "will error out if the platform does not match.\n"
                "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"
            ),
        },
    ),
    "image_prune": Text(
        "Remove unused images",
        {
            "all": "Remove all unused images, not just dangling ones",
            "dry-run": "Only show what would go, and how much space comes free",
            "filter": (
                'Provide filter values (e.g. "until=<timestamp>"):\n'
                "dangling, label, label!, reference=<pattern>, unused-for=<duration>, until"
            ),
            "force": "Do not prompt for confirmation",
            "keep": "Remove all unused images but the newest N of each repository",
        },
    ),
    "image_cp": Text(
        "Copy images to another machine, from it, or into a file, without layers it has",
        {
            "program": "The jubako on the other machine",
            "quiet": "Suppress the progress and the list of what was loaded",
            "rsh": "Command to reach the other machine (default: $JUBAKO_RSH or ssh)",
            "since": "Leave out the layers of this image from a file",
        },
    ),
    "image_receive": Text("Get images on standard input from `image cp` on another machine"),
    "image_send": Text("Send images on standard output to `image cp` on another machine"),
    "image_verify": Text(
        "Check every digest and every layer on disk, of some images or of all",
        {
            "format": LIST_FORMAT,
            "quiet": "Only show what is damaged and was not repaired",
            "repair": "Make good what can be, and say how the rest comes back",
        },
    ),
    "bootstrap": Text(
        "Make a base image from a distribution's signed archive",
        {
            "include": "Packages to add to the image",
            "mirror": "Archive to read the packages from (default: the distribution's own)",
            "tag": "Name and tag of the image (default: the suite given)",
            "variant": "Set of packages, as mmdebstrap names them (essential, apt, minbase, ...)",
            "quiet": "Suppress the progress, print the image ID only",
        },
    ),
}
