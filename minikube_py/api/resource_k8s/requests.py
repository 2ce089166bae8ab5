"""Requests for devices: what claims, templates of claims and device classes have in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from minikube_py.api import names
from minikube_py.api.core.volume_sources import validate_csi_driver_name
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
_ONE_ATTRIBUTE = (
    'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are '
    "set"
)
PARAMETERS_BYTES_MAX = 10 * 1024
EFFECTS = frozenset({"NoSchedule", "NoExecute", "None"})
_OPERATORS = ("Equal", "Exists")
Check = Callable[[Any, Field], Iterator[FieldError]]
_ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"


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
    requests: Sequence[Obj] = devices.get("requests") or ()
    known = request_names(requests)
    yield from validate_set(requests, REQUESTS_MAX, field / "requests", _validate_request)
    yield from validate_list(
        devices.get("constraints") or (),
        CONSTRAINTS_MAX,
        field / "constraints",
        lambda constraint, place: _validate_constraint(constraint, known, place),
    )
    yield from validate_list(
        devices.get("config") or (),
        CONFIGS_MAX,
        field / "config",
        lambda config, place: validate_claim_config(config, known, place),
    )


def request_names(requests: Sequence[Obj]) -> frozenset[str]:
    """Return the names that constraints may use: of requests and, behind a slash, alternatives."""
    found: set[str] = set()
    for request in requests:
        name = request.get("name", "")
        found.add(name)
        found.update(f"{name}/{sub.get('name', '')}" for sub in request.get("firstAvailable") or ())
    return frozenset(found)


def validate_list(
    items: Sequence[Any], limit: int, field: Field, check: Check
) -> Iterator[FieldError]:
    """Report what is wrong with each item, or else that there are too many."""
    if len(items) > limit:
        yield field.too_many(len(items), limit)
        return
    for index, item in enumerate(items):
        yield from check(item, field[index])


def _name_of(item: Any) -> Any:
    return item if isinstance(item, str) else item.get("name", "")


def validate_set(
    items: Sequence[Any],
    limit: int,
    field: Field,
    check: Check,
    key: Callable[[Any], Any] = _name_of,
) -> Iterator[FieldError]:
    """Report what is wrong with each item and then which repeat, or else that they are too many."""
    yield from validate_list(items, limit, field, check)
    if len(items) > limit:
        return
    seen = []
    for index, item in enumerate(items):
        if key(item) in seen:
            yield field[index].duplicate(key(item))
        seen.append(key(item))


def validate_label(name: str, field: Field) -> Iterator[FieldError]:
    """Report a name that is no DNS label."""
    yield from (field.invalid(name, text) for text in names.dns1123_label(name))


def validate_label_key(name: str, field: Field) -> Iterator[FieldError]:
    """Report a name that could be no key of a label."""
    yield from (field.invalid(name, text) for text in names.qualified_name(name))


def _validate_request(request: Obj, field: Field) -> Iterator[FieldError]:
    yield from validate_label(request.get("name", ""), field / "name")
    first, exactly = request.get("firstAvailable") or (), request.get("exactly")
    if not first and exactly is None:
        yield field.required(_ONE_KIND)
    elif first and exactly is not None:
        yield field.invalid(None, f"{_ONE_KIND}, but multiple fields are set")
    elif first:
        place = field / "firstAvailable"
        yield from validate_set(first, SUBREQUESTS_MAX, place, _validate_subrequest)
    elif exactly is not None:
        yield from _validate_wanted(exactly, field / "exactly")


def _validate_subrequest(request: Obj, field: Field) -> Iterator[FieldError]:
    yield from validate_label(request.get("name", ""), field / "name")
    yield from _validate_wanted(request, field)


def _validate_wanted(request: Obj, field: Field) -> Iterator[FieldError]:
    """Check class, selectors, number of devices and tolerations."""
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
    yield from validate_tolerations(request.get("tolerations") or (), field / "tolerations")


def validate_tolerations(tolerations: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the taints of devices that a request bears."""
    for index, toleration in enumerate(tolerations):
        yield from _validate_toleration(toleration, field[index])


