"""What the files of a cgroup are for, in plain words: for the trace alone.

Whoever writes a limit has no more to say about it than the file's name does, so the words are kept
here, once for both versions.
"""

from __future__ import annotations

_LIFTED = frozenset(("-1", "max"))

# The end of the path -> the words; {} is the value, sizes in bytes as a person writes them.
_SIZES = {
    "memory.limit_in_bytes": "at most {} of memory for all its processes together",
    "memory.max": "at most {} of memory for all its processes together",
    "memory.memsw.limit_in_bytes": "at most {} of memory and swap space together",
    "memory.swap.max": "at most {} of swap space",
    "memory.soft_limit_in_bytes": "under pressure it is pushed back to {} of memory first",
    "memory.low": "up to {} of its memory is left alone under pressure",
    "memory.kmem.tcp.limit_in_bytes": "at most {} of memory for the buffers of TCP",
}
_VALUES = {
    "memory.oom_control": "out of memory, its processes wait instead of being killed",
    "memory.swappiness": "how readily its memory goes to swap space, of 100: {}",
    "cpu.shares": "its part of a busy processor, where others have 1024: {}",
    "cpu.weight": "its part of a busy processor, where others have 100: {}",
    "cpu.cfs_period_us": "the length of the period for which processor time is counted: {} us",
    "cpu.cfs_quota_us": "processor time in each period, of all processors together: {} us",
    "cpu.max": "processor time, and the period for which it is counted, in us: {}",
    "cpu.cfs_burst_us": "unused processor time that it may save up: {} us",
    "cpu.max.burst": "unused processor time that it may save up: {} us",
    "cpu.rt_period_us": "the period for which real-time processor time is counted: {} us",
    "cpu.rt_runtime_us": "real-time processor time in each period: {} us",
    "cpu.idle": "it runs only when nobody else wants the processor",
    "pids.max": "at most {} processes and threads, so that a fork bomb stays inside",
    "blkio.weight": "its part of a busy disk, of 1000: {}",
    "blkio.bfq.weight": "its part of a busy disk, of 1000: {}",
    "io.bfq.weight": "its part of a busy disk: {}",
    "io.weight": "its part of a busy disk, of 10000: {}",
    "blkio.weight_device": "its part of one busy disk (its number, weight): {}",
    "blkio.bfq.weight_device": "its part of one busy disk (its number, weight): {}",
    "blkio.throttle.read_bps_device": "bytes a second that it may read of a disk: {}",
    "blkio.throttle.write_bps_device": "bytes a second that it may write to a disk: {}",
    "blkio.throttle.read_iops_device": "reads a second of a disk: {}",
    "blkio.throttle.write_iops_device": "writes a second to a disk: {}",
    "io.max": "what it may read and write of a disk in a second: {}",
    "net_cls.classid": "the class of its packets, for traffic control: {}",
    "net_prio.ifpriomap": "the priority of its packets on a link: {}",
}
_UNITS = ("B", "kB", "MB", "GB", "TB")


def of(path: str, data: str) -> str:
    """Why `data` is written to the cgroup file `path`."""
    name = path.rpartition("/")[2]
    if name.startswith("devices."):
        return _device(name, data)
    if name in _SIZES:
        if data in _LIFTED:
            return "no limit of this kind: " + name
        return _SIZES[name].format(_size(data))
    if name in _VALUES:
        return _VALUES[name].format("no limit" if data in _LIFTED else data)
    if name.startswith("hugetlb."):
        return f"at most {_size(data)} of huge pages"
    return f"the setting {name} of its group"


def _device(name: str, data: str) -> str:
    if data == "a":
        allowed = name == "devices.allow"
        return "every device may be used" if allowed else "no device may be used, to begin with"
    may = "may" if name == "devices.allow" else "may not"
    return f"these {may} be used (kind, numbers; r read, w write, m make a file for it)"


def _size(data: str) -> str:
    try:
        size = float(data)
    except ValueError:
        return data
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.4g} {unit}"
