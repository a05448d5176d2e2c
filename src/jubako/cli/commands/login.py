"""`jubako login`: give a registry's credentials, and keep them."""

from __future__ import annotations

import sys

from jubako.cli.flags import BOOL, STRING, Command, Flag, Refused
from jubako.cli.session import is_terminal
from jubako.errors import JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.images.registries.service import LoggedIn

COMMAND = Command(
    "[OPTIONS] [SERVER]",
    (
        Flag("password", "p", STRING),
        Flag("password-stdin", "", BOOL),
        Flag("username", "u", STRING),
    ),
    maximum=1,
)
_MAX_PASSWORD = 1 << 20  # bytes; tokens of some clouds have several thousand
_ABOUT_HUB = """\
Web-based login is not available; log in with a name and a password or token.

Log in with your Docker ID or email address to push and pull images from Docker Hub. \
If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.
You can log in with your password or a Personal Access Token (PAT). \
Using a limited-scope PAT grants better security and is required for organizations using SSO. \
Learn more at https://docs.docker.com/go/access-tokens/
"""
_ABOUT_TOKENS = """
 Info -> A Personal Access Token (PAT) can be used instead.
         To create a PAT, visit https://app.docker.com/settings

"""
_ABOUT_LOGOUT = """
 Info -> To login with a different account, run 'jubako logout' followed by 'jubako login'

"""
_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


def run(session: Session, call: Call) -> int:
    _check(session, call)
    server = call.args[0] if call.args else ""
    username, password = call.text("username"), call.text("password")
    if call.flag("password-stdin"):
        password = _read_password()
    known = ""
    if not username and not password:
        done, known = _with_stored(session, server)
        if done is not None:
            return _tell(session, done)
    if not username or not password:
        username, password = _ask(session, server, username or "", password, known)
    return _tell(session, session.engine.registries.login(server, username, password))


def _check(session: Session, call: Call) -> None:
    """Whether the flags make sense together.  Raises Refused."""
    from_stdin = call.flag("password-stdin")
    if from_stdin and call.given("password"):
        raise Refused("conflicting options: cannot specify both --password and --password-stdin")
    if from_stdin and not call.text("username"):
        raise Refused("the --password-stdin option requires --username to be set")
    for name in ("username", "password"):
        if call.given(name) and not call.text(name):
            raise Refused(f"{name} is empty")
    if call.given("password"):
        session.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")


def _read_password() -> str:
    """All of stdin, which may end in a line feed."""
    data = sys.stdin.buffer.read(_MAX_PASSWORD + 1)
    if len(data) > _MAX_PASSWORD:
        raise Refused("the password on stdin is too long")
    return data.decode(errors="surrogateescape").removesuffix("\n").removesuffix("\r")


def _with_stored(session: Session, server: str) -> tuple[LoggedIn | None, str]:
    """Try what is kept from an earlier login; the result, and the user's name to propose."""
    stored = session.engine.registries.stored_login(server)
    if stored is None or not stored.username or not stored.password:
        return None, stored.username if stored is not None else ""
    name = stored.username
    session.err(f"Authenticating with existing credentials... [Username: {name}]")
    session.err(_ABOUT_LOGOUT)
    try:
        return session.engine.registries.login(server, name, stored.password), name
    except JubakoError as exc:
        session.err(f"Login did not succeed, error: {exc}")
        return None, name


def _ask(
    session: Session, server: str, username: str, password: str, known: str
) -> tuple[str, str]:
    """Ask at the terminal for what is missing.  Raises Refused without one or without answers."""
    if not is_terminal(0):
        raise Refused("Cannot perform an interactive login from a non TTY device")
    from jubako.cli.prompt import ask, ask_hidden

    hub = server in ("", "docker.io")
    if not username:
        if hub:
            session.out(_ABOUT_HUB)
        answer = ask(session, f"Username ({known}): " if known else "Username: ")
        username = answer.strip() or known
        if not username:
            raise Refused("Non-null Username Required")
    if not password:
        if hub:
            session.err(_ABOUT_TOKENS)
        password = ask_hidden(session, "Password: ")
        if not password:
            raise Refused("Password Required")
    return username, password


def _tell(session: Session, done: LoggedIn) -> int:
    if done.unencrypted is not None:
        session.err(_UNENCRYPTED.format(done.unencrypted))
    session.out(done.status)
    return 0
