"""Objects as the server would give them to controllers, with what a test needs to say of them."""

from datetime import UTC, datetime
from typing import Any

from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS
from minikube_py.api.batch import JOBS
from minikube_py.api.core import PODS, SERVICES
from minikube_py.api.object import owner_reference
from tests.frozen import freeze

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00Z"
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def meta(name: str, **more: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "d",
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": LONG_AGO,
    }
    return {**metadata, **more}


def replicaset(name: str = "rs", replicas: int = 1, **more: Any) -> Any:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": more.pop("template", TEMPLATE),
        **more.pop("spec", {}),
    }
    status = more.pop("status", {"replicas": 0})
    obj = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta(name, **more)}
    return freeze(REPLICASETS.default({**obj, "spec": spec, "status": status}))


def deployment(replicas: int = 3, **more: Any) -> Any:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": TEMPLATE,
        **more.pop("spec", {}),
    }
    status = more.pop("status", {})
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("web", **more)}
    return freeze(DEPLOYMENTS.default({**obj, "spec": spec, "status": status}))


def job(**more: Any) -> Any:
    spec = {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
    spec = {**spec, **more.pop("spec", {})}
    status = more.pop("status", {})
    obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("job", **more)}
    return freeze(JOBS.default({**obj, "spec": spec, "status": status}))


def service(**more: Any) -> Any:
    spec = {
        "selector": {"app": "web"},
        "clusterIP": "10.43.0.9",
        "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        **more.pop("spec", {}),
    }
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": meta("web", **more)}
    return freeze(SERVICES.default({**obj, "spec": spec, "status": {}}))


def pod(name: str = "pod", owner: Any = None, **more: Any) -> Any:
    """Make a pod; ready, phase, node and ip say what its status is."""
    ready, phase = more.pop("ready", False), more.pop("phase", "Running")
    since = more.pop("since", LONG_AGO)
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": [
            {**condition, "lastTransitionTime": since},
            *more.pop("conditions", ()),
        ],
        **more.pop("status", {}),
    }
    if ip := more.pop("ip", ""):
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    spec = {**TEMPLATE["spec"], **more.pop("spec", {})}
    if node := more.pop("node", ""):
        spec["nodeName"] = node
    metadata = meta(name, labels=more.pop("labels", {"app": "web"}), **more)
    if owner is not None:
        metadata["ownerReferences"] = [owner_reference(owner)]
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
    return freeze(PODS.default(obj))
