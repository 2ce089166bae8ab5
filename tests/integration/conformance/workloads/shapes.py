"""Objects of the workload kinds, and what is asked of them again and again."""

from typing import Any

from minikube_py.api.object import get

LABELS = {"app": "web"}
RUNNING = {"phase": "Running"}


def template(image: str = "web:1", *, restart: str = "Always", **spec: Any) -> dict[str, Any]:
    """Return a pod template with one container."""
    pod = {"containers": [{"name": "c", "image": image}], "restartPolicy": restart, **spec}
    return {"metadata": {"labels": LABELS}, "spec": pod}


def workload(name: str, replicas: int | None = None, **spec: Any) -> dict[str, Any]:
    """Return a deployment, a replica set, a stateful set or a daemon set."""
    made = {"selector": {"matchLabels": LABELS}, "template": template(), **spec}
    if replicas is not None:
        made["replicas"] = replicas
    return {"metadata": {"name": name, "labels": LABELS}, "spec": made}


def controller(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    """Return a replication controller."""
    made = {"replicas": replicas, "selector": LABELS, "template": template(), **spec}
    return {"metadata": {"name": name, "labels": LABELS}, "spec": made}


def status(**wanted: Any) -> Any:
    """Return the test whether the status has these values; an absent number is 0."""
    return lambda shown: all(get(shown, f"status.{key}", 0) == v for key, v in wanted.items())


def condition(shown: Any, kind: str) -> Any:
    """Return a condition, {} where there is none."""
    found = (one for one in get(shown, "status.conditions", ()) if one["type"] == kind)
    return next(found, {})


def owners(shown: Any) -> list[str]:
    """Return the names of an object's owners."""
    return [one["name"] for one in shown["metadata"].get("ownerReferences", ())]


def is_ready(pod: Any) -> bool:
    """Tell whether a pod is ready."""
    return bool(condition(pod, "Ready").get("status") == "True")


def names(shown: list[Any]) -> list[str]:
    """Return the names of some objects."""
    return [str(one["metadata"]["name"]) for one in shown]


def images(pods: list[Any]) -> list[str]:
    """Return what the pods run."""
    return [str(pod["spec"]["containers"][0]["image"]) for pod in pods]


def all_ready(count: int) -> Any:
    """Return the test whether there are so many pods, all of them ready and staying."""

    def good(pods: list[Any]) -> bool:
        going = any("deletionTimestamp" in pod["metadata"] for pod in pods)
        return len(pods) == count and not going and all(map(is_ready, pods))

    return good
