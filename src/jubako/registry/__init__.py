"""Registries: the OCI distribution specification 1.1, and Docker's v2 before it.

    Client          what a pull or a push talks through: hosts, credentials, retries
      Repository    manifests, tags, referrers of one repository
        BlobStream  one blob as it arrives, going on where a connection broke
        uploads     one blob on its way there

Below those, each knowing nothing of the one above:

    exchange     one request with authentication (`auth`) and patience (`retries`)
    transport    one request as HTTP, redirects, TLS (`certificates`), proxies (`proxies`); it and
                 `failures` import urllib3, and are imported when a registry is spoken to
    hosts        where a repository is asked for: naming, mirrors, http or https

This package knows no store: bytes come in and go out as iterators.  What a registry says is hostile
until it was checked: every body has a limit, every digest that was asked for is compared.
"""

from jubako.registry.client import Client
from jubako.registry.hosts import Hosts

__all__ = ["Client", "Hosts"]
