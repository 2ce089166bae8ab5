"""The objects that a fresh server makes itself, and keeps as they are to be at every start.

`wanted` lists them, `ensure` brings the cluster there: what is missing is created, what is there
is changed only as upstream would (RBAC gains what it lost, flow schemas follow this version).
All writes go out at once, so that the datastore commits them together.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api import local_storage, times
from minikube_py.api.apiregistration import APISERVICES
from minikube_py.api.core import CONFIGMAPS, ENDPOINTS, NAMESPACES, SERVICES
from minikube_py.api.core.secret import USE_TRACKING
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import AlreadyExistsError, ConflictError, NotFoundError
from minikube_py.api.flowcontrol import FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS
from minikube_py.api.networking import INGRESSCLASSES, SERVICECIDRS, ingress_ours, ingressclass
from minikube_py.api.object import Obj, annotations_of, evolve, get, key_of, labels_of
from minikube_py.api.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from minikube_py.api.resource import Resource
from minikube_py.api.scheduling import PRIORITYCLASSES
from minikube_py.api.storage import CSIDRIVERS, STORAGECLASSES, storageclass
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.net import is_loopback
from minikube_py.server import bootstrap, bootstrap_flowcontrol, bootstrap_rbac, certificates
from minikube_py.server.authz.policy import compile_rules, uncovered
from minikube_py.server.bootstrap import Bootstrap
from minikube_py.server.config import ServerConfig

log = logging.getLogger(__name__)
SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
DNS_PORT = 53

API_SERVICES: Mapping[str, tuple[int, int]] = {
    "v1.": (18000, 1),
    "v1.admissionregistration.k8s.io": (16700, 15),
    "v1.apiextensions.k8s.io": (16700, 15),
    "v1.apps": (17800, 15),
    "v1.authentication.k8s.io": (17700, 15),
    "v1.authorization.k8s.io": (17600, 15),
    "v1.autoscaling": (17500, 15),
    "v1.batch": (17400, 15),
    "v1.certificates.k8s.io": (17300, 15),
    "v1.coordination.k8s.io": (16500, 15),
    "v1.discovery.k8s.io": (16200, 15),
    "v1.events.k8s.io": (17750, 15),
    "v1.flowcontrol.apiserver.k8s.io": (16100, 21),
    "v1.networking.k8s.io": (17200, 15),
    "v1.node.k8s.io": (16300, 15),
    "v1.policy": (17100, 15),
    "v1.rbac.authorization.k8s.io": (17000, 15),
    "v1.resource.k8s.io": (16200, 21),
    "v1.scheduling.k8s.io": (16600, 15),
    "v1.storage.k8s.io": (16800, 15),
    "v2.autoscaling": (17500, 30),
}
"""Name -> priority of the group and of the version; discovery's order follows them."""

METRICS_API: Mapping[str, tuple[int, int]] = {"v1beta1.metrics.k8s.io": (100, 100)}
"""As metrics-server registers it: after everything else, so that `pods` are first of all pods."""

