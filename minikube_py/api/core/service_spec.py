"""What a service becomes before it is checked: defaults, and fields that follow from others.

The type of a service decides which of its fields make sense. Where an editor changes the type and
leaves alone what was allocated for the old one, that is dropped; where the editor says nothing of
what was allocated, it stays (upstream's `registry/core/service/{strategy,storage}.go`).
"""

from collections.abc import Sequence
from typing import Any, Final

from minikube_py.api.core.pod_defaults import each, with_values
from minikube_py.api.object import Obj, get

HEADLESS: Final = "None"
"""In place of an address: the service has none."""
AFFINITY_SECONDS: Final = 10800
"""How long a client sticks to a backend where sessionAffinity is ClientIP."""
_WITH_NODE_PORTS: Final = frozenset({"NodePort", "LoadBalancer"})
_KNOWN_TYPES: Final = _WITH_NODE_PORTS | {"ClusterIP"}


def is_headless(spec: Obj) -> bool:
    """Tell whether the service wants no address of its own."""
    return (spec.get("clusterIPs") or ()) == [HEADLESS]


def needs_cluster_ip(spec: Obj) -> bool:
    """Tell whether the type is one with an address; `None` counts as one."""
    return spec.get("type") != "ExternalName"


def needs_node_ports(spec: Obj) -> bool:
    """Tell whether the type is one with ports on every node."""
    return spec.get("type") in _WITH_NODE_PORTS


def needs_health_port(spec: Obj) -> bool:
    """Tell whether a load balancer has to ask each node for local backends."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_external(spec: Obj) -> bool:
    """Tell whether the service is reached from outside the cluster."""
    return needs_node_ports(spec) or bool(
        spec.get("type") == "ClusterIP" and spec.get("externalIPs")
    )


def default(service: Obj) -> Obj:
    """Fill in what the user left out."""
    old_spec: Obj = service.get("spec") or {}
    spec, status = _default_spec(old_spec), service.get("status") or {}
    changes: dict[str, Any] = {}
    if spec is not old_spec or "spec" not in service:
        changes["spec"] = spec
    balancer = _default_balancer(status.get("loadBalancer") or {}, spec)
    if balancer is not status.get("loadBalancer"):
        changes["status"] = {**status, "loadBalancer": balancer}
    return with_values(service, changes)


def _default_spec(spec: Obj) -> Obj:
    kind = spec.get("type") or "ClusterIP"
    values: dict[str, Any] = {"sessionAffinity": "None", "type": kind}
    if kind in _KNOWN_TYPES:
        values["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer":
        values["allocateLoadBalancerNodePorts"] = True
    changes = {key: value for key, value in values.items() if spec.get(key) in {None, ""}}
    if not spec.get("externalTrafficPolicy") and is_external({**spec, "type": kind}):
        changes["externalTrafficPolicy"] = "Cluster"
    if ports := spec.get("ports"):
        defaulted = each(ports, _default_port)
        if defaulted is not ports:
            changes["ports"] = defaulted
    return _default_affinity(with_values(spec, changes))


def _default_affinity(spec: Obj) -> Obj:
    affinity = spec.get("sessionAffinity")
    if affinity == "None" and "sessionAffinityConfig" in spec:
        return {key: value for key, value in spec.items() if key != "sessionAffinityConfig"}
    if affinity == "ClientIP" and (
        get(spec, "sessionAffinityConfig.clientIP.timeoutSeconds") is None
    ):
        config = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
        return {**spec, "sessionAffinityConfig": config}
    return spec


def _default_port(port: Obj) -> Obj:
    changes: dict[str, Any] = {}
    if not port.get("protocol"):
        changes["protocol"] = "TCP"
    target, number = port.get("targetPort"), port.get("port") or 0
    if not target and target != number:
        changes["targetPort"] = number
    return with_values(port, changes)


def _default_balancer(balancer: Obj, spec: Obj) -> Obj:
    ingress: Sequence[Obj] = balancer.get("ingress") or ()
    if spec.get("type") != "LoadBalancer" or not ingress:
        return balancer
    changed = each(
        ingress,
        lambda entry: (
            {**entry, "ipMode": "VIP"} if entry.get("ip") and entry.get("ipMode") is None else entry
        ),
    )
    return balancer if changed is ingress else {**balancer, "ingress": changed}


def prepare_for_create(service: Obj) -> Obj:
    """Drop the status; the one address is also the first of several."""
    spec = service.get("spec") or {}
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec = {**spec, "clusterIPs": [spec["clusterIP"]]}
    return {**service, "spec": spec, "status": {"loadBalancer": {}}}


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status and what was allocated, as far as it goes with the type."""
    before = old.get("spec") or {}
    spec = _with_allocated(new.get("spec") or {}, before)
    spec = _with_one_stack(_with_synced_ips(spec, before), before)
    spec = _without_unneeded(spec, before)
    status = old.get("status") or {}
    if spec.get("type") != "LoadBalancer":
        status = {**status, "loadBalancer": {}}
    return {**new, "spec": spec, "status": status}


