"""What the help says about the container commands, in Docker's words."""

from __future__ import annotations

from jubako.cli.edit_options import NOT_HERE
from jubako.cli.texts.text import INSPECT_AS, INSPECT_FORMAT, LIST_FORMAT, Text

RUN = {
    "add-host": "Add a custom host-to-IP mapping (host:ip)",
    "annotation": "Add an annotation to the container (passed through to the OCI runtime)",
    "attach": "Attach to STDIN, STDOUT or STDERR",
    "blkio-weight": "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    "blkio-weight-device": "Block IO weight (relative device weight)",
    "cap-add": "Add Linux capabilities",
    "cap-drop": "Drop Linux capabilities",
    "cgroup-parent": "Optional parent cgroup for the container",
    "cgroupns": (
        "Cgroup namespace to use (host|private)\n"
        "'host':    Run the container in the host's cgroup namespace\n"
        "'private': Run the container in its own private cgroup namespace\n"
        "'':        Use the cgroup namespace as configured by the\n"
        "           default of the engine (default)"
    ),
    "cidfile": "Write the container ID to the file",
    "cpu-count": "CPU count (Windows only)",
    "cpu-percent": "CPU percent (Windows only)",
    "cpu-period": "Limit CPU CFS (Completely Fair Scheduler) period",
    "cpu-quota": "Limit CPU CFS (Completely Fair Scheduler) quota",
    "cpu-rt-period": "Limit CPU real-time period in microseconds",
    "cpu-rt-runtime": "Limit CPU real-time runtime in microseconds",
    "cpu-shares": "CPU shares (relative weight)",
    "cpus": "Number of CPUs",
    "cpuset-cpus": "CPUs in which to allow execution (0-3, 0,1)",
    "cpuset-mems": "MEMs in which to allow execution (0-3, 0,1)",
    "device": "Add a host device to the container",
    "device-cgroup-rule": "Add a rule to the cgroup allowed devices list",
    "device-read-bps": "Limit read rate (bytes per second) from a device",
    "device-read-iops": "Limit read rate (IO per second) from a device",
    "device-write-bps": "Limit write rate (bytes per second) to a device",
    "device-write-iops": "Limit write rate (IO per second) to a device",
    "disable-content-trust": "Skip image verification",
    "dns": "Set custom DNS servers",
    "dns-option": "Set DNS options",
    "dns-search": "Set custom DNS search domains",
    "domainname": "Container NIS domain name",
    "entrypoint": "Overwrite the default ENTRYPOINT of the image",
    "env": "Set environment variables",
    "env-file": "Read in a file of environment variables",
    "expose": "Expose a port or a range of ports",
    "gpus": "GPU devices to add to the container ('all' to pass all GPUs)",
    "group-add": "Add additional groups to join",
    "health-cmd": "Command to run to check health",
    "health-interval": "Time between running the check (ms|s|m|h) (default 0s)",
    "health-on-failure": (
        'What happens to an unhealthy container ("none", "kill", "restart", "stop")'
    ),
    "health-retries": "Consecutive failures needed to report unhealthy",
    "health-start-interval": (
        "Time between running the check during the start period (ms|s|m|h) (default 0s)"
    ),
    "health-start-period": (
        "Start period for the container to initialize before starting health-retries "
        "countdown (ms|s|m|h) (default 0s)"
    ),
    "health-timeout": "Maximum time to allow one check to run (ms|s|m|h) (default 0s)",
    "help": "Print usage",
    "hostname": "Container host name",
    "init": "Run an init inside the container that forwards signals and reaps processes",
    "interactive": "Keep STDIN open even if not attached",
    "io-maxbandwidth": "Maximum IO bandwidth limit for the system drive (Windows only)",
    "io-maxiops": "Maximum IOps limit for the system drive (Windows only)",
    "ip": "IPv4 address (e.g., 172.30.100.104)",
    "ip6": "IPv6 address (e.g., 2001:db8::33)",
    "ipc": "IPC mode to use",
    "isolation": "Container isolation technology",
    "kernel-memory": "Kernel memory limit",
    "label": "Set meta data on a container",
    "label-file": "Read in a line delimited file of labels",
    "lazy": "Start before the image is here, and fetch what is read first",
    "link": "Add link to another container",
    "link-local-ip": "Container IPv4/IPv6 link-local addresses",
    "log-driver": "Logging driver for the container",
    "log-opt": "Log driver options",
    "mac-address": "Container MAC address (e.g., 92:d0:c6:0a:29:33)",
    "memory": "Memory limit",
    "memory-reservation": "Memory soft limit",
    "memory-swap": "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
    "memory-swappiness": "Tune container memory swappiness (0 to 100)",
    "mount": "Attach a filesystem mount to the container",
    "name": "Assign a name to the container",
    "network": "Connect a container to a network",
    "network-alias": "Add network-scoped alias for the container",
    "no-healthcheck": "Disable any container-specified HEALTHCHECK",
    "oom-kill-disable": "Disable OOM Killer",
    "oom-score-adj": "Tune host's OOM preferences (-1000 to 1000)",
    "pid": "PID namespace to use",
    "pids-limit": "Tune container pids limit (set -1 for unlimited)",
    "platform": "Set platform if server is multi-platform capable",
    "privileged": "Give extended privileges to this container",
    "publish": "Publish a container's port(s) to the host",
    "publish-all": "Publish all exposed ports to random ports",
    "quiet": "Suppress the pull output",
    "read-only": "Mount the container's root filesystem as read only",
    "restart": "Restart policy to apply when a container exits",
    "rm": "Automatically remove the container and its associated anonymous volumes when it exits",
    "runtime": "Runtime to use for this container",
    "secret": (
        "Secret file that is only in memory, at /run/secrets/NAME\n"
        "(id=NAME[,src=FILE|,env=VARIABLE][,target=PATH][,uid=N][,gid=N][,mode=0444])"
    ),
    "security-opt": "Security Options",
    "shm-size": "Size of /dev/shm",
    "stop-signal": "Signal to stop the container",
    "stop-timeout": "Timeout (in seconds) to stop a container",
    "storage-opt": "Storage driver options for the container",
    "sysctl": "Sysctl options",
    "tmpfs": "Mount a tmpfs directory",
    "tty": "Allocate a pseudo-TTY",
    "ulimit": "Ulimit options",
    "use-api-socket": "Bind mount the API socket and the required auth",
    "user": "Username or UID (format: <name|uid>[:<group|gid>])",
    "userns": "User namespace to use",
    "uts": "UTS namespace to use",
    "volume": "Bind mount a volume",
    "volume-driver": "Optional volume driver for the container",
    "volumes-from": "Mount volumes from the specified container(s)",
    "workdir": "Working directory inside the container",
}

