"""The flags of `run` and `create` about health checks, with the sentences of Docker's client."""

from __future__ import annotations

from jubako.cli.flags import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call

_NUMBERS = {  # in the order in which they are checked
    "health-interval": "Interval",
    "health-timeout": "Timeout",
    "health-retries": "Retries",
    "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}


def health_check(call: Call) -> dict[str, Any] | None:
    """The Healthcheck of Config; None to leave it to the image.  Raises OptionError."""
    command = call.text("health-cmd")
    numbers = {flag: call.number(flag) for flag in _NUMBERS if call.number(flag)}
    if call.flag("no-healthcheck"):
        if command or numbers:
            raise OptionError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for flag, value in numbers.items():
        if value < 0:
            raise OptionError(f"--{flag} cannot be negative")
    check: dict[str, Any] = {"Test": ["CMD-SHELL", command]} if command else {}
    check.update((_NUMBERS[flag], value) for flag, value in numbers.items())
    return check or None
