"""Who answers: the headers of responses, and the members of the cluster.

A cluster of etcd has an identity, and so have its members. Here they are keys of kpy's own: the
first face of a datastore makes the cluster's, each notes its address when it starts. So the feed
begins with an event, and a datastore that is used has a revision that is not 0.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from minikube_py.datastore.face.keys import OWN
from minikube_py.datastore.kv import Backend, KeyExistsError, KeyValue, RevisionMismatchError

CLUSTER = f"{OWN}cluster"
MEMBERS = f"{OWN}members/"
RAFT_TERM = 1


class Identity(NamedTuple):
    """A cluster, one member of it, and where clients reach that."""

    cluster: int
    member: int
    name: str
    client_urls: Sequence[str]

    @classmethod
    async def of(cls, backend: Backend, name: str, client_urls: Sequence[str]) -> Self:
        """Return who a face of a backend is, and note that it is there."""
        cluster = await _cluster(backend)
        member = int.from_bytes(hashlib.sha256(f"{cluster} {name}".encode()).digest()[:8], "big")
        await _note(backend, f"{MEMBERS}{member:016x}", name, client_urls)
        return cls(cluster, member, name, client_urls)

    def header(self, revision: int) -> dict[str, int]:
        """Return the header of a response."""
        return {
            "cluster_id": self.cluster,
            "member_id": self.member,
            "revision": revision,
            "raft_term": RAFT_TERM,
        }

    async def members(self, backend: Backend) -> list[dict[str, Any]]:
        """Return all faces of the datastore."""
        page = await backend.list(MEMBERS)
        return [_member(kv) for kv in page.items]


async def _cluster(backend: Backend) -> int:
    while True:
        found = await backend.get(CLUSTER)
        if found is not None:
            return int(found.value, 16)
        try:
            await backend.create(CLUSTER, secrets.token_hex(8).encode())
        except KeyExistsError:
            continue


async def _note(backend: Backend, key: str, name: str, client_urls: Sequence[str]) -> None:
    value = json.dumps({"name": name, "clientURLs": list(client_urls)}).encode()
    while True:
        found = await backend.get(key)
        try:
            if found is None:
                await backend.create(key, value)
            else:
                await backend.update(key, value, revision=found.revision)
        except (KeyExistsError, RevisionMismatchError):
            continue
        return


def _member(kv: KeyValue) -> dict[str, Any]:
    told = json.loads(kv.value)
    return {
        "ID": int(kv.key.removeprefix(MEMBERS), 16),
        "name": told["name"],
        "clientURLs": told["clientURLs"],
    }
