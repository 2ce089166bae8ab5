"""The APIServices of what this server serves itself come and go with it: pure decisions.

Built-in groups are registered at start (`bootstrap_objects`) and then left to the administrator;
groups of custom kinds follow their definitions at all times. The label says which; an APIService
without it is somebody's own and is never touched. The rules are those of upstream's
`controllers/autoregister`.
"""

from collections.abc import Iterable
from typing import Literal

from minikube_py.api.object import Obj, get, labels_of

MANAGED = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"
CUSTOM_GROUP_PRIORITY, CUSTOM_VERSION_PRIORITY = 1000, 100
"""Custom groups come after all built-in ones; their versions stand in kube version order."""
Step = Literal["create", "update", "delete"]


def served_versions(crd: Obj) -> tuple[tuple[str, str], ...]:
    """Return the groups and versions that a definition serves."""
    group, versions = crd["spec"]["group"], get(crd, "spec.versions") or ()
    return tuple((group, version["name"]) for version in versions if version.get("served"))


def wanted(name: str, served: Iterable[tuple[str, str]]) -> Obj | None:
    """Return the APIService of that name that custom kinds need, None where none does."""
    for group, version in served:
        if name == f"{version}.{group}":
            spec = {
                "group": group,
                "version": version,
                "groupPriorityMinimum": CUSTOM_GROUP_PRIORITY,
                "versionPriority": CUSTOM_VERSION_PRIORITY,
            }
            metadata = {"name": name, "labels": {MANAGED: ALWAYS}}
            head = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
            return {**head, "metadata": metadata, "spec": spec}
    return None


def step(current: Obj | None, desired: Obj | None, *, built_in: bool) -> Step | None:
    """Decide what to do about an APIService; `built_in` ones are none of our business here."""
    if built_in:
        return None
    if current is None:
        return "create" if desired is not None else None
    if labels_of(current).get(MANAGED) not in (ON_START, ALWAYS):
        return None
    if desired is None:
        return "delete"
    return "update" if current["spec"] != desired["spec"] else None
