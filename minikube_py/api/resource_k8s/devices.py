"""The devices of a resource slice: what each is, what it has, what it draws on and where it is."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names, quantity
from minikube_py.api.core.pod_validation_scheduling import validate_node_selector
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource_k8s import requests

DEVICES_MAX: Final = 128
ADVANCED_DEVICES_MAX: Final = 64
"""Devices of a slice in which some have taints or draw on counters."""
ATTRIBUTES_MAX: Final = 32
"""Attributes and capacities of one device together."""
TEXT_MAX: Final = 64
TAINTS_MAX: Final = 16
CONSUMPTIONS_MAX: Final = 2
COUNTERS_MAX: Final = 32
COUNTER_SETS_MAX: Final = 8
BINDING_MAX: Final = 4
CHOICES_MAX: Final = 10
KINDS: Final = ("bool", "int", "string", "version")
_PLACES: Final = ("nodeName", "nodeSelector", "allNodes")
_ONE_PLACE: Final = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
    "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
)
_NO_PLACE: Final = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set "
    "to true in the ResourceSlice spec"
)
_NUMBER, _PRE = r"(0|[1-9]\d*)", r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def validate_pool_name(name: str, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the name of a pool: subdomains with slashes between."""
    if not name:
        yield field.required()
        return
    if len(name) > names.SUBDOMAIN_MAX:
        yield field.too_long(names.SUBDOMAIN_MAX)
    for part in name.split("/"):
        yield from (field.invalid(part, text) for text in names.dns1123_subdomain(part))


