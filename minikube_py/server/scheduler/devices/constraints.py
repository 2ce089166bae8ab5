"""What devices of a claim must have in common, or must not.

A constraint is asked as devices are chosen one by one, and told when a choice is taken back, in the
reverse order. Once it says no, more devices do not change its mind.
"""

from collections.abc import Sequence
from typing import Final

from minikube_py.api.object import Obj
from minikube_py.server.scheduler.devices.inventory import Device

KINDS: Final = ("int", "bool", "string", "version")


class Constraint:
    """An attribute that is the same for all devices of some requests, or different for each."""

    def __init__(self, spec: Obj) -> None:
        self._requests = frozenset(spec.get("requests") or ())
        self._is_match = spec.get("matchAttribute") is not None
        self._attribute = str(spec.get("matchAttribute") or spec.get("distinctAttribute"))
        self._values: list[tuple[object, ...]] = []

    def _concerns(self, names: Sequence[str]) -> bool:
        return not self._requests or not self._requests.isdisjoint(names)

    def add(self, names: Sequence[str], device: Device) -> bool:
        """Count a device in for a request, by all its names, where the constraint allows it."""
        if not self._concerns(names):
            return True
        attribute = device.attribute(self._attribute)
        if attribute is None:
            return False
        value = tuple(attribute.get(kind) for kind in KINDS)
        known = self._values
        if known and (known[-1] != value if self._is_match else value in known):
            return False
        known.append(value)
        return True

    def remove(self, names: Sequence[str]) -> None:
        """Take back the device that was counted in last."""
        if self._concerns(names):
            self._values.pop()
