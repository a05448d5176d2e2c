"""The value of `--restart`, for `run`, `create` and `update`."""

from __future__ import annotations

from jubako.cli.flags import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.model import RestartPolicy


def parse(text: str) -> RestartPolicy:
    """`on-failure:3` as the API's RestartPolicy; the engine checks the name.

    Raises OptionError in Docker's words.
    """
    name, colon, retries = text.partition(":")
    if colon and not name:
        raise OptionError("invalid restart policy format: no policy provided before colon")
    count = 0
    if retries:
        digits = retries.removeprefix("-" if retries.startswith("-") else "+")
        if not digits.isascii() or not digits.isdigit():
            raise OptionError(
                "invalid restart policy format: maximum retry count must be an integer"
            )
        count = int(retries)
    return {"Name": name, "MaximumRetryCount": count}
