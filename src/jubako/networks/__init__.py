"""Networks: addresses, bridges, published ports, and the files that describe them to a container.

    networks = NetworkService(store)
    endpoint = networks.attach(container_id, netns_fd, ports=parse_publish("8080:80"))
    networks.serve(loop, container_id, endpoint)
    networks.detach(container_id)

`portspec` is Docker's grammar of ports, `files` makes /etc/hosts and resolv.conf, `firewall` holds
the nftables table and says how it gets along with the host's own rules.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.networks.service import NetworkService

__all__ = ["NetworkService"]


if not TYPE_CHECKING:  # loaded when it is used: a monitor that only serves needs other modules

    def __getattr__(name: str) -> object:
        if name != "NetworkService":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from jubako.networks.service import NetworkService

        return NetworkService
