"""The networks that every root has: bridge, host, none."""

from __future__ import annotations

import json
import os
import time

from jubako.errors import InvalidArgument
from jubako.networks import ipv4
from jubako.networks.ipv4 import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from jubako.networks.model import Ipam, NetworkContainer, NetworkRecord

DEFAULT_NETWORK = "bridge"
DEFAULT_MTU = 1500
OPTION_BRIDGE = "com.docker.network.bridge.name"
OPTION_ICC = "com.docker.network.bridge.enable_icc"
OPTION_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
OPTION_MTU = "com.docker.network.driver.mtu"


def default_bridge_link(key: str) -> str:
    """The name of the default bridge's link: at most 15 bytes, different for each root."""
    return f"jbk{key}" if key else "jubako0"


def _now() -> str:
    nanoseconds = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{seconds}.{nanoseconds % 10**9:09d}Z"


def new_record(name: str, driver: str, ipam: Ipam, options: dict[str, str]) -> NetworkRecord:
    return {
        "Name": name,
        "Id": os.urandom(32).hex(),
        "Created": _now(),
        "Scope": "local",
        "Driver": driver,
        "EnableIPv6": False,
        "IPAM": ipam,
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Options": options,
        "Labels": {},
    }


def default_bridge(link: str, subnet: Subnet) -> NetworkRecord:
    return new_record(
        DEFAULT_NETWORK,
        "bridge",
        bridge_ipam(subnet),
        {
            "com.docker.network.bridge.default_bridge": "true",
            OPTION_ICC: "true",
            OPTION_MASQUERADE: "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            OPTION_BRIDGE: link,
            OPTION_MTU: str(DEFAULT_MTU),
        },
    )


def bridge_ipam(subnet: Subnet) -> Ipam:
    """The subnet, with its first address for the bridge itself."""
    return {
        "Driver": "default",
        "Options": None,
        "Config": [{"Subnet": str(subnet), "Gateway": ipv4.text(subnet.base + 1)}],
    }


def plain(name: str, driver: str) -> NetworkRecord:
    """`host` and `none`, which have nothing."""
    return new_record(name, driver, {"Driver": "default", "Options": None, "Config": None}, {})


def with_containers(
    record: NetworkRecord, containers: dict[str, NetworkContainer]
) -> NetworkRecord:
    """What `inspect` shows, its keys in Docker's order."""
    return {
        "Name": record["Name"],
        "Id": record["Id"],
        "Created": record["Created"],
        "Scope": record["Scope"],
        "Driver": record["Driver"],
        "EnableIPv6": record["EnableIPv6"],
        "IPAM": record["IPAM"],
        "Internal": record["Internal"],
        "Attachable": record["Attachable"],
        "Ingress": record["Ingress"],
        "ConfigFrom": record["ConfigFrom"],
        "ConfigOnly": record["ConfigOnly"],
        "Containers": containers,
        "Options": record["Options"],
        "Labels": record["Labels"],
    }


def load(row: sqlite3.Row) -> NetworkRecord:
    record: NetworkRecord = json.loads(row["record"])
    return record


def save(db: sqlite3.Connection, record: NetworkRecord) -> None:
    """Insert or replace the row; call it in a transaction."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)  # in Docker's order
    db.execute(
        "INSERT INTO networks (id, name, driver, record) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record",
        (record["Id"], record["Name"], record["Driver"], text),
    )


def subnet_of(record: NetworkRecord) -> Subnet:
    config = record["IPAM"]["Config"]
    if not config:
        raise InvalidArgument(f"network {record['Name']} has no subnet", subject=record["Name"])
    return Subnet.parse(config[0]["Subnet"])


def gateway_of(record: NetworkRecord) -> str:
    config = record["IPAM"]["Config"]
    return config[0]["Gateway"] if config else ""


def mtu_of(record: NetworkRecord) -> int:
    return int(record["Options"].get(OPTION_MTU, DEFAULT_MTU))