PRIORITY_CLASSES: Mapping[str, tuple[int, str]] = {
    "system-cluster-critical": (
        2_000_000_000,
        (
            "Used for system critical pods that must run in the cluster, but can be moved to "
            "another node if necessary."
        ),
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}

Merge = Callable[[Obj, Obj], Obj]
"""(current, wanted) -> what the current object is to become; itself where all is well."""


@dataclass(frozen=True)
class Wanted:
    """One object that is to be there."""

    resource: Resource
    obj: Obj
    merge: Merge
    status: Obj | None = None
    """Written after the object is created, where the kind takes its status apart."""


CONFLICTS_MAX = 8


async def ensure(client: Client, objects: Sequence[Wanted]) -> None:
    """Bring the cluster to hold the objects; safe to repeat, also after a crash in between.

    Namespaces go first, because admission refuses what is to live in one that is not there.
    """
    namespaces = [wanted for wanted in objects if wanted.resource is NAMESPACES]
    others = [wanted for wanted in objects if wanted.resource is not NAMESPACES]
    for batch in (namespaces, others):
        await asyncio.gather(*(_ensure_one(client, wanted) for wanted in batch))


async def _ensure_one(client: Client, wanted: Wanted) -> None:
    key = key_of(wanted.obj)
    for _ in range(CONFLICTS_MAX):
        try:
            current = await client.get(wanted.resource, key.name, key.namespace)
            await _restore(client, wanted, current)
        except NotFoundError:
            await _create(client, wanted)
        except ConflictError:
            continue  # somebody changed it meanwhile, perhaps another server to just this
        return


async def _restore(client: Client, wanted: Wanted, current: Obj) -> None:
    key = key_of(wanted.obj)
    changed = wanted.merge(current, wanted.obj)
    if changed is current:
        return
    if wanted.resource.kind.endswith("Binding") and changed["roleRef"] != current["roleRef"]:
        # roleRef is immutable: a binding to another role is another binding.
        await client.delete(wanted.resource, key.name, key.namespace)
        await client.create(wanted.resource, changed)
    else:
        await client.update(wanted.resource, changed)
    log.info("default object restored kind=%s name=%s", wanted.resource.kind, key)


async def _create(client: Client, wanted: Wanted) -> None:
    try:
        made = await client.create(wanted.resource, wanted.obj)
    except AlreadyExistsError:
        return  # Another server of the cluster was faster.
    if wanted.status is not None:
        await client.update(
            wanted.resource, evolve(made, "status", wanted.status), subresource="status"
        )


def wanted(config: ServerConfig, material: Bootstrap, clock: Clock) -> list[Wanted]:
    """List all objects that a server keeps, in no order that matters."""
    return [
        *(Wanted(NAMESPACES, _object("v1", "Namespace", name), keep) for name in SYSTEM_NAMESPACES),
        *_rbac(),
        *_flow_control(clock),
        *(_priority_class(name) for name in PRIORITY_CLASSES),
        *(_api_service(name, clock) for name in api_services(config)),
        *_config_maps(config, material, clock),
        *kubernetes_service(config),
        *(_dns(config) if "dns" not in config.disable else ()),
        *_network_policies(config),
        *_ingress(config),
        *_local_storage(config),
        *(_metrics_access() if config.serves_metrics else ()),
        *(_renewal() if not config.disable_controller_manager else ()),
        *_access("system:cloud-controller-manager"),
        _service_cidr(config, clock),
    ]


def api_services(config: ServerConfig) -> Sequence[str]:
    """Return the names of the APIServices of built-in groups."""
    return (*API_SERVICES, *(METRICS_API if config.serves_metrics else ()))


def _metrics_access() -> Iterator[Wanted]:
    """Yield the role that lets whoever may view objects also see what they use."""
    yield Wanted(CLUSTERROLES, bootstrap_rbac.metrics_reader(), merge_role)


def _rbac() -> Iterator[Wanted]:
    for resource, objects, merge in (
        (CLUSTERROLES, bootstrap_rbac.cluster_roles(), merge_role),
        (CLUSTERROLEBINDINGS, bootstrap_rbac.cluster_role_bindings(), merge_binding),
        (ROLES, bootstrap_rbac.roles(), merge_role),
        (ROLEBINDINGS, bootstrap_rbac.role_bindings(), merge_binding),
    ):
        yield from (Wanted(resource, obj, merge) for obj in objects)


def _access(name: str) -> Iterator[Wanted]:
    role, binding = bootstrap_rbac.own_access(name)
    yield Wanted(CLUSTERROLES, role, merge_role)
    yield Wanted(CLUSTERROLEBINDINGS, binding, merge_binding)


def _flow_control(clock: Clock) -> Iterator[Wanted]:
    now = times.now_string(clock)
    for level in bootstrap_flowcontrol.priority_levels():
        yield Wanted(PRIORITYLEVELCONFIGURATIONS, level, merge_spec)
    for schema in bootstrap_flowcontrol.flow_schemas():
        status = bootstrap_flowcontrol.dangling_status(schema, now)
        yield Wanted(FLOWSCHEMAS, schema, merge_spec, status)


def _priority_class(name: str) -> Wanted:
    value, description = PRIORITY_CLASSES[name]
    more = {"value": value, "description": description}
    return Wanted(
        PRIORITYCLASSES, _object("scheduling.k8s.io/v1", "PriorityClass", name, more), keep
    )


def _api_service(name: str, clock: Clock) -> Wanted:
    version, _, group = name.partition(".")
    group_priority, version_priority = {**API_SERVICES, **METRICS_API}[name]
    spec = {
        "version": version,
        "groupPriorityMinimum": group_priority,
        "versionPriority": version_priority,
        **({"group": group} if group else {}),
    }
    obj = _object("apiregistration.k8s.io/v1", "APIService", name, {"spec": spec})
    labels = {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    status = _condition(
        "Available", "Local", "Local APIServices are always available", times.now_string(clock)
    )
    return Wanted(APISERVICES, evolve(obj, "metadata.labels", labels), keep, status)


def _config_maps(config: ServerConfig, material: Bootstrap, clock: Clock) -> Iterator[Wanted]:
    paths = certificates.files(config, material)
    proxies = "".join(path.read_text() for path in paths.proxy_cas)
    yield authentication(config, paths.client_ca.read_text(), proxies)
    since = {"since": f"{clock.now():%Y-%m-%d}"}
    yield Wanted(CONFIGMAPS, _config_map(USE_TRACKING, since), keep)


def authentication(config: ServerConfig, client_ca: str, proxy_cas: str) -> Wanted:
    """Return the config map by which aggregated API servers know whom we authenticate how.

    Upstream's `controller/clusterauthenticationtrust` writes the same keys.
    """
    data = {
        "client-ca-file": client_ca,
        "requestheader-allowed-names": _json(config.requestheader_allowed_names),
        "requestheader-client-ca-file": proxy_cas,
        "requestheader-extra-headers-prefix": _json(config.requestheader_extra_headers_prefix),
        "requestheader-group-headers": _json(config.requestheader_group_headers),
        "requestheader-username-headers": _json(config.requestheader_username_headers),
    }
    if config.requestheader_uid_headers:
        data["requestheader-uid-headers"] = _json(config.requestheader_uid_headers)
    return Wanted(CONFIGMAPS, _config_map("extension-apiserver-authentication", data), merge_data)


def _config_map(name: str, data: Mapping[str, str]) -> Obj:
    return _object("v1", "ConfigMap", name, {"data": data}, namespace="kube-system")


def kubernetes_service(config: ServerConfig) -> Iterator[Wanted]:
    """Yield the Service by whose name and address pods reach the API."""
    port = config.https_listen_port
    cluster_ip = bootstrap.kubernetes_service_ip(config)
    service_port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}
    spec = {
        "type": "ClusterIP",
        "clusterIP": cluster_ip,
        "clusterIPs": [cluster_ip],
        "ports": [service_port],
        "sessionAffinity": "None",
    }
    service = _object("v1", "Service", "kubernetes", {"spec": spec}, namespace="default")
    labels = {"component": "apiserver", "provider": "kubernetes"}
    yield Wanted(SERVICES, evolve(service, "metadata.labels", labels), merge_ports)


def kubernetes_endpoints(config: ServerConfig, addresses: Sequence[str]) -> Iterator[Wanted]:
    """Yield by what pods reach the API: the addresses of all servers; none without a network."""
    reachable = [address for address in addresses if not is_loopback(address)]
    if not reachable:
        log.warning("no address for pods to reach the API server at; pass --advertise-address")
        return
    family = "IPv6" if ":" in reachable[0] else "IPv4"
    reachable = [one for one in reachable if (":" in one) == (family == "IPv6")]
    ports = [{"name": "https", "port": config.https_listen_port, "protocol": "TCP"}]
    subsets = [{"addresses": [{"ip": address} for address in reachable], "ports": ports}]
    endpoints = _object("v1", "Endpoints", "kubernetes", {"subsets": subsets}, namespace="default")
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    yield Wanted(ENDPOINTS, evolve(endpoints, "metadata.labels", labels), merge_fields("subsets"))
    more = {
        "addressType": family,
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}} for address in reachable
        ],
        "ports": ports,
    }
    slice_ = _object(
        "discovery.k8s.io/v1", "EndpointSlice", "kubernetes", more, namespace="default"
    )
    labels = {"kubernetes.io/service-name": "kubernetes"}
    merge = merge_fields("endpoints", "ports")
    yield Wanted(ENDPOINTSLICES, evolve(slice_, "metadata.labels", labels), merge)


