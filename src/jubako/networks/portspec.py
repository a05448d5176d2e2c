"""Docker's grammar of `-p` and `--expose`, with its error texts.

-p [[HOST_IP:]HOST_PORT[-END]:]CONTAINER_PORT[-END][/tcp|udp|sctp]
--expose PORT[-END][/PROTOCOL]
"""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.networks.ipv4 import is_ipv4, is_ipv6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.networks.model import PortBinding, PortMapping

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535


def parse_publish(text: str) -> list[PortMapping]:
    """One value of `-p`; a range gives one mapping for each port.

    A range of host ports for a single container port stays a range, of which a free one is taken
    at start.  Raises InvalidArgument.
    """
    ip, host, container = _split(text)
    protocol, container = _split_protocol(container)
    ip = _strip_brackets(ip)
    if ip and not (is_ipv4(ip) or is_ipv6(ip)):
        raise _invalid(f"invalid IP address: {ip}", text)
    if not container:
        raise _invalid(f"no port specified: {text}<empty>", text)
    span = parse_range(container)
    if span is None:
        raise _invalid(f"invalid containerPort: {container}", text)
    first, last = span
    host_span = parse_range(host) if host else (0, 0)
    if host_span is None:
        raise _invalid(f"invalid hostPort: {host}", text)
    host_first, host_last = host_span
    if host and last - first != host_last - host_first and last != first:
        ranges = f"{container} and {host}"
        raise _invalid(f"invalid ranges specified for container and host Ports: {ranges}", text)
    if protocol.lower() not in PROTOCOLS:
        raise _invalid(f"invalid proto: {protocol}", text)
    mappings: list[PortMapping] = []
    for offset in range(last - first + 1):
        wanted = str(host_first + offset) if host else ""
        if first == last and host_first != host_last:
            wanted = f"{host_first}-{host_last}"
        mappings.append(
            {
                "container_port": first + offset,
                "protocol": protocol.lower(),
                "host_ip": ip,
                "host_port": wanted,
            }
        )
    return mappings


def parse_expose(text: str) -> list[str]:
    """One value of `--expose`: the ports as keys of ExposedPorts ("80/tcp").

    The protocol is kept as written, as Docker does.  Raises InvalidArgument.
    """
    if ":" in text:
        raise _invalid(f"invalid port format for --expose: {text}", text)
    protocol, ports = _split_protocol(text)
    problem = _range_problem(ports)
    if problem:
        raise _invalid(f"invalid range format for --expose: {text}, error: {problem}", text)
    span = parse_range(ports)
    assert span is not None
    return [f"{number}/{protocol}" for number in range(span[0], span[1] + 1)]


def to_bindings(mappings: Iterable[PortMapping]) -> dict[str, list[PortBinding]]:
    """Mappings in the shape of HostConfig.PortBindings."""
    bindings: dict[str, list[PortBinding]] = {}
    for mapping in mappings:
        key = f"{mapping['container_port']}/{mapping['protocol']}"
        bindings.setdefault(key, []).append(
            {"HostIp": mapping["host_ip"], "HostPort": mapping["host_port"]}
        )
    return bindings


def _invalid(message: str, text: str) -> InvalidArgument:
    return InvalidArgument(message, subject=text)


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _split_protocol(text: str) -> tuple[str, str]:
    port, slash, rest = text.partition("/")
    if not port:
        return "", ""
    protocol = rest.partition("/")[0] if slash else ""
    return protocol or "tcp", port


def _strip_brackets(ip: str) -> str:
    """[::1] without its brackets, by the rules of Go's net.SplitHostPort."""
    if not ip:
        return ip
    if ip.startswith("[") and ip.endswith("]"):
        return ip[1:-1]
    if ":" in ip:
        raise _invalid(f"invalid IP address: {ip}", ip)
    return ip


def parse_range(text: str) -> tuple[int, int] | None:
    """(first, last) of "80" or "80-90"; None if it is neither."""
    if _range_problem(text):
        return None
    first, dash, last = text.partition("-")
    return int(first), int(last if dash else first)


def _range_problem(text: str) -> str:
    """What is wrong with a range, in the words of Go's libraries; "" if nothing is."""
    if not text:
        return "empty string specified for ports"
    first, dash, last = text.partition("-")
    for part in (first, last) if dash else (first,):
        if not (part.isascii() and part.isdecimal()):
            return f'strconv.ParseUint: parsing "{part}": invalid syntax'
        if int(part) > MAX_PORT:
            return f'strconv.ParseUint: parsing "{part}": value out of range'
    if dash and int(last) < int(first):
        return f"invalid range specified for port: {text}"
    return ""