def validate_devices(spec: Obj, old: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the devices of a slice's spec; `old` is {} on create."""
    devices: Sequence[Obj] = spec.get("devices") or ()
    advanced = any(one.get("taints") or one.get("consumesCounters") for one in devices)
    known = {one.get("name", ""): one for one in old.get("devices") or ()}
    yield from requests.validate_set(
        devices,
        ADVANCED_DEVICES_MAX if advanced else DEVICES_MAX,
        field,
        lambda one, place: _validate_device(spec, one, known.get(one.get("name", "")), place),
    )


def validate_counter_sets(sets: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the counters that devices of a slice share."""
    yield from requests.validate_set(sets, COUNTER_SETS_MAX, field, _validate_counter_set)


def _validate_counter_set(one: Obj, field: Field) -> Iterator[FieldError]:
    if not one.get("name"):
        yield (field / "name").required()
    else:
        yield from requests.validate_label(one["name"], field / "name")
    yield from _validate_counters(one.get("counters") or {}, field / "counters")


def _validate_counters(counters: Obj, field: Field) -> Iterator[FieldError]:
    if not counters:
        yield field.required()
    elif len(counters) > COUNTERS_MAX:
        yield field.too_many(len(counters), COUNTERS_MAX)
    else:
        for name in counters:
            yield from requests.validate_label(name, field)


def _validate_device(spec: Obj, device: Obj, old: Obj | None, field: Field) -> Iterator[FieldError]:
    yield from requests.validate_label(device.get("name", ""), field / "name")
    attributes: Obj = device.get("attributes") or {}
    capacity: Obj = device.get("capacity") or {}
    total = len(attributes) + len(capacity)
    if total > ATTRIBUTES_MAX:
        yield field.invalid(
            total,
            f"the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}",
        )
    yield from _validate_map(attributes, field / "attributes", _validate_attribute)
    if old is None or (old.get("capacity") or {}) != capacity:
        check = _validate_shared if device.get("allowMultipleAllocations") else _validate_single
        yield from _validate_map(capacity, field / "capacity", check)
    if old is None or (old.get("taints") or ()) != (device.get("taints") or ()):
        taints = device.get("taints") or ()
        yield from requests.validate_list(taints, TAINTS_MAX, field / "taints", _validate_taint)
    yield from requests.validate_set(
        device.get("consumesCounters") or (),
        CONSUMPTIONS_MAX,
        field / "consumesCounters",
        _validate_consumption,
        lambda one: one.get("counterSet", ""),
    )
    yield from _validate_place(spec, device, field)
    yield from validate_binding(device, field)


def _validate_map(
    values: Mapping[str, Any], field: Field, check: Callable[[Any, Field], Iterator[FieldError]]
) -> Iterator[FieldError]:
    for name, value in values.items():
        yield from requests.validate_qualified(name, field)
        yield from check(value, field[name])


def _validate_attribute(attribute: Obj, field: Field) -> Iterator[FieldError]:
    given = [kind for kind in KINDS if attribute.get(kind) is not None]
    text, version = attribute.get("string"), attribute.get("version")
    if text is not None and len(text.encode()) > TEXT_MAX:
        yield (field / "string").too_long(TEXT_MAX)
    if version is not None:
        if not _SEMVER.fullmatch(version):
            yield (field / "version").invalid(
                version, "must be a string compatible with semver.org spec 2.0.0"
            )
        if len(version) > TEXT_MAX:
            yield (field / "version").too_long(TEXT_MAX)
    if len(given) != 1:
        yield field.invalid(
            _shown(attribute) if given else "", "exactly one value must be specified"
        )


def _shown(attribute: Obj) -> dict[str, Any]:
    names_in_go = ("int", "bool", "string", "version")
    return {f"{kind.capitalize()}Value": attribute.get(kind) for kind in names_in_go}


def _validate_single(capacity: Obj, field: Field) -> Iterator[FieldError]:
    if capacity.get("requestPolicy") is not None:
        yield (field / "requestPolicy").forbidden("allowMultipleAllocations must be true")


def _validate_shared(capacity: Obj, field: Field) -> Iterator[FieldError]:
    policy, field = capacity.get("requestPolicy"), field / "requestPolicy"
    if policy is None:
        return
    choices, span = policy.get("validValues") or (), policy.get("validRange")
    usual = policy.get("default")
    if choices and span is not None:
        yield field.forbidden(
            'exactly one policy can be specified, cannot specify "validValues" and "validRange" '
            "at the same time"
        )
    elif choices or span is not None:
        key = "validValues" if choices else "validRange"
        if usual is None:
            yield (field / "default").required(f"required when {key} is defined")
        elif choices:
            yield from _validate_choices(usual, capacity["value"], choices, field / key)
        else:
            yield from _validate_range(usual, capacity["value"], span, field / key)


def _validate_choices(
    usual: str, total: str, choices: Sequence[str], field: Field
) -> Iterator[FieldError]:
    amounts, limit = [quantity.parse(choice) for choice in choices], quantity.parse(total)
    for index in range(1, len(choices)):
        if amounts[index - 1] > amounts[index]:
            yield field[index].invalid(choices[index], "values must be sorted in ascending order")

    def check(choice: str, place: Field) -> Iterator[FieldError]:
        if quantity.parse(choice) > limit:
            yield place.invalid(choice, f"option is larger than capacity value: {total}")

    yield from requests.validate_set(choices, CHOICES_MAX, field, check)
    if quantity.parse(usual) not in amounts:
        yield field.invalid(usual, "default value is not valid according to the requestPolicy")


def _validate_range(usual: str, total: str, span: Obj, field: Field) -> Iterator[FieldError]:
    low, step = span.get("min"), span.get("step")
    if low is None:
        yield (field / "min").required("required when validRange is defined")
        return
    if quantity.parse(low) > quantity.parse(total):
        yield (field / "min").invalid(low, f"min is larger than capacity value: {total}")
    if quantity.parse(usual) < quantity.parse(low):
        yield (field / "default").invalid(usual, f"default is less than min: {low}")
    yield from _validate_highest(usual, total, span, field)
    if step is not None:
        yield from _validate_step(step, low, total, (usual, span.get("max")), field / "step")


def _validate_highest(usual: str, total: str, span: Obj, field: Field) -> Iterator[FieldError]:
    low, high = span["min"], span.get("max")
    if high is None:
        return
    most = quantity.parse(high)
    if quantity.parse(low) > most:
        yield (field / "max").invalid(low, f"min is larger than max: {high}")
    if most > quantity.parse(total):
        yield (field / "max").invalid(high, f"max is larger than capacity value: {total}")
    if quantity.parse(usual) > most:
        yield (field / "default").invalid(usual, f"default is more than max: {high}")


def _validate_step(
    step: str, low: str, total: str, values: Sequence[str | None], field: Field
) -> Iterator[FieldError]:
    width, least = quantity.parse(step), quantity.parse(low)
    if width <= quantity.ZERO:
        yield field.invalid(step, "must be greater than zero")
        return
    if least + width > quantity.parse(total):
        yield field.invalid(
            step, f"one step {least + width} is larger than capacity value: {total}"
        )
    for value in values:
        if value is None:
            continue
        if (quantity.parse(value).value() - least.value()) % (width.value() or 1):
            yield field.invalid(
                value, f"value is not a multiple of a given step ({step}) from ({low})"
            )


def _validate_taint(taint: Obj, field: Field) -> Iterator[FieldError]:
    yield from requests.validate_label_key(taint.get("key", ""), field / "key")
    value, effect = taint.get("value", ""), taint.get("effect", "")
    yield from ((field / "value").invalid(value, text) for text in names.label_value(value))
    if not effect:
        yield (field / "effect").required()
    elif effect not in requests.EFFECTS:
        yield (field / "effect").unsupported(effect, requests.EFFECTS)


def _validate_consumption(one: Obj, field: Field) -> Iterator[FieldError]:
    if not one.get("counterSet"):
        yield (field / "counterSet").required()
    else:
        yield from requests.validate_label(one["counterSet"], field / "counterSet")
    yield from _validate_counters(one.get("counters") or {}, field / "counters")


def _validate_place(spec: Obj, device: Obj, field: Field) -> Iterator[FieldError]:
    if not spec.get("perDeviceNodeSelection"):
        if any(device.get(key) is not None for key in _PLACES):
            yield field.invalid(None, _NO_PLACE)
        return
    yield from validate_node_name(device, field, "must not be empty")
    if device.get("nodeSelector") is not None:
        yield from validate_node_selector(device["nodeSelector"], field / "nodeSelector")
    yield from validate_flag(device, "allNodes", field)
    given = places(device, _PLACES)
    if not given:
        yield field.required(_ONE_PLACE)
    elif len(given) > 1:
        yield field.invalid(shown_places(given), _ONE_PLACE)


def places(place: Obj, keys: Sequence[str]) -> Sequence[str]:
    """Return which of the ways to say where devices are was used."""
    return [key for key in keys if place.get(key) not in (None, "", False)]


def shown_places(given: Sequence[str]) -> str:
    """Return the ways as messages show them."""
    return f"{{{', '.join(f'`{key}`' for key in given)}}}"


def validate_node_name(place: Obj, field: Field, empty: str) -> Iterator[FieldError]:
    """Report a name that no node has; `empty` is told of an empty one."""
    name = place.get("nodeName")
    if name is None:
        return
    if not name:
        yield (field / "nodeName").invalid(name, empty)
    for text in names.dns1123_subdomain(name) if name else ():
        yield (field / "nodeName").invalid(name, text)


def validate_flag(place: Obj, key: str, field: Field) -> Iterator[FieldError]:
    """Report a switch that is off, which is not what leaving it out means."""
    if place.get(key) is False:
        yield (field / key).invalid(value=False, detail="must be either unset or set to true")


def validate_binding(device: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the conditions that a pod waits for before it is bound."""
    wanted: Sequence[str] = get(device, "bindingConditions") or ()
    failures: Sequence[str] = get(device, "bindingFailureConditions") or ()
    good, bad = field / "bindingConditions", field / "bindingFailureConditions"
    yield from requests.validate_list(wanted, BINDING_MAX, good, requests.validate_label_key)
    yield from requests.validate_list(failures, BINDING_MAX, bad, requests.validate_label_key)
    yield from (good[i].duplicate(one) for i, one in enumerate(wanted) if one in wanted[:i])
    for index, one in enumerate(failures):
        if one in failures[:index]:
            yield bad[index].duplicate(one)
        if one in wanted:
            yield bad[index].invalid(
                one, "bindingFailureConditions must not overlap with bindingConditions"
            )
    if failures and not wanted:
        yield good.invalid(None, "bindingConditions are required to use bindingFailureConditions")
    if wanted and not failures:
        yield bad.invalid(None, "bindingFailureConditions are required to use bindingConditions")
