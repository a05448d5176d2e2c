"""What tests of the registry client have in common."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.oci.manifest import Descriptor
from jubako.oci.reference import parse
from jubako.registry import Client, Hosts
from jubako.registry.credentials import FixedCredentials, Login
from jubako.registry.repository import Repository
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.registry_faults import Answer, Fault, Request, answer

# Of the range for documentation (RFC 5737): not loopback to a client, and still on this machine.
FAR_ADDRESS = "192.0.2.9"


def open_client(
    domain: str = "", login: Login | None = None, *, hosts: Hosts | None = None, **options: Any
) -> Client:
    """A client with the credentials of one registry; to be closed."""
    return Client(hosts or Hosts(), FixedCredentials(domain, login or Login()), **options)


def describe(data: bytes, media_type: str = media.OCI_LAYER) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))


def read(repository: Repository, descriptor: Descriptor, offset: int = 0) -> bytes:
    """A blob, whole or from an offset on."""
    with repository.open_blob(descriptor, offset) as stream:
        return b"".join(stream)


def push_image(repository: Repository, tag: str, layer: bytes) -> tuple[Digest, list[Descriptor]]:
    """An image of one plain layer; its digest, and the descriptors of config and layer."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(layer)]},
    }
    data = json.dumps(config).encode()
    blobs = [describe(data, media.OCI_CONFIG), describe(layer)]
    for blob, content in zip(blobs, (data, layer), strict=True):
        repository.upload(blob.digest, blob.size, partial(iter, [content]))
    document = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": blobs[0].to_json(),
        "layers": [blobs[1].to_json()],
    }
    return repository.put_manifest(tag, json.dumps(document).encode(), media.OCI_MANIFEST), blobs


def repository_of(client: Client, name: str) -> Repository:
    return client.repository(parse(name))


@contextmanager
def far_address() -> Iterator[str]:
    """An address of this machine that is not loopback, in the network namespace of the tests."""
    subprocess.run(["ip", "address", "add", f"{FAR_ADDRESS}/32", "dev", "lo"], check=True)
    try:
        yield FAR_ADDRESS
    finally:
        subprocess.run(["ip", "address", "del", f"{FAR_ADDRESS}/32", "dev", "lo"], check=True)


LOGIN = Login("me", "a secret of mine")
DATA = os.urandom(3_000_000)
BLOB = describe(DATA)


class Watch:
    """A client of the bad registry that notes what it says of its waits, and does not wait long."""

    def __init__(self, bad: BadRegistry, login: Login | None = None, **options: object):
        self.told: list[tuple[str, float]] = []
        self.warned: list[str] = []
        hosts = Hosts(cert_directories=[], **options)  # type: ignore[arg-type]  # of the test
        self.client = open_client(
            bad.host,
            login,
            hosts=hosts,
            on_retry=lambda reason, seconds: self.told.append((reason, seconds)),
            on_warning=self.warned.append,
        )

    def repository(self, bad: BadRegistry, path: str = "app") -> Repository:
        return repository_of(self.client, f"{bad.host}/{path}")


def basic_wanted() -> Fault:
    """Refuse whoever sends no credentials."""

    def fault(good: Answer, request: Request) -> Answer:
        if "authorization" in request.headers:
            return good
        return answer(401, WWW_Authenticate='Basic realm="r"')

    return fault
