"""Limit ranges: bounds and defaults for the resources of a namespace."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names, quantity
from minikube_py.api.core.pod_defaults import each
from minikube_py.api.core.resources import (
    is_overcommit_allowed,
    validate_container_name,
    validate_name,
)
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.quantity import Quantity
from minikube_py.api.resource import NAME, Column, Resource

Amounts = Mapping[str, str]

_TYPES: Final = frozenset({"Pod", "Container", "PersistentVolumeClaim"})
_LIMITS: Final = Field("spec.limits")
_LISTS: Final = ("max", "min", "default", "defaultRequest")
_NOT_FOR_PODS: Final = "may not be specified when `type` is 'Pod'"
_ONE: Final = quantity.of(1)
_MILLI_MAX: Final = ((1 << 63) - 1) // 1000
"""The largest amount of which upstream still counts thousandths."""


def default(limit_range: Obj) -> Obj:
    """Fill in the defaults of containers: limits from maxima, requests from limits and minima."""
    limits: Sequence[Obj] = get(limit_range, "spec.limits") or ()
    changed = each(limits, _default_limit)
    return evolve(limit_range, "spec.limits", changed) if changed is not limits else limit_range


def prepare_for_create(limit_range: Obj) -> Obj:
    """Give a limit range without any name one: upstream takes a random uuid."""
    metadata = limit_range["metadata"]
    if metadata.get("name"):
        return limit_range
    own = uuid.uuid5(uuid.UUID(metadata["uid"]), "name")
    return evolve(limit_range, "metadata.name", str(own))


def _default_limit(limit: Obj) -> Obj:
    if limit.get("type") != "Container":
        return limit
    highest: Amounts = limit.get("max") or {}
    lowest: Amounts = limit.get("min") or {}
    limits = {**highest, **(limit.get("default") or {})}
    requests = {**lowest, **limits, **(limit.get("defaultRequest") or {})}
    changes = {"default": limits, "defaultRequest": requests}
    changes = {key: value for key, value in changes.items() if value != (limit.get(key) or {})}
    return {**limit, **changes} if changes else limit


def validate(limit_range: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated limit range."""
    seen: set[str] = set()
    for index, limit in enumerate(get(limit_range, "spec.limits") or ()):
        path, kind = _LIMITS[index], limit.get("type") or ""
        yield from _validate_type(kind, path / "type")
        if kind in seen:
            yield (path / "type").duplicate(kind)
        seen.add(kind)
        yield from _validate_names(limit, kind, path)
        yield from _validate_amounts(limit, kind, path)


def _validate_type(kind: str, path: Field) -> Iterator[FieldError]:
    messages = names.qualified_name(kind)
    for message in messages:
        yield path.invalid(kind, message)
    if not messages and "/" not in kind and kind not in _TYPES:
        yield path.invalid(kind, "must be a standard limit type or fully qualified")


def _validate_names(limit: Obj, kind: str, path: Field) -> Iterator[FieldError]:
    check = validate_container_name if kind in {"Pod", "Container"} else validate_name
    for key in _LISTS:
        amounts: Amounts = limit.get(key) or {}
        if kind == "Pod" and key in {"default", "defaultRequest"}:
            if amounts:
                yield (path / key).forbidden(_NOT_FOR_PODS)
            continue
        for name in amounts:
            yield from check(name, (path / key)[name])
    if kind == "PersistentVolumeClaim" and not any(
        "storage" in (limit.get(key) or ()) for key in ("min", "max")
    ):
        yield (path / "limits").required(
            "either minimum or maximum storage value is required, but neither was provided"
        )
    for name in limit.get("maxLimitRequestRatio") or ():
        yield from check(name, (path / "maxLimitRequestRatio")[name])


def _validate_amounts(limit: Obj, kind: str, path: Field) -> Iterator[FieldError]:
    lists = ("max", "min") if kind == "Pod" else _LISTS
    amounts = {key: _parsed(limit.get(key)) for key in (*lists, "maxLimitRequestRatio")}
    for name in dict.fromkeys(name for listed in amounts.values() for name in listed):
        known = {key: listed[name] for key, listed in amounts.items() if name in listed}
        yield from _validate_order(known, name, path)
        yield from _validate_ratio(known, path / "maxLimitRequestRatio", name)
        request, standard = known.get("defaultRequest"), known.get("default")
        if request is None or standard is None or is_overcommit_allowed(name):
            continue
        if request != standard:
            yield (path / "defaultRequest")[name].invalid(
                str(request),
                f"default value {standard} must equal to defaultRequest value {request} in {name}",
            )


def _parsed(amounts: Amounts | None) -> dict[str, Quantity]:
    return {name: quantity.parse(amount) for name, amount in (amounts or {}).items()}


_ORDER: Final = (
    # lower, higher, whose path, whose value is shown, words
    ("min", "max", "min", "min", "min value {} is greater than max value {}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", "min", "min value {} is greater than default value {}"),
    ("default", "max", "default", "max", "default value {} is greater than max value {}"),
)


def _validate_order(known: Mapping[str, Quantity], name: str, path: Field) -> Iterator[FieldError]:
    for lower, higher, at, shown, words in _ORDER:
        low, high = known.get(lower), known.get(higher)
        if low is not None and high is not None and low > high:
            yield (path / at)[name].invalid(str(known[shown]), words.format(low, high))


def _validate_ratio(known: Mapping[str, Quantity], path: Field, name: str) -> Iterator[FieldError]:
    ratio, low, high = (known.get(key) for key in ("maxLimitRequestRatio", "min", "max"))
    if ratio is None:
        return
    if ratio < _ONE:
        yield path[name].invalid(str(ratio), f"ratio {ratio} is less than 1")
    if low is None or high is None:
        return
    limit = _ratio(high, low, ratio)
    fine = all(amount.value() < _MILLI_MAX for amount in (ratio, low, high))
    if (ratio.milli_value() / 1000 if fine else ratio.value()) > limit:
        yield path[name].invalid(
            str(ratio), f"ratio {ratio} is greater than max/min = {limit:f}".replace("inf", "+Inf")
        )


def _ratio(high: Quantity, low: Quantity, ratio: Quantity) -> float:
    """Return how many times the minimum goes into the maximum, as floats divide."""
    fine = all(amount.value() < _MILLI_MAX for amount in (ratio, low, high))
    above, below = (high.milli_value(), low.milli_value()) if fine else (high.value(), low.value())
    if below:
        return above / below
    return float("inf") if above > 0 else float("nan")


def cells(limit_range: Obj) -> Sequence[Any]:
    """Return name and time of creation; upstream has no columns of its own for this kind."""
    metadata = limit_range["metadata"]
    return metadata["name"], metadata.get("creationTimestamp")


LIMITRANGES = Resource(
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    schema="io.k8s.api.core.v1.LimitRange",
    columns=(NAME, Column("Created At", "date")),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    validate=validate,
    metadata_checks=("create",),
    allow_create_on_update=True,
)
