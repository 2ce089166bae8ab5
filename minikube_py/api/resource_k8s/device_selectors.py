"""What a selector of devices says in CEL, compiled; and which devices it selects.

An expression sees one `device`: its driver, and its attributes and capacities by domain and name.
What stands in a slice without a domain is the driver's. Sizes are bounded by what a slice may hold,
so that the worst case of an expression is known before anybody runs it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api import cel, quantity
from minikube_py.api.cel import types
from minikube_py.api.cel.estimate import Path
from minikube_py.api.cel.libraries import semvers
from minikube_py.api.cel.libraries.quantities import QUANTITY
from minikube_py.api.cel.values import Opaque, kind_of
from minikube_py.api.object import Obj
from minikube_py.lib.memo import remembered

COST_MAX: Final = 1_000_000
"""Units of an expression, in the worst case and when it runs."""
_REMEMBERED_MAX: Final = 256
_ENTRIES_MAX, _DOMAIN_MAX, _NAME_MAX, _TEXT_MAX = 32, 63, 32, 64


class DeviceSelectorError(ValueError):
    """An expression that selects no devices; the text is upstream's."""


class Domains(dict[str, Mapping[str, Any]]):
    """Values by domain and name; a domain of which nothing is known is empty, not an error."""

    def __contains__(self, _domain: object) -> bool:
        """Say that whatever is asked for is there: a selector need not check for it."""
        return True

    def __missing__(self, _domain: str) -> Mapping[str, Any]:
        """Return what a domain holds that the device does not know."""
        return {}


_DEVICE: Final = types.object_of(
    "kubernetes.DRADevice",
    {
        "driver": types.STRING,
        "attributes": types.map_of(types.STRING, types.map_of(types.STRING, types.DYN)),
        "capacity": types.map_of(types.STRING, types.map_of(types.STRING, QUANTITY)),
        "allowMultipleAllocations": types.BOOL,
    },
)


@dataclass(frozen=True)
class _Size:
    """How large a value is at most, and what it holds; `most` is None where nothing bounds it."""

    most: int | None
    key: "_Size | None" = None
    value: "_Size | None" = None


_ATTRIBUTE: Final = _Size(_TEXT_MAX)
_NAME: Final = _Size(_NAME_MAX)
_BY_DOMAIN: Final[Mapping[str, _Size]] = {
    kind: _Size(_ENTRIES_MAX, _Size(_DOMAIN_MAX), _Size(_ENTRIES_MAX, _NAME, value))
    for kind, value in (("attributes", _ATTRIBUTE), ("capacity", _Size(None)))
}


class _Sizes:
    """The sizes of what a device holds."""

    def most(self, path: Path) -> int | None:
        """Return the size at a path; None where nothing bounds it."""
        root, *rest = path
        if root != "device" or not rest:
            return None
        kind, *rest = rest
        if kind == "driver":
            return _DOMAIN_MAX
        size = _BY_DOMAIN.get(kind)
        for step in rest:
            size = _below(size, step)
        return None if size is None else size.most


def _below(size: _Size | None, step: str) -> _Size | None:
    if size is None:
        return None
    if step in ("@items", "@values"):
        return size.value
    if step == "@keys":
        return size.key
    return size.value if size.value is _ATTRIBUTE else None


@dataclass(frozen=True)
class DeviceSelector:
    """A compiled selector."""

    program: cel.Program
    cost: int
    """Units that it costs at most."""

    def matches(self, device: Mapping[str, Any]) -> bool:
        """Tell whether a device, as `device_value` shows it, is one of those.

        Raises:
            CelEvaluationError: that cannot be told, such as for want of an attribute.
            CelCostError: the expression costs too much.

        """
        value = self.program.evaluate({"device": device}, budget=COST_MAX)
        if not isinstance(value, bool):
            kind = kind_of(value)
            raise cel.CelEvaluationError(
                f"CEL result of type {kind} could not be converted to bool: type conversion error "
                f"from '{kind}' to 'bool'"
            )
        return value


@remembered(_REMEMBERED_MAX)
def compiled(expression: str) -> DeviceSelector:
    """Compile an expression.

    Raises:
        DeviceSelectorError: it does not compile, or gives no boolean.

    """
    try:
        program, cost = cel.compile_and_estimate(expression, {"device": _DEVICE}, _Sizes())
    except cel.CelError as error:
        raise DeviceSelectorError(f"compilation failed: {error}") from None
    if program.type not in (types.BOOL, types.DYN):
        raise DeviceSelectorError(
            f"must evaluate to bool or the unknown type, not {program.type.declared}"
        )
    return DeviceSelector(program, cost)


def device_value(device: Obj, driver: str) -> Mapping[str, Any]:
    """Return a device of a slice as expressions see it."""
    return {
        "driver": driver,
        "attributes": _by_domain(device.get("attributes") or {}, driver, attribute_value),
        "capacity": _by_domain(device.get("capacity") or {}, driver, _capacity_value),
        "allowMultipleAllocations": bool(device.get("allowMultipleAllocations")),
    }


def _by_domain(
    named: Mapping[str, Obj], driver: str, convert: Callable[[Obj], Any]
) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in named.items():
        domain, slash, own = name.partition("/")
        place = found.setdefault(domain if slash else driver, {})
        place[own if slash else name] = convert(value)
    return Domains(found)


def attribute_value(attribute: Obj) -> Any:
    """Return what an attribute says, of whichever of the four types it is."""
    if attribute.get("version") is not None:
        return semvers.parse(attribute["version"])
    given = (attribute.get(kind) for kind in ("int", "bool", "string"))
    return next((value for value in given if value is not None), None)


def _capacity_value(capacity: Obj) -> Opaque:
    return Opaque(QUANTITY, quantity.parse(capacity["value"]))
