"""The process beside each running container, and those that it starts.

launching     what a command does to start one
launcher      stands by while a container is created, and forks the monitor
process       the monitor until the container runs; then `supervisor`, until it has ended
slim          the same process as a small program, once the container has run for a while
restarting    the same process while it waits to start the container again
ending        the one transaction that records an end and decides what follows
checks        when a health check is due; `probe` is the process that does one
recorder      samples for `jubako why`; `oom_event` tells of what the kernel killed
health, restart   the rules, as pure functions
"""
