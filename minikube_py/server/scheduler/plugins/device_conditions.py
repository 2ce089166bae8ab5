"""Devices that have to be made ready before a pod may be bound, such as those of a fabric.

A device lists conditions that its driver sets in the claim's status, and others by which the driver
says that it cannot be done. Upstream: the feature DRADeviceBindingConditions.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key, Obj, get, key_of
from minikube_py.api.resource_k8s.pod_claims import is_allocated
from minikube_py.client.informer import Informer

WAIT_SECONDS: Final = 600.0
"""Upstream's `bindingTimeout` of the plugin's arguments."""
_IDENTITY: Final = ("driver", "pool", "device", "shareID")


class Readiness(NamedTuple):
    """How far the devices of claims are."""

    ready: bool
    failed: str
    """Which device cannot be made ready, "" where none has failed."""


class DeviceConditions:
    """Waits for drivers."""

    def __init__(self, claims: Informer) -> None:
        self._claims = claims

    async def wait(self, claims: Sequence[Obj]) -> str:
        """Wait until all devices of claims are ready; return why that will not be.

        Raises:
            ServiceUnavailableError: it took too long.

        """
        keys = [key_of(claim) for claim in claims if any(_waiting_for(claim))]
        if not keys:
            return ""
        try:
            await self._claims.wait_until(lambda: self._is_settled(keys), WAIT_SECONDS)
        except TimeoutError:
            raise ServiceUnavailableError("device binding timeout") from None
        return next((found.failed for found in self._look(keys) if found.failed), "")

    def _look(self, keys: Sequence[Key]) -> Sequence[Readiness]:
        return [readiness(self._claims.get(key) or {}) for key in keys]

    def _is_settled(self, keys: Sequence[Key]) -> bool:
        found = self._look(keys)
        return any(one.failed for one in found) or all(one.ready for one in found)


def _waiting_for(claim: Obj) -> Iterator[Obj]:
    for result in get(claim, "status.allocation.devices.results") or ():
        if result.get("bindingConditions"):
            yield result


def readiness(claim: Obj) -> Readiness:
    """Return how far the devices of a claim are; a cache may not know of them yet."""
    ready = is_allocated(claim)
    for result in _waiting_for(claim):
        identity = [result.get(key) for key in _IDENTITY]
        shown: Obj = next(
            (
                one
                for one in get(claim, "status.devices") or ()
                if [one.get(key) for key in _IDENTITY] == identity
            ),
            {},
        )
        true = {one["type"] for one in shown.get("conditions") or () if one["status"] == "True"}
        if not true.isdisjoint(result.get("bindingFailureConditions") or ()):
            name = "/".join(str(part) for part in identity[:3])
            return Readiness(ready=False, failed=f"device {name} binding failed")
        ready = ready and true.issuperset(result["bindingConditions"])
    return Readiness(ready, "")
