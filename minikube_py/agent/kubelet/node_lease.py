"""The node's heartbeat: a Lease that is renewed every ten seconds and holds for forty."""

import logging
from collections.abc import Callable
from typing import Any

from minikube_py.api import times
from minikube_py.api.coordination import LEASES
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Obj, evolve
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
NAMESPACE = "kube-node-lease"
DURATION_SECONDS = 40
RENEW_SECONDS = 10.0
RETRY_SECONDS = 1.0


class NodeLease:
    """Renews the Lease of one node."""

    def __init__(self, name: str, uid: Callable[[], str], client: Client, clock: Clock) -> None:
        """Take the name of the node and what returns the uid of its object."""
        self._name = name
        self._uid = uid
        self._client = client
        self._clock = clock
        self._lease: Obj | None = None

    async def run(self) -> None:
        """Renew for ever."""
        while True:
            try:
                await self._renew()
            except StatusError as error:
                log.warning("lease not renewed, trying again error=%s", error)
                self._lease = None
                await self._clock.sleep(RETRY_SECONDS)
            else:
                await self._clock.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        now = times.now_micros(self._clock)
        if self._lease is not None:
            try:
                renewed = evolve(self._lease, "spec.renewTime", now)
                self._lease = await self._client.update(LEASES, renewed)
            except (ConflictError, NotFoundError):
                self._lease = None
            else:
                return
        try:
            lease = await self._client.get(LEASES, self._name, NAMESPACE)
        except NotFoundError:
            self._lease = await self._client.create(LEASES, self._new(now))
        else:
            wanted = evolve(lease, "spec", {**lease.get("spec", {}), **self._spec(now)})
            self._lease = await self._client.update(LEASES, wanted)

    def _spec(self, now: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._name,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
        }

    def _new(self, now: str) -> dict[str, Any]:
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": self._uid()}
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {
                "name": self._name,
                "namespace": NAMESPACE,
                "ownerReferences": [owner],
            },
            "spec": self._spec(now),
        }