def _renewal() -> Iterator[Wanted]:
    """Let nodes renew their own certificates, for which our controllers approve and sign."""
    for role, binding in bootstrap_rbac.certificate_renewal():
        yield Wanted(CLUSTERROLES, role, merge_role)
        yield Wanted(CLUSTERROLEBINDINGS, binding, merge_binding)


def _dns(config: ServerConfig) -> Iterator[Wanted]:
    """The Service that pods find the cluster DNS by; each node answers on its address itself."""
    yield from _access("kpy:cluster-dns")
    cluster_ip = bootstrap.cluster_dns_ip(config)
    spec = {
        "type": "ClusterIP",
        "clusterIP": cluster_ip,
        "clusterIPs": [cluster_ip],
        "ports": [
            {"name": "dns", "port": DNS_PORT, "protocol": "UDP", "targetPort": DNS_PORT},
            {"name": "dns-tcp", "port": DNS_PORT, "protocol": "TCP", "targetPort": DNS_PORT},
        ],
        "sessionAffinity": "None",
    }
    service = _object("v1", "Service", "kube-dns", {"spec": spec}, namespace="kube-system")
    labels = {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "kpy-dns",
    }
    yield Wanted(SERVICES, evolve(service, "metadata.labels", labels), keep)


def _network_policies(config: ServerConfig) -> Iterator[Wanted]:
    """Let nodes see the policies that they enforce, and the pods and namespaces that these mean."""
    if not config.disable_network_policy:
        yield from _access("kpy:network-policies")


