"""The objects that are written and read, of the sizes that clusters have."""

from typing import Any

NAMESPACE = "bench"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def configmap(name: str, value: str = "v") -> dict[str, Any]:
    """A config map of 1 KB."""
    data = {f"key-{n}": f"{value}-{n}-" + "x" * 70 for n in range(10)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str) -> dict[str, Any]:
    """A pod of 2 KB with two containers, as a Deployment makes it."""
    labels = {"app": "web", "pod-template-hash": "6d4cf56db6", "tier": name[-1]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {"note": "x" * 200}},
        "spec": {
            "containers": [container("main"), container("side")],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    }


def plain_pod(name: str) -> dict[str, Any]:
    """A pod with one plain container: 4 KB as it is served."""
    spec = {"containers": [{**container("main"), "livenessProbe": None, "readinessProbe": None}]}
    spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    return {**pod(name), "spec": spec}


def container(name: str) -> dict[str, Any]:
    """One container with what most have."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    return {
        "name": name,
        "image": f"registry.example/team/{name}:1.2.3",
        "args": ["--verbose", "--listen=:8080"],
        "env": [{"name": f"VARIABLE_{n}", "value": f"value {n}"} for n in range(6)],
        "ports": [{"name": f"{name}-http", "containerPort": 8080 if name == "main" else 8081}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}},
        "livenessProbe": probe,
        "readinessProbe": probe,
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
