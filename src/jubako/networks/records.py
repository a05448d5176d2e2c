"""The networks that every root has: bridge, host, none."""

from __future__ import annotations

import json
import os
import time

from jubako.networks import firewall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from jubako.networks.ipv4 import Subnet
    from jubako.networks.model import Ipam, NetworkRecord

DEFAULT_NETWORK = "bridge"
DEFAULT_MTU = 1500
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
            firewall.OPTION_ICC: "true",
            firewall.OPTION_MASQUERADE: "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            firewall.OPTION_BRIDGE: link,
            OPTION_MTU: str(DEFAULT_MTU),
        },
    )


def bridge_ipam(subnet: Subnet) -> Ipam:
    """The subnet, with its first address for the bridge itself."""
    from jubako.networks.ipv4 import text

    config = {"Subnet": str(subnet), "Gateway": text(subnet.base + 1)}
    return {
        "Driver": "default",
        "Options": None,
        "Config": [{"Subnet": config["Subnet"], "Gateway": config["Gateway"]}],
    }


def plain(name: str, driver: str) -> NetworkRecord:
    """`host` and `none`, which have nothing."""
    return new_record(name, driver, {"Driver": "default", "Options": None, "Config": None}, {})


def load(row: sqlite3.Row) -> NetworkRecord:
    record: NetworkRecord = json.loads(row["record"])
    return record


def save(db: sqlite3.Connection, record: NetworkRecord) -> None:
    """Insert or replace the row; call it in a transaction."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    db.execute(
        "INSERT INTO networks (id, name, driver, record) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record",
        (record["Id"], record["Name"], record["Driver"], text),
    )
