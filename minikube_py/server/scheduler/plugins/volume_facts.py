"""What can be said of one claim or class alone; the words are upstream's."""

from collections.abc import Mapping, Sequence

from minikube_py.api.object import Key, Obj, controller_of, get, is_deleting, uid_of
from minikube_py.server.scheduler.pod_info import PodInfo


def trouble_of(pod: PodInfo, volume: Obj, key: Key, claim: Obj | None) -> str:
    """Return why a claim keeps a pod from every node, "" where it does not."""
    ephemeral = "ephemeral" in volume
    if claim is None and ephemeral:
        return (
            "waiting for ephemeral volume controller to create the persistentvolumeclaim "
            f'"{key.name}"'
        )
    if claim is None:
        return f'persistentvolumeclaim "{key.name}" not found'
    if get(claim, "status.phase") == "Lost":
        name = get(claim, "spec.volumeName", "")
        return f'persistentvolumeclaim "{key.name}" bound to non-existent persistentvolume "{name}"'
    if is_deleting(claim):
        return f'persistentvolumeclaim "{key.name}" is being deleted'
    if ephemeral and get(controller_of(claim), "uid") != uid_of(pod.obj):
        return f"PVC {key} was not created for pod {pod.key} (pod is not owner)"
    return ""


def allows(storage_class: Obj, labels: Mapping[str, str]) -> bool:
    """Tell whether volumes of a class may be made near nodes with these labels."""
    terms: Sequence[Obj] = storage_class.get("allowedTopologies") or ()
    return not terms or any(
        all(
            labels.get(one["key"]) in one["values"]
            for one in term.get("matchLabelExpressions") or ()
        )
        for term in terms
    )