def _ingress(config: ServerConfig) -> Iterator[Wanted]:
    """The class of ingresses that nodes serve, and who sees to it; see api/networking.

    The controller keeps its rights where the class is not wanted: it takes away what it made.
    """
    if not config.disable_controller_manager:
        yield from _access("kpy:ingress-controller")
    if not config.packages("ingress"):
        return
    yield from _access("kpy:ingress")
    spec = {"spec": {"controller": ingress_ours.CONTROLLER}}
    made = _object("networking.k8s.io/v1", "IngressClass", ingress_ours.CLASS, spec)
    annotations = {ingressclass.DEFAULT_ANNOTATION: "true"}
    yield Wanted(INGRESSCLASSES, evolve(made, "metadata.annotations", annotations), keep)


def _local_storage(config: ServerConfig) -> Iterator[Wanted]:
    """The class of volumes on the disks of the nodes, and who makes them.

    The provisioner keeps its rights where the class is not wanted: it takes away what it made.
    """
    if not config.disable_controller_manager:
        yield from _access("kpy:local-storage")
    if not config.packages("local-storage"):
        return
    spec = {
        "attachRequired": False,
        "fsGroupPolicy": "File",
        "storageCapacity": True,
        "volumeLifecycleModes": ["Persistent"],
    }
    driver = _object("storage.k8s.io/v1", "CSIDriver", local_storage.PROVISIONER, {"spec": spec})
    yield Wanted(CSIDRIVERS, driver, keep)
    more = {
        "provisioner": local_storage.PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    storage_class = _object("storage.k8s.io/v1", "StorageClass", local_storage.CLASS, more)
    annotations = {storageclass.DEFAULT_ANNOTATION: "true"}
    yield Wanted(STORAGECLASSES, evolve(storage_class, "metadata.annotations", annotations), keep)


def _service_cidr(config: ServerConfig, clock: Clock) -> Wanted:
    spec = {"spec": {"cidrs": config.service_cidr.split(",")}}
    obj = _object("networking.k8s.io/v1", "ServiceCIDR", "kubernetes", spec)
    message = "Kubernetes default Service CIDR is ready"
    return Wanted(
        SERVICECIDRS, obj, _widened, _condition("Ready", "", message, times.now_string(clock))
    )


def _widened(current: Obj, wanted: Obj) -> Obj:
    """Add the second address family to the default range; it has no other way to change."""
    there, cidrs = current["spec"]["cidrs"], wanted["spec"]["cidrs"]
    added = len(there) == 1 and cidrs[:1] == there and len(cidrs) > 1
    return evolve(current, "spec.cidrs", cidrs) if added else current


def _condition(kind: str, reason: str, message: str, now: str) -> dict[str, Any]:
    condition = {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
    }
    return {"conditions": [condition]}


def _object(
    api_version: str,
    kind: str,
    name: str,
    more: Mapping[str, Any] | None = None,
    *,
    namespace: str = "",
) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **(more or {})}


