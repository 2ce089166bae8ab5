"""Requests for devices: what claims, templates of claims and device classes have in common."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.strategy import changed, each, with_absent, with_empty

GROUP = "resource.k8s.io"
REQUESTS_MAX = SELECTORS_MAX = CONSTRAINTS_MAX = CONFIGS_MAX = 32
SUBREQUESTS_MAX = 8
EXPRESSION_BYTES_MAX = 10 * 1024
ALL, EXACT_COUNT = "All", "ExactCount"
_REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)
_ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"
_C_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def default_devices(devices: Obj) -> Obj:
    """Fill in how many devices each request wants."""
    return changed(devices, "requests", lambda requests: each(requests, _default_request))


def _default_request(request: Obj) -> Obj:
    request = changed(request, "exactly", _default_count)
    return changed(request, "firstAvailable", lambda subs: each(subs, _default_count))


def _default_count(request: Obj) -> Obj:
    request = with_empty(request, {"allocationMode": EXACT_COUNT})
    if request["allocationMode"] == EXACT_COUNT:
        request = with_empty(request, {"count": 1})
    return changed(
        request,
        "tolerations",
        lambda items: each(items, lambda item: with_absent(item, {"operator": "Equal"})),
    )


def validate_devices(devices: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the devices that a claim asks for."""
    requests = devices.get("requests") or ()
    yield from _validate_set(requests, REQUESTS_MAX, field / "requests", _validate_request)
    known = dict(_request_names(requests))
    constraints = devices.get("constraints") or ()
    if len(constraints) > CONSTRAINTS_MAX:
        yield (field / "constraints").too_many(len(constraints), CONSTRAINTS_MAX)
    for index, constraint in enumerate(constraints):
        yield from _validate_constraint(constraint, known, (field / "constraints")[index])
    configs = devices.get("config") or ()
    if len(configs) > CONFIGS_MAX:
        yield (field / "config").too_many(len(configs), CONFIGS_MAX)
    for index, config in enumerate(configs):
        place = (field / "config")[index]
        yield from _validate_references(config.get("requests") or (), known, place / "requests")
        yield from validate_config(config, place)


def _request_names(requests: Sequence[Obj]) -> Iterator[tuple[str, bool]]:
    """Yield the names that constraints may use, and whether each is one of a subrequest."""
    for request in requests:
        name = request.get("name", "")
        yield name, False
        for sub in request.get("firstAvailable") or ():
            yield f"{name}/{sub.get('name', '')}", True


def _validate_set(
    items: Sequence[Obj],
    limit: int,
    field: Field,
    check: Callable[[Obj, Field], Iterator[FieldError]],
) -> Iterator[FieldError]:
    """Report too many items, what is wrong with each, and names that repeat."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        yield from check(item, field[index])
        name = item.get("name", "")
        if name in seen:
            yield field[index].duplicate(name)
        seen.add(name)
    if len(items) > limit:
        yield field.too_many(len(items), limit)


def _validate_name(name: str, field: Field) -> Iterator[FieldError]:
    if not name:
        yield field.required()
    else:
        yield from (field.invalid(name, text) for text in names.dns1123_label(name))


def _validate_request(request: Obj, field: Field) -> Iterator[FieldError]:
    yield from _validate_name(request.get("name", ""), field / "name")
    first, exactly = request.get("firstAvailable") or (), request.get("exactly")
    if first:
        place = field / "firstAvailable"
        yield from _validate_set(first, SUBREQUESTS_MAX, place, _validate_subrequest)
    if exactly is not None:
        yield from _validate_wanted(exactly, field / "exactly")
    if not first and exactly is None:
        yield field.required(_ONE_KIND)
    elif first and exactly is not None:
        yield field.invalid(None, f"{_ONE_KIND}, but multiple fields are set")


def _validate_subrequest(request: Obj, field: Field) -> Iterator[FieldError]:
    yield from _validate_name(request.get("name", ""), field / "name")
    yield from _validate_wanted(request, field)


def _validate_wanted(request: Obj, field: Field) -> Iterator[FieldError]:
    """Check class, selectors and number of devices."""
    device_class = request.get("deviceClassName", "")
    if not device_class:
        yield (field / "deviceClassName").required()
    else:
        for text in names.dns1123_subdomain(device_class):
            yield (field / "deviceClassName").invalid(device_class, text)
    yield from validate_selectors(request.get("selectors") or (), field / "selectors")
    mode, count = request.get("allocationMode", ""), request.get("count") or 0
    if mode == ALL:
        if count:
            yield (field / "count").invalid(
                count, f"must not be specified when allocationMode is '{ALL}'"
            )
    elif mode == EXACT_COUNT:
        if count <= 0:
            yield (field / "count").invalid(count, "must be greater than zero")
    else:
        yield (field / "allocationMode").unsupported(mode, (ALL, EXACT_COUNT))


def validate_selectors(selectors: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report selectors that are too many or without an expression."""
    for index, selector in enumerate(selectors):
        expression = (selector.get("cel") or {}).get("expression")
        if selector.get("cel") is None:
            yield (field[index] / "cel").required()
        elif not expression:
            yield (field[index] / "cel" / "expression").required()
        elif len(expression.encode()) > EXPRESSION_BYTES_MAX:
            yield (field[index] / "cel" / "expression").too_long(EXPRESSION_BYTES_MAX)
    if len(selectors) > SELECTORS_MAX:
        yield field.too_many(len(selectors), SELECTORS_MAX)


def _validate_references(
    references: Sequence[str], known: Mapping[str, bool], field: Field
) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, reference in enumerate(references):
        if reference not in known:
            yield field[index].invalid(reference, _REFERENCE)
        if reference in seen:
            yield field[index].duplicate(reference)
        seen.add(reference)


def _validate_constraint(
    constraint: Obj, known: Mapping[str, bool], field: Field
) -> Iterator[FieldError]:
    yield from _validate_references(constraint.get("requests") or (), known, field / "requests")
    attribute = constraint.get("matchAttribute")
    if attribute is not None:
        yield from _validate_attribute(attribute, field / "matchAttribute")
    elif constraint.get("distinctAttribute") is None:
        yield (field / "matchAttribute").required()


def _validate_attribute(name: str, field: Field) -> Iterator[FieldError]:
    """Check a name like `example.com/model`."""
    if not name:
        yield field.required()
        return
    domain, slash, own = name.partition("/")
    if not slash or "/" in own:
        yield field.invalid(
            name, "a fully qualified name must be a domain and a name separated by a slash"
        )
        return
    if not domain:
        yield field.invalid(domain, "the domain must not be empty")
    yield from (field.invalid(domain, text) for text in names.dns1123_subdomain(domain))
    if not own:
        yield field.invalid(own, "the name must not be empty")
    elif not _C_NAME.fullmatch(own):
        yield from (field.invalid(own, text) for text in names.c_identifier(own))


def validate_driver(name: str, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the name of a driver."""
    if not name:
        yield field.required()
        return
    if len(name) > names.LABEL_MAX:
        yield field.too_long(names.LABEL_MAX)
    yield from (field.invalid(name, text) for text in names.dns1123_subdomain(name.lower()))


def validate_config(config: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with parameters for a driver."""
    opaque = config.get("opaque")
    if opaque is None:
        yield field.required("exactly one of `opaque` is required")
        return
    yield from validate_driver(opaque.get("driver", ""), field / "opaque" / "driver")
    parameters: Any = opaque.get("parameters")
    place = field / "opaque" / "parameters"
    if parameters is None:
        yield place.required()
    elif not isinstance(parameters, Mapping):
        yield place.invalid("<value omitted>", "must be a valid JSON object")