TEXTS = {
    "run": Text(
        "Create and run a new container from an image",
        {
            **RUN,
            "detach": "Run container in background and print container ID",
            "detach-keys": "Override the key sequence for detaching a container",
            "pull": 'Pull image before running ("always", "missing", "never")',
            "sig-proxy": "Proxy received signals to the process",
        },
    ),
    "create": Text(
        "Create a new container",
        {
            **RUN,
            "pull": 'Pull image before creating ("always", "missing", "never")',
        },
    ),
    "exec": Text(
        "Execute a command in a running container",
        {
            "detach": "Detached mode: run command in the background",
            "detach-keys": "Override the key sequence for detaching a container",
            "env": "Set environment variables",
            "env-file": "Read in a file of environment variables",
            "interactive": "Keep STDIN open even if not attached",
            "privileged": "Give extended privileges to the command",
            "tty": "Allocate a pseudo-TTY",
            "user": 'Username or UID (format: "<name|uid>[:<group|gid>]")',
            "workdir": "Working directory inside the container",
        },
    ),
    "start": Text(
        "Start one or more stopped containers",
        {
            "attach": "Attach STDOUT/STDERR and forward signals",
            "detach-keys": "Override the key sequence for detaching a container",
            "interactive": "Attach container's STDIN",
        },
    ),
    "stop": Text(
        "Stop one or more running containers",
        {
            "exec": "Stop processes that `exec` has started: the arguments are their IDs",
            "signal": "Signal to send to the container",
            "timeout": "Seconds to wait before killing the container",
        },
    ),
    "kill": Text(
        "Kill one or more running containers",
        {
            "exec": "Signal processes that `exec` has started: the arguments are their IDs",
            "signal": "Signal to send to the container",
        },
    ),
    "restart": Text(
        "Restart one or more containers",
        {
            "signal": "Signal to send to the container",
            "timeout": "Seconds to wait before killing the container",
        },
    ),
    "pause": Text("Pause all processes within one or more containers"),
    "unpause": Text("Unpause all processes within one or more containers"),
    "wait": Text("Block until one or more containers stop, then print their exit codes"),
    "rm": Text(
        "Remove one or more containers",
        {
            "force": "Force the removal of a running container (uses SIGKILL)",
            "link": "Remove the specified link",
            "volumes": "Remove anonymous volumes associated with the container",
        },
    ),
    "ps": Text(
        "List containers",
        {
            "all": "Show all containers (default shows just running)",
            "filter": "Filter output based on conditions provided",
            "format": LIST_FORMAT,
            "last": "Show n last created containers (includes all states)",
            "latest": "Show the latest created container (includes all states)",
            "no-trunc": "Don't truncate output",
            "quiet": "Only display container IDs",
            "size": "Display total file sizes",
        },
    ),
    "logs": Text(
        "Fetch the logs of a container",
        {
            "details": "Show extra details provided to logs",
            "follow": "Follow log output",
            "since": (
                'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative '
                '(e.g. "42m" for 42 minutes)'
            ),
            "tail": "Number of lines to show from the end of the logs",
            "timestamps": "Show timestamps",
            "until": (
                'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative '
                '(e.g. "42m" for 42 minutes)'
            ),
        },
    ),
    "attach": Text(
        "Attach local standard input, output, and error streams to a running container",
        {
            "detach-keys": "Override the key sequence for detaching a container",
            "no-stdin": "Do not attach STDIN",
            "sig-proxy": "Proxy all received signals to the process",
        },
    ),
    "top": Text("Display the running processes of a container"),
    "container_execs": Text(
        "List the processes that `exec` has started in a container",
        {
            "all": "Show also those that ended in the last five minutes",
            "format": LIST_FORMAT,
            "no-trunc": "Don't truncate output",
            "quiet": "Only display the IDs",
        },
    ),
    "stats": Text(
        "Display a live stream of container(s) resource usage statistics",
        {
            "all": "Show all containers (default shows just running)",
            "format": LIST_FORMAT,
            "no-stream": "Disable streaming stats and only pull the first result",
            "no-trunc": "Do not truncate output",
        },
    ),
    "port": Text("List port mappings or a specific mapping for the container"),
    "rename": Text("Rename a container"),
    "update": Text(
        "Update configuration of one or more containers",
        {
            **{
                flag: RUN[flag]
                for flag in (
                    "blkio-weight",
                    "cpu-period",
                    "cpu-quota",
                    "cpu-shares",
                    "cpus",
                    "cpuset-cpus",
                    "cpuset-mems",
                    "kernel-memory",
                    "memory",
                    "memory-reservation",
                    "memory-swap",
                    "pids-limit",
                    "restart",
                )
            },
            "cpu-rt-period": "Limit the CPU real-time period in microseconds",
            "cpu-rt-runtime": "Limit the CPU real-time runtime in microseconds",
            "memory-swap": "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        },
    ),
    "export": Text(
        "Export a container's filesystem as a tar archive",
        {
            "output": "Write to a file, instead of STDOUT",
        },
    ),
    "commit": Text(
        "Create a new image from a container's changes",
        {
            "author": 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
            "change": "Apply Dockerfile instruction to the created image",
            "message": "Commit message",
            "pause": "Pause container during commit",
        },
    ),
    "container_edit": Text(
        "Change the configuration of a container",
        {
            **{flag: text for flag, text in RUN.items() if flag not in NOT_HERE},
            "dry-run": "Check everything, show what would change, and change nothing",
            "reset": (
                "Put a setting back to what the image or the engine gives\n"
                "(named as by inspect, e.g. HostConfig.Dns)"
            ),
            "restart-now": "Stop and start the container for what it cannot get while it runs",
            "rm-env": "Remove an environment variable",
            "rm-label": "Remove a label",
            "rm-publish": "Publish a port of the container no more (e.g. 80/tcp)",
            "rm-secret": "Remove a secret",
            "rm-volume": "Remove the mount at a path in the container",
            "rm-volumes": "Delete the anonymous volumes that the container leaves behind",
        },
        long=(
            "Change the configuration of a container\n\n"
            "The container keeps its ID, its name and its files. Variables, labels, ports, mounts\n"
            "and the like are added, or take the place of those with the same name; with a\n"
            "COMMAND the container runs that from now on. A running container gets limits, labels\n"
            "and its restart policy at once; for the rest it is stopped and started with\n"
            "--restart-now, and when it does not start, the old configuration is put back."
        ),
    ),
    "cp": Text(
        "Copy files/folders between a container and the local filesystem",
        {
            "archive": "Archive mode (copy all uid/gid information)",
            "follow-link": "Always follow symbol link in SRC_PATH",
            "glob": (
                "Copy all files of the container whose name matches the last part of SRC_PATH "
                "(*, ?, [...]) to a directory"
            ),
            "quiet": (
                "Suppress progress output during copy. Progress output is automatically "
                "suppressed if no terminal is attached"
            ),
        },
        "Copy files/folders between a container and the local filesystem\n\n"
        "Use '-' as the source to read a tar archive from stdin\n"
        "and extract it to a directory destination in a container.\n"
        "Use '-' as the destination to stream a tar archive of a\n"
        "container source to stdout.",
    ),
    "diff": Text("Inspect changes to files or directories on a container's filesystem"),
    "container_inspect": Text(
        "Display detailed information on one or more containers",
        {
            "as": INSPECT_AS,
            "format": INSPECT_FORMAT,
            "size": "Display total file sizes",
        },
    ),
    "container_prune": Text(
        "Remove all stopped containers",
        {
            "filter": 'Provide filter values (e.g. "until=<timestamp>")',
            "force": "Do not prompt for confirmation",
        },
    ),
}
