"""Limit ranges: defaults for containers of a namespace, and bounds for what it may ask for.

The texts are those of upstream's `plugin/pkg/admission/limitranger`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.core.pod_resources import aggregate
from minikube_py.api.core.quota import amounts
from minikube_py.api.core.quota_pods import pod_level
from minikube_py.api.object import Obj, annotations_of, evolve, get, is_deleting
from minikube_py.api.quantity import ZERO, Quantity
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.errors import forbidden, joined
from minikube_py.server.attributes import Admission, AdmissionPlugin

ANNOTATION = "kubernetes.io/limit-ranger"
Amounts = Mapping[str, Quantity]


class LimitRanger(AdmissionPlugin):
    """Applies the limit ranges of a namespace to its pods and claims."""

    name = "LimitRanger"
    resources = (PODS, PERSISTENTVOLUMECLAIMS)

    def __init__(self, limit_ranges: Lister) -> None:
        self._limit_ranges = limit_ranges

    async def admit(self, admission: Admission) -> Obj | None:
        """Fill in the default requests and limits of a new pod's containers."""
        pod = admission.obj
        if pod is None or admission.resource is not PODS or not _is_looked_at(admission):
            return pod
        for limit_range in self._ranges(admission.namespace):
            pod = with_defaults(pod, limit_range)
        return pod

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Refuse what is out of bounds; pods when they are made or resized, claims at any time."""
        obj = admission.obj
        check = CHECKS.get(admission.resource)
        if obj is None or check is None or not _is_looked_at(admission):
            return ()
        for limit_range in self._ranges(admission.namespace):
            errors = [text for limit in _limits(limit_range) for text in check(limit, obj)]
            if errors:
                raise forbidden(admission, joined(errors))
        return ()

    def _ranges(self, namespace: str) -> list[Obj]:
        return [item.obj for item in self._limit_ranges.items(namespace)]


def _is_looked_at(admission: Admission) -> bool:
    """Tell whether a write may change what is asked for; what is being deleted may finish that."""
    if admission.operation not in ("CREATE", "UPDATE"):
        return False
    if admission.old is not None and is_deleting(admission.old):
        return False
    if admission.resource is PODS and admission.operation == "UPDATE":
        return admission.subresource == "resize"
    return not admission.subresource


def _limits(limit_range: Obj) -> Sequence[Obj]:
    return get(limit_range, "spec.limits") or ()


def with_defaults(pod: Obj, limit_range: Obj) -> Obj:
    """Return the pod with a limit range's defaults, and a note of what was set."""
    limits = [limit for limit in _limits(limit_range) if limit.get("type") == "Container"]
    defaults = {
        "limits": _merged(limits, "default"),
        "requests": _merged(limits, "defaultRequest"),
    }
    notes: list[str] = []
    spec = dict(pod["spec"])
    for group, word in (("containers", "container"), ("initContainers", "init container")):
        if spec.get(group):
            spec[group] = [_filled(c, defaults, word, notes) for c in spec[group]]
    if not notes:
        return pod
    note = f"LimitRanger plugin set: {'; '.join(notes)}"
    annotations = {**annotations_of(pod), ANNOTATION: note}
    return evolve({**pod, "spec": spec}, "metadata.annotations", annotations)


def _merged(limits: Sequence[Obj], field: str) -> dict[str, str]:
    return {name: amount for limit in limits for name, amount in (limit.get(field) or {}).items()}


def _filled(
    container: Obj, defaults: Mapping[str, Mapping[str, str]], word: str, notes: list[str]
) -> Obj:
    resources: dict[str, Any] = dict(container.get("resources") or {})
    for field, singular in (("requests", "request"), ("limits", "limit")):
        given = resources.get(field) or {}
        missing = {name: v for name, v in defaults[field].items() if name not in given}
        if missing:
            resources[field] = {**given, **missing}
            whose = f"{word} {container.get('name', '')}"
            notes.append(f"{', '.join(sorted(missing))} {singular} for {whose}")
    return {**container, "resources": resources}


def _check_pod(limit: Obj, pod: Obj) -> Iterator[str]:
    kind = limit.get("type", "")
    containers = [*(get(pod, "spec.containers") or ()), *(get(pod, "spec.initContainers") or ())]
    if kind == "Container":
        for container in containers:
            resources = container.get("resources") or {}
            yield from _bounds(
                limit, _amounts(resources, "requests"), _amounts(resources, "limits")
            )
    elif kind == "Pod":
        yield from _bounds(limit, _of_pod(pod, "requests"), _of_pod(pod, "limits"))


def _check_claim(limit: Obj, claim: Obj) -> Iterator[str]:
    if limit.get("type") != "PersistentVolumeClaim":
        return
    requests = _amounts(get(claim, "spec.resources") or {}, "requests")
    for name, bound in _amounts(limit, "min").items():
        yield from _minimum(("PersistentVolumeClaim", name, bound), requests, {})
    for name, bound in _amounts(limit, "max").items():
        head = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
        if name not in requests:
            yield f"{head}.  No request is specified"
        elif requests[name] > bound:
            yield f"{head}, but request is {requests[name]}"


CHECKS: Mapping[object, Callable[[Obj, Obj], Iterator[str]]] = {
    PODS: _check_pod,
    PERSISTENTVOLUMECLAIMS: _check_claim,
}


def _bounds(limit: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = limit["type"]
    for name, bound in _amounts(limit, "min").items():
        yield from _minimum((kind, name, bound), requests, limits)
    for name, bound in _amounts(limit, "max").items():
        yield from _maximum((kind, name, bound), requests, limits)
    for name, bound in _amounts(limit, "maxLimitRequestRatio").items():
        yield from _ratio((kind, name, bound), requests, limits)


Bound = tuple[str, str, Quantity]
"""What is bounded (Container, Pod, ...), which resource, and the bound."""


def _minimum(bound: Bound, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind, name, least = bound
    head = f"minimum {name} usage per {kind} is {least}"
    if name not in requests:
        yield f"{head}.  No request is specified"
    elif requests[name] < least:
        yield f"{head}, but request is {requests[name]}"
    elif name in limits and limits[name] < least:
        yield f"{head}, but limit is {limits[name]}"


def _maximum(bound: Bound, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind, name, most = bound
    head = f"maximum {name} usage per {kind} is {most}"
    if name not in limits:
        yield f"{head}.  No limit is specified"
    elif limits[name] > most:
        yield f"{head}, but limit is {limits[name]}"
    elif name in requests and requests[name] > most:
        yield f"{head}, but request is {requests[name]}"


def _ratio(bound: Bound, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind, name, most = bound
    head = f"{name} max limit to request ratio per {kind} is {most}"
    if not requests.get(name, ZERO):
        yield f"{head}, but no request is specified or request is 0"
    elif not limits.get(name, ZERO):
        yield f"{head}, but no limit is specified or limit is 0"
    else:
        ratio = limits[name].nanos / requests[name].nanos
        if ratio * 1000 > most.milli_value():
            yield f"{head}, but provided ratio is {ratio:f}"


def _amounts(resources: Obj, field: str) -> dict[str, Quantity]:
    return amounts(resources.get(field))


def _of_pod(pod: Obj, field: str) -> dict[str, Quantity]:
    """Return what a pod asks for as a whole; what stands at pod level goes before."""
    return aggregate(pod["spec"], field) | pod_level(pod, field)
