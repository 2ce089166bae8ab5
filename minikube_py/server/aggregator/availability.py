"""Whether an aggregated API can be reached, as its APIService's condition says it: pure decisions.

Reasons and messages are those of upstream's `controllers/status`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minikube_py.api.apiregistration.apiservice import AVAILABLE, LOCAL
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.server.service_addresses import service_port


class Verdict(NamedTuple):
    """What the condition is to say."""

    status: str
    reason: str
    message: str


LOCAL_AVAILABLE = Verdict("True", LOCAL, "Local APIServices are always available")
PASSED = Verdict("True", "Passed", "all checks passed")


def failed(message: str) -> Verdict:
    """Return the verdict on a server that does not answer as it must."""
    return Verdict("False", "FailedDiscoveryCheck", message)


def unreachable(reference: Obj, service: Obj | None, slices: Sequence[Obj]) -> Verdict | None:
    """Return why a Service cannot be asked at all, None where it can.

    Only a Service of type ClusterIP has to have endpoints: of others we do not know them all.
    """
    namespace, name, port = reference["namespace"], reference["name"], get(reference, "port", 443)
    called = f'service/{name} in "{namespace}"'
    if service is None:
        return Verdict("False", "ServiceNotFound", f"{called} is not present")
    if get(service, "spec.type", "ClusterIP") != "ClusterIP":
        return None
    found = service_port(service, port)
    if found is None:
        return Verdict("False", "ServicePortError", f"{called} is not listening on port {port}")
    if not slices:
        message = f"cannot find endpointslices for {called}"
        return Verdict("False", "EndpointsNotFound", message)
    port_name = found.get("name") or ""
    if not any(_serves(endpoint_slice, port_name) for endpoint_slice in slices):
        message = f'endpointslices for {called} have no addresses with port name "{port_name}"'
        return Verdict("False", "MissingEndpoints", message)
    return None


def _serves(endpoint_slice: Obj, port_name: str) -> bool:
    endpoints: Sequence[Obj] = endpoint_slice.get("endpoints") or ()
    ports: Sequence[Obj] = endpoint_slice.get("ports") or ()
    return any(get(e, "conditions.ready", default=True) is not False for e in endpoints) and any(
        (port.get("name") or "") == port_name and port.get("port") is not None for port in ports
    )


def with_verdict(api_service: Obj, verdict: Verdict, now: str) -> Obj:
    """Return the APIService with the verdict in its status; itself where it says so already.

    The time is that of the last change of the status, not of the reason.
    """
    current = condition_of(api_service, AVAILABLE)
    if current is not None and _said(current) == verdict:
        return api_service
    since = now
    if current is not None and current.get("status") == verdict.status:
        since = current.get("lastTransitionTime") or now
    condition = {
        "type": AVAILABLE,
        "status": verdict.status,
        "lastTransitionTime": since,
        "reason": verdict.reason,
        "message": verdict.message,
    }
    status: Mapping[str, object] = api_service.get("status") or {}
    others = [c for c in get(api_service, "status.conditions") or () if c["type"] != AVAILABLE]
    return {**api_service, "status": {**status, "conditions": [*others, condition]}}


def _said(condition: Obj) -> Verdict:
    return Verdict(
        condition.get("status") or "",
        condition.get("reason") or "",
        condition.get("message") or "",
    )
