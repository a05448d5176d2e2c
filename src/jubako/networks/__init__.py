"""Networks: addresses, bridges, published ports, and the files that describe them to a container.

    networks = NetworkService(store)
    listeners = networks.reserve(container_id, parse_publish("8080:80"))
    endpoint = networks.attach(container_id, netns_fd, ports=listeners)
    proxy.serve(loop, listeners, endpoint["IPAddress"])
    networks.detach(container_id)

`portspec` is Docker's grammar of ports, `files` makes /etc/hosts and resolv.conf, `firewall` holds
the nftables table and says how it gets along with the host's own rules.
"""

from __future__ import annotations

from jubako.networks.service import NetworkService

__all__ = ["NetworkService"]