def _validate_toleration(toleration: Obj, field: Field) -> Iterator[FieldError]:
    value, operator = toleration.get("value", ""), toleration.get("operator", "")
    if toleration.get("key"):
        yield from validate_label_key(toleration["key"], field / "key")
    if operator == "Exists":
        if value:
            yield (field / "value").invalid(value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        yield from ((field / "value").invalid(value, text) for text in names.label_value(value))
    elif not operator:
        yield (field / "operator").required()
    else:
        yield (field / "operator").unsupported(operator, _OPERATORS)
    effect = toleration.get("effect", "")
    if effect and effect not in EFFECTS:
        yield (field / "effect").unsupported(effect, EFFECTS)


def validate_selectors(selectors: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report selectors that are too many, or that select nothing that could be a device."""
    yield from validate_list(selectors, SELECTORS_MAX, field, _validate_selector)


def _validate_selector(selector: Obj, field: Field) -> Iterator[FieldError]:
    if selector.get("cel") is None:
        yield (field / "cel").required()
        return
    expression = selector["cel"].get("expression", "")
    if not expression:
        yield (field / "cel" / "expression").required()
    elif len(expression.encode()) > EXPRESSION_BYTES_MAX:
        yield (field / "cel" / "expression").too_long(EXPRESSION_BYTES_MAX)
    else:
        yield from _validate_expression(expression, field / "cel" / "expression")


def _validate_expression(expression: str, field: Field) -> Iterator[FieldError]:
    from minikube_py.api.resource_k8s import device_selectors  # noqa: PLC0415 -- nodes need no CEL

    try:
        selector = device_selectors.compiled(expression)
    except device_selectors.DeviceSelectorError as error:
        yield field.invalid(expression, str(error))
        return
    if selector.cost > device_selectors.COST_MAX:
        yield field.forbidden("too complex, exceeds cost limit")


def validate_references(
    references: Sequence[str], known: frozenset[str], field: Field
) -> Iterator[FieldError]:
    """Report names that are those of no request."""
    yield from validate_set(
        references,
        REQUESTS_MAX,
        field,
        lambda reference, place: validate_reference(reference, known, place),
    )


def validate_reference(reference: str, known: frozenset[str], field: Field) -> Iterator[FieldError]:
    """Report a name that is that of no request."""
    segments = reference.split("/")
    if len(segments) <= 2:
        for segment in segments:
            yield from validate_label(segment, field)
    if reference not in known:
        yield field.invalid(reference, _REFERENCE)


def _validate_constraint(
    constraint: Obj, known: frozenset[str], field: Field
) -> Iterator[FieldError]:
    yield from validate_references(constraint.get("requests") or (), known, field / "requests")
    for key in ("matchAttribute", "distinctAttribute"):
        if constraint.get(key) is not None:
            yield from _validate_attribute(constraint[key], field / key)
            return
    yield field.required(_ONE_ATTRIBUTE)


def _validate_attribute(name: str, field: Field) -> Iterator[FieldError]:
    """Check a name like `example.com/model`."""
    yield from validate_qualified(name, field)
    if "/" not in name:
        yield field.invalid(
            name, "a fully qualified name must be a domain and a name separated by a slash"
        )


ID_MAX = 32
"""Characters of the name of an attribute or a capacity, its domain aside."""


def validate_qualified(name: str, field: Field) -> Iterator[FieldError]:
    """Report the name of an attribute that is no identifier, or has no good domain before it."""
    domain, slash, own = name.rpartition("/")
    if name.count("/") > 1:
        yield field.invalid(name, "must not contain more than one slash")
        return
    if slash:
        if not domain:
            yield field.invalid("", "the domain must not be empty")
        else:
            yield from validate_csi_driver_name(domain, field)
        if not own:
            yield field.invalid("", "the name must not be empty")
            return
    if len(own) > ID_MAX:
        yield field.too_long(ID_MAX)
    yield from (field.invalid(own, text) for text in names.c_identifier(own))


def validate_driver(name: str, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the name of a driver; an absent one is told of once."""
    if not name:
        yield field.required()
    else:
        yield from validate_csi_driver_name(name, field)


def validate_claim_config(config: Obj, known: frozenset[str], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with parameters for the devices of some requests."""
    yield from validate_references(config.get("requests") or (), known, field / "requests")
    yield from validate_config(config, field)


def validate_config(config: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with parameters for a driver."""
    opaque, field = config.get("opaque"), field / "opaque"
    if opaque is None:
        yield field.required()
        return
    yield from validate_driver(opaque.get("driver", ""), field / "driver")
    yield from validate_raw(opaque.get("parameters"), field / "parameters", PARAMETERS_BYTES_MAX)


def validate_raw(value: Any, field: Field, limit: int) -> Iterator[FieldError]:
    """Report what is no JSON object, or too long a one."""
    if value is None:
        yield field.required()
    elif len(orjson.dumps(value)) > limit:
        yield field.too_long(limit)
    elif not isinstance(value, Mapping):
        yield field.invalid("<value omitted>", "must be a valid JSON object")


ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_NO_ADMIN = (
    f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
)


def validate_admin_access(
    requests: Sequence[Obj], labels: Mapping[str, str], field: Field
) -> Iterator[FieldError]:
    """Report requests for admin access in a namespace without the label that allows it."""
    if labels.get(ADMIN_LABEL) == "true":
        return
    for index, request in enumerate(requests):
        if (request.get("exactly") or {}).get("adminAccess"):
            yield (field[index] / "adminAccess").forbidden(_NO_ADMIN)
            return


def validate_admin_results(
    results: Sequence[Obj], known: Sequence[Obj], labels: Mapping[str, str], field: Field
) -> Iterator[FieldError]:
    """Report devices allocated for admin access likewise, unless some were before."""
    if labels.get(ADMIN_LABEL) == "true" or any(one.get("adminAccess") for one in known):
        return
    for index, result in enumerate(results):
        if result.get("adminAccess"):
            yield (field[index] / "adminAccess").forbidden(_NO_ADMIN)
            return
