"""The other side of a copy as a process: `ssh`, or any command that takes its place.

    ssh://[user@]host[:port][/root]      root: of the engine there; else its default

What is run is `SHELL [-p PORT] [user@]host COMMAND`, with the command as one argument, as rsync
does it; the side there is `jubako image receive` or `jubako image send`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess

from jubako.errors import InvalidArgument, KernelError, Unavailable
from jubako.images.copying.protocol import Peer
from jubako.images.copying.receiving import receive
from jubako.images.copying.sending import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.images import ImageService
    from jubako.images.copying.sending import Copied
    from jubako.images.progress import Progress

SCHEME = "ssh://"
SHELL_VARIABLE = "JUBAKO_RSH"  # the shell, with its arguments, as RSYNC_RSH
_PATIENCE_S = 5.0  # for a process that has nothing more to do
# No word may look like an option of the shell, which would run what it likes.
_HOST = re.compile(r"(?:([A-Za-z0-9_][\w.+-]*)@)?([A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.%]+\])")
_ADDRESS = re.compile(rf"{_HOST.pattern}(?::([0-9]{{1,5}}))?(/.*)?", re.ASCII)


class Address:
    """A machine and the engine on it; port and root are None where it does not say."""

    __slots__ = ("host", "port", "root", "text")

    def __init__(self, text: str):
        """Raises InvalidArgument."""
        match = _ADDRESS.fullmatch(text.removeprefix(SCHEME))
        if not text.startswith(SCHEME) or match is None:
            raise InvalidArgument(
                f"not a machine to copy to or from: {text[:200]!r}",
                hint="write it as ssh://[user@]host[:port][/root]",
                subject=text,
            )
        user, host, port, root = match.groups()
        host = host.strip("[]")
        self.text = text
        self.host = host if user is None else f"{user}@{host}"
        self.port: str | None = port
        self.root: str | None = root if root not in (None, "/") else None


class RemoteShell:
    """A command that runs on another machine; a context manager that ends it.

        with RemoteShell(address, ["image", "receive"]) as peer: ...

    arguments: of the jubako there.  shell: the command to reach it, default $JUBAKO_RSH or `ssh`.
    program: the jubako there.  What the other side writes to stderr goes to ours.
    Raises Unavailable: the shell is not there, or failed although all was said.
    """

    def __init__(
        self,
        address: Address,
        arguments: Sequence[str],
        *,
        shell: str | None = None,
        program: str = "jubako",
    ):
        self._address = address
        words = [program, *([] if address.root is None else ["--root", address.root]), *arguments]
        port = [] if address.port is None else ["-p", address.port]
        self._argv = [
            *shlex.split(shell or os.environ.get(SHELL_VARIABLE) or "ssh"),
            *port,
            address.host,
            shlex.join(words),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Peer:
        try:
            self._process = subprocess.Popen(
                self._argv, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as exc:
            raise KernelError.from_oserror("run", exc, path=self._argv[0]) from exc
        assert self._process.stdin is not None and self._process.stdout is not None
        reader, writer = self._process.stdout.fileno(), self._process.stdin.fileno()
        return Peer(reader, writer, self._address.text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        try:
            status = process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if status and (kind is None or isinstance(error, Unavailable)):
            message = f"{self._address.text}: {self._argv[0]} ended with status {status}"
            raise Unavailable(f"{error}; {message}" if error else message) from error


def is_address(text: str) -> bool:
    """Whether the text means another machine and not a file or an image."""
    return text.startswith(SCHEME)


def copy_to(
    images: ImageService,
    address: str,
    references: Sequence[str],
    shell: str | None,
    program: str,
    progress: Progress | None,
) -> Copied:
    """See `ImageService.copy_to`."""
    arguments = ["image", "receive"]
    with RemoteShell(Address(address), arguments, shell=shell, program=program) as peer:
        return send(images, references, peer, progress)


def copy_from(
    images: ImageService,
    address: str,
    references: Sequence[str],
    shell: str | None,
    program: str,
    progress: Progress | None,
) -> list[str]:
    """See `ImageService.copy_from`."""
    arguments = ["image", "send", "--", *references]
    with RemoteShell(Address(address), arguments, shell=shell, program=program) as peer:
        return receive(images, peer, progress)
