"""How much of a device a request takes: all of it, or of a shared one what its policy makes of it.

Amounts that a request names are rounded up to what the device's policy allows; what it does not
name is the policy's default, or all there is. Upstream: `consumable_capacity.go`.
"""

from collections.abc import Iterable, Mapping

from minikube_py.api import quantity
from minikube_py.api.object import Obj, get
from minikube_py.api.quantity import Quantity
from minikube_py.server.scheduler.devices.inventory import Device

Amounts = Mapping[str, Quantity]
"""By name of the capacity."""


def consumed(device: Device, request: Obj) -> Amounts | None:
    """Return what a request takes of a device's capacities; None where that cannot be."""
    wanted: Mapping[str, str] = get(request, "capacity.requests") or {}
    capacities: Mapping[str, Obj] = device.obj.get("capacity") or {}
    if any(name not in capacities for name in wanted):
        return None
    found: dict[str, Quantity] = {}
    for name, capacity in capacities.items():
        total = quantity.parse(capacity["value"])
        amount = _amount(wanted.get(name), total, capacity.get("requestPolicy") or {})
        if amount is None or amount > total:
            return None
        found[name] = amount
    return found


def _amount(wanted: str | None, total: Quantity, policy: Obj) -> Quantity | None:
    if wanted is None:
        usual = policy.get("default")
        return quantity.parse(usual) if usual is not None else total
    asked = quantity.parse(wanted)
    if choices := policy.get("validValues"):
        fitting = [choice for choice in map(quantity.parse, choices) if choice >= asked]
        return min(fitting, default=None)
    if (span := policy.get("validRange")) is not None:
        return _within(asked, span)
    return asked


def _within(asked: Quantity, span: Obj) -> Quantity | None:
    low = quantity.parse(span["min"])
    amount = max(asked, low)
    if span.get("step") is not None:
        step, beyond = quantity.parse(span["step"]).value(), (amount - low).value()
        amount = low + quantity.of(-(-beyond // step) * step, amount.format)
    if span.get("max") is not None and amount > quantity.parse(span["max"]):
        return None
    return amount


def fits(device: Device, amounts: Amounts, others: Iterable[Amounts]) -> bool:
    """Tell whether a shared device has room for amounts beside those that others have of it."""
    held = list(others)
    for name, amount in amounts.items():
        total = amount
        for one in held:
            total = total + one.get(name, quantity.ZERO)
        if total > quantity.parse(device.obj["capacity"][name]["value"]):
            return False
    return True