def _with_allocated(spec: Obj, old: Obj) -> Obj:
    """Return the spec with what was allocated before, where it says nothing of it."""
    changes: dict[str, Any] = {}
    if needs_cluster_ip(old) and needs_cluster_ip(spec):
        for key in ("clusterIP", "clusterIPs"):
            if not spec.get(key) and old.get(key):
                changes[key] = old[key]
    if needs_node_ports(old) and needs_node_ports(spec) and spec.get("ports"):
        changes["ports"] = _with_node_ports(spec["ports"], old.get("ports") or ())
    if needs_health_port(old) and needs_health_port(spec) and not spec.get("healthCheckNodePort"):
        changes["healthCheckNodePort"] = old.get("healthCheckNodePort") or 0
    return with_values(spec, changes)


def _with_node_ports(ports: Sequence[Obj], old: Sequence[Obj]) -> Sequence[Obj]:
    by_name = {port.get("name") or "": port.get("nodePort") or 0 for port in old}
    kept = _numbers(ports) & _numbers(old)

    def change(port: Obj) -> Obj:
        number = by_name.get(port.get("name") or "", 0)
        if port.get("nodePort") or not number or number in kept:
            return port
        return {**port, "nodePort": number}

    return each(ports, change)


def _numbers(ports: Sequence[Obj]) -> set[int]:
    return {port["nodePort"] for port in ports if port.get("nodePort")}


def _with_synced_ips(spec: Obj, old: Obj) -> Obj:
    """Return the spec with clusterIPs that follow clusterIP, for clients that know but one."""
    address, before = spec.get("clusterIP") or "", old.get("clusterIP") or ""
    addresses, all_before = spec.get("clusterIPs") or [], old.get("clusterIPs") or []
    if address == before:
        return {**spec, "clusterIPs": all_before} if all_before and not addresses else spec
    if list(addresses) != list(all_before):
        return spec
    if before and not address:
        return _dropped(spec, ("clusterIPs",))
    return {**spec, "clusterIPs": [address]}


def _with_one_stack(spec: Obj, old: Obj) -> Obj:
    """Return the spec without its second family, where only the policy says there is one."""
    if spec.get("ipFamilyPolicy") != "SingleStack" or not needs_cluster_ip(spec):
        return spec
    changes = {
        key: spec[key][:1]
        for key in ("clusterIPs", "ipFamilies")
        if len(spec.get(key) or ()) > 1 and spec[key] == old.get(key)
    }
    return with_values(spec, changes)


def _without_unneeded(spec: Obj, old: Obj) -> Obj:
    """Return the spec without unchanged fields that its new type has no use for."""
    unneeded: list[str] = []
    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        if _same(spec, old, "clusterIP") and _same(spec, old, "clusterIPs"):
            unneeded += ["clusterIP", "clusterIPs"]
        unneeded += [key for key in ("ipFamilies", "ipFamilyPolicy") if _same(spec, old, key)]
    if needs_health_port(old) and not needs_health_port(spec):
        unneeded.append("healthCheckNodePort")
    if old.get("type") == "LoadBalancer" != spec.get("type"):
        unneeded += ["allocateLoadBalancerNodePorts", "loadBalancerClass"]
    if is_external(old) and not is_external(spec):
        unneeded.append("externalTrafficPolicy")
    if spec.get("type") not in _KNOWN_TYPES:
        unneeded.append("internalTrafficPolicy")
    spec = _dropped(spec, [key for key in unneeded if _same(spec, old, key)])
    if needs_node_ports(old) and not needs_node_ports(spec):
        spec = _without_node_ports(spec, old)
    return spec


def _without_node_ports(spec: Obj, old: Obj) -> Obj:
    ports: Sequence[Obj] = spec.get("ports") or ()
    if not ports or not _numbers(ports) <= _numbers(old.get("ports") or ()):
        return spec
    return {**spec, "ports": each(ports, lambda port: _dropped(port, ("nodePort",)))}


def _same(spec: Obj, old: Obj, key: str) -> bool:
    return (spec.get(key) or None) == (old.get(key) or None)


def _dropped(obj: Obj, keys: Sequence[str]) -> Obj:
    if not any(key in obj for key in keys):
        return obj
    return {key: value for key, value in obj.items() if key not in keys}
