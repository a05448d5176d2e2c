"""The limits that `run`, `create` and `update` have in common: flag -> key of HostConfig."""

from __future__ import annotations

TEXTS = {
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
}
NUMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}
