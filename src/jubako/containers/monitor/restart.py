"""Restart policies: whether a container that has ended is to run again, and when.

Docker's rules (moby, restartmanager): `always` and `unless-stopped` whatever the exit status was,
`on-failure` when it was not 0, at most so many times since a user started the container.  A user's
stop rests every policy until the next start.  The wait before a restart is 100 ms, then doubles
up to a minute; a container that ran for ten seconds begins with 100 ms again.

Everything here is arithmetic; `monitor.restarting` is what a monitor does with it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.model import RestartPolicy

FIRST_S = 0.1
LONGEST_S = 60.0
STEADY_S = 10.0  # who ran so long is no crash loop

# Values of the column `stop_requested`.
RESTS = 1  # a user stopped it
RESTARTED = 2  # a user restarts it: a new start follows at once, and `--rm` waits for another end
SHUTDOWN = 3  # the machine goes down

POLICIES = ("no", "on-failure", "always", "unless-stopped")


def wanted(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stop_requested: int
) -> bool:
    """Whether the policy starts a container again that has just ended.

    restart_count: how often it did since a user started the container.
    """
    if stop_requested:
        return False
    if policy["Name"] == "on-failure":
        most = policy["MaximumRetryCount"]
        return exit_code != 0 and (most == 0 or restart_count < most)
    return policy["Name"] in ("always", "unless-stopped")


def wanted_at_boot(policy: RestartPolicy, *, stop_requested: int) -> bool:
    """Whether the policy starts a container after the machine was started anew."""
    name = policy["Name"]
    return name == "always" or (name == "unless-stopped" and stop_requested != RESTS)


def next_delay_s(previous_s: float, ran_s: float) -> float:
    """How long to wait before the next restart.

    previous_s: the wait before the last one, 0 if there was none.  ran_s: how long the container
    ran, by a clock that nobody can set.
    """
    if previous_s <= 0 or ran_s >= STEADY_S:
        return FIRST_S
    return min(previous_s * 2, LONGEST_S)
