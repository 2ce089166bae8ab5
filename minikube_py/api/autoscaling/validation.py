"""What a horizontal pod autoscaler may say."""

from collections.abc import Iterator, Sequence

from minikube_py.api import names, quantity, strategy
from minikube_py.api.core.resources import validate_container_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get

SPEC = Field("spec")
WINDOW_SECONDS_MAX = 3600
PERIOD_SECONDS_MAX = 1800
SELECT_POLICIES = frozenset({"Max", "Min", "Disabled"})
POLICY_TYPES = frozenset({"Pods", "Percent"})
TARGET_TYPES = frozenset({"Utilization", "Value", "AverageValue"})
SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
"""Types of metrics and the field that holds each, in the order of upstream's checks."""
_VALUE_OR_UTILIZATION = "must set either a target raw value or a target utilization"
_NOT_BOTH = "may not set both a target raw value and a target utilization"


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated autoscaler (autoscaling/v2)."""
    spec = new["spec"]
    least, most = spec.get("minReplicas"), spec["maxReplicas"]
    lowest = 0 if old is not None and get(old, "spec.minReplicas") == 0 else 1
    if least is not None and least < lowest:
        yield (SPEC / "minReplicas").invalid(least, f"must be greater than or equal to {lowest}")
    if most == 0:
        yield (SPEC / "maxReplicas").required("must be set and greater than 0")
    elif most < 0:
        yield (SPEC / "maxReplicas").invalid(most, "must be greater than 0")
    if least is not None and most < least:
        yield (SPEC / "maxReplicas").invalid(most, "must be greater than or equal to `minReplicas`")
    target = spec["scaleTargetRef"]
    yield from _validate_reference(target, SPEC / "scaleTargetRef")
    if old is None or not _same_kind(target, old["spec"]["scaleTargetRef"]):
        yield from _validate_target_version(target, SPEC / "scaleTargetRef" / "apiVersion")
    yield from _validate_metrics(spec.get("metrics") or (), least, SPEC / "metrics", old)
    behavior: Obj = spec.get("behavior") or {}
    for key in ("scaleUp", "scaleDown"):
        if behavior.get(key) is not None:
            yield from _validate_rules(behavior[key], SPEC / "behavior" / key)


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    yield from strategy.non_negative(
        new.get("status") or {}, Field("status"), "currentReplicas", "desiredReplicas"
    )


def _validate_reference(reference: Obj, field: Field) -> Iterator[FieldError]:
    for key in ("kind", "name"):
        value = reference.get(key, "")
        if not value:
            yield (field / key).required()
        yield from ((field / key).invalid(value, text) for text in names.path_segment(value))


def _same_kind(new: Obj, old: Obj) -> bool:
    return all(new.get(key, "") == old.get(key, "") for key in ("apiVersion", "kind"))


def _validate_version(version: str, field: Field) -> Iterator[FieldError]:
    if version.count("/") > 1:
        yield field.invalid(version, f"unexpected GroupVersion string: {version}")


def _validate_target_version(target: Obj, field: Field) -> Iterator[FieldError]:
    """Report an odd version; of what scales, replication controllers alone have no group."""
    version = target.get("apiVersion", "")
    yield from _validate_version(version, field)
    grouped = "/" in version and not version.startswith("/")
    if not grouped and target.get("kind") != "ReplicationController":
        yield field.invalid(version, "apiVersion must specify API group")


def _describes_oddly(metric: Obj) -> bool:
    version = get(metric, "object.describedObject.apiVersion") or ""
    return metric.get("type") == "Object" and any(_validate_version(version, SPEC))


def _validate_rules(rules: Obj, field: Field) -> Iterator[FieldError]:
    window, select = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    place = field / "stabilizationWindowSeconds"
    if window is not None and window < 0:
        yield place.invalid(window, "must be greater than or equal to zero")
    if window is not None and window > WINDOW_SECONDS_MAX:
        yield place.invalid(window, f"must be less than or equal to {WINDOW_SECONDS_MAX}")
    if select is not None and select not in SELECT_POLICIES:
        yield (field / "selectPolicy").unsupported(select, SELECT_POLICIES)
    policies = rules.get("policies") or ()
    if not policies:
        yield (field / "policies").required("must specify at least one Policy")
    for index, policy in enumerate(policies):
        yield from _validate_policy(policy, (field / "policies")[index])
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity.parse(tolerance) < quantity.ZERO:
        yield (field / "tolerance").invalid(tolerance, "must be greater than or equal to 0")


def _validate_policy(policy: Obj, field: Field) -> Iterator[FieldError]:
    kind, period = policy.get("type", ""), policy.get("periodSeconds", 0)
    if kind not in POLICY_TYPES:
        yield (field / "type").unsupported(kind, POLICY_TYPES)
    if policy.get("value", 0) <= 0:
        yield (field / "value").invalid(policy.get("value", 0), "must be greater than zero")
    if period <= 0:
        yield (field / "periodSeconds").invalid(period, "must be greater than zero")
    if period > PERIOD_SECONDS_MAX:
        yield (field / "periodSeconds").invalid(
            period, f"must be less than or equal to {PERIOD_SECONDS_MAX}"
        )


def _validate_metrics(
    metrics: Sequence[Obj], least: int | None, field: Field, old: Obj | None
) -> Iterator[FieldError]:
    odd_before = old is not None and any(map(_describes_oddly, get(old, "spec.metrics") or ()))
    for index, metric in enumerate(metrics):
        yield from _validate_metric(metric, field[index], odd_versions=odd_before)
    if least == 0 and not any(metric.get("type") in {"Object", "External"} for metric in metrics):
        yield field.forbidden(
            "must specify at least one Object or External metric to support scaling to zero "
            "replicas"
        )


def _validate_metric(metric: Obj, field: Field, *, odd_versions: bool) -> Iterator[FieldError]:
    kind = metric.get("type", "")
    expected = SOURCES.get(kind)
    if not kind:
        yield (field / "type").required("must specify a metric source type")
    if expected is None:
        yield (field / "type").unsupported(kind, frozenset(SOURCES))
    present = [key for key in SOURCES.values() if metric.get(key) is not None]
    if present:
        yield from _validate_source(
            present[0], metric[present[0]], field / present[0], odd_versions=odd_versions
        )
    if expected is None:
        # Upstream tells of it twice.
        yield (field / "type").unsupported(kind, frozenset(SOURCES))
    elif expected not in present:
        yield (field / expected).required("must populate information for the given metric source")
    for key in present if len(present) > 1 else ():
        if key != expected:
            yield (field / key).forbidden("must populate the given metric source only")


def _validate_source(
    key: str, source: Obj, field: Field, *, odd_versions: bool
) -> Iterator[FieldError]:
    target: Obj = source.get("target") or {}
    if key == "object":
        described, place = source.get("describedObject") or {}, field / "describedObject"
        yield from _validate_reference(described, place)
        if not odd_versions:
            yield from _validate_version(described.get("apiVersion", ""), place / "apiVersion")
    if key in {"object", "external", "pods"}:
        yield from _validate_identifier(source.get("metric") or {}, field / "metric")
    else:
        yield from _validate_resource(key, source, field)
    yield from _validate_target(target, field / "target")
    yield from _TARGET_CHECKS[key](target, field / "target")


def _validate_identifier(metric: Obj, field: Field) -> Iterator[FieldError]:
    name = metric.get("name", "")
    if not name:
        yield (field / "name").required("must specify a metric name")
    yield from ((field / "name").invalid(name, text) for text in names.path_segment(name))


def _validate_resource(key: str, source: Obj, field: Field) -> Iterator[FieldError]:
    name = source.get("name", "")
    if not name:
        yield (field / "name").required("must specify a resource name")
    if key == "resource":
        return
    if name:
        yield from validate_container_name(name, field / "name")
    container = source.get("container", "")
    if not container:
        yield (field / "container").required("must specify a container")
    else:
        for text in names.dns1123_label(container):
            yield (field / "container").invalid(container, text)


def _validate_target(target: Obj, field: Field) -> Iterator[FieldError]:
    kind = target.get("type", "")
    if not kind:
        yield (field / "type").required("must specify a metric target type")
    if kind not in TARGET_TYPES:
        yield (field / "type").invalid(kind, "must be either Utilization, Value, or AverageValue")
    for key in ("value", "averageValue"):
        amount = target.get(key)
        if amount is not None and quantity.parse(amount) <= quantity.ZERO:
            yield (field / key).invalid(amount, "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        yield (field / "averageUtilization").invalid(utilization, "must be greater than 0")


def _object_target(target: Obj, field: Field) -> Iterator[FieldError]:
    if target.get("value") is None and target.get("averageValue") is None:
        yield (field / "averageValue").required("must set either a target value or averageValue")


def _external_target(target: Obj, field: Field) -> Iterator[FieldError]:
    total, average = target.get("value"), target.get("averageValue")
    if total is None and average is None:
        yield (field / "averageValue").required(
            "must set either a target value for metric or a per-pod target"
        )
    if total is not None and average is not None:
        yield (field / "value").forbidden(
            "may not set both a target value for metric and a per-pod target"
        )


def _pods_target(target: Obj, field: Field) -> Iterator[FieldError]:
    if target.get("averageValue") is None:
        yield (field / "averageValue").required("must specify a positive target averageValue")


def _resource_target(target: Obj, field: Field) -> Iterator[FieldError]:
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        yield (field / "averageUtilization").required(_VALUE_OR_UTILIZATION)
    if utilization is not None and average is not None:
        yield (field / "averageValue").forbidden(_NOT_BOTH)


_TARGET_CHECKS = {
    "object": _object_target,
    "external": _external_target,
    "pods": _pods_target,
    "resource": _resource_target,
    "containerResource": _resource_target,
}