def _json(names: Sequence[str]) -> str:
    return json.dumps(names)


def keep(current: Obj, _wanted: Obj) -> Obj:
    """Leave what is there."""
    return current


def merge_fields(*fields: str) -> Merge:
    """Make a merge that replaces some top-level fields."""

    def merge(current: Obj, wanted: Obj) -> Obj:
        changes = {name: wanted[name] for name in fields if current.get(name) != wanted[name]}
        return {**current, **changes} if changes else current

    return merge


def merge_data(current: Obj, wanted: Obj) -> Obj:
    """Set the keys of a ConfigMap, keep others."""
    data = {**(current.get("data") or {}), **wanted["data"]}
    return current if data == current.get("data") else {**current, "data": data}


def merge_ports(current: Obj, wanted: Obj) -> Obj:
    """Set the ports of a Service."""
    if get(current, "spec.ports") == wanted["spec"]["ports"]:
        return current
    return evolve(current, "spec.ports", wanted["spec"]["ports"])


def merge_spec(current: Obj, wanted: Obj) -> Obj:
    """Follow this version's spec, unless the operator took the annotation for it away."""
    updates = annotations_of(current).get(bootstrap_flowcontrol.AUTOUPDATE) == "true"
    if not updates or current["spec"] == wanted["spec"]:
        return current
    return {**current, "spec": wanted["spec"]}


def merge_role(current: Obj, wanted: Obj) -> Obj:
    """Add the rules, labels and annotations that a role lost; never take any away."""
    if annotations_of(current).get(bootstrap_rbac.AUTOUPDATE) != "true":
        return current
    merged = _merge_metadata(current, wanted)
    if "aggregationRule" in wanted:
        return merge_fields("aggregationRule")(merged, wanted)
    missing = uncovered(compile_rules(current), wanted["rules"])
    if not missing:
        return merged
    return {**merged, "rules": [*(current.get("rules") or ()), *missing]}


def merge_binding(current: Obj, wanted: Obj) -> Obj:
    """Add the subjects that a binding lost; one to another role is replaced whole."""
    if annotations_of(current).get(bootstrap_rbac.AUTOUPDATE) != "true":
        return current
    if current["roleRef"] != wanted["roleRef"]:
        return wanted
    merged = _merge_metadata(current, wanted)
    subjects = current.get("subjects") or []
    missing = [subject for subject in wanted.get("subjects", ()) if subject not in subjects]
    return {**merged, "subjects": [*subjects, *missing]} if missing else merged


def _merge_metadata(current: Obj, wanted: Obj) -> Obj:
    labels = {**labels_of(current), **labels_of(wanted)}
    if labels != labels_of(current):
        current = evolve(current, "metadata.labels", labels)
    return current
