"""`bindings`: the scheduler's one write. It sets a pod's node, once."""

from typing import Any

from minikube_py.api import times
from minikube_py.api.core import PODS
from minikube_py.api.fields import Field
from minikube_py.api.object import Obj, evolve, get, is_deleting, labels_of
from minikube_py.server.apiserver.call import SUCCESS, Call
from minikube_py.server.registry.hooks import Write
from minikube_py.server.registry.refusals import conflict, invalid
from minikube_py.server.registry.store import Store


class Binding:
    """Binds pods to nodes, as upstream's `registry/core/pod/storage.BindingREST`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, call: Call, document: dict[str, Any]) -> Obj:
        """Set the pod's node."""
        name = call.name or get(document, "metadata.name", "")
        target = get(document, "target.name", "")
        if get(document, "target.kind", "Node") not in ("", "Node"):
            error = (Field("target") / "kind").unsupported(document["target"]["kind"], ["Node", ""])
            raise invalid(call.resource, name, [error])
        if not target:
            raise invalid(call.resource, name, [(Field("target") / "name").required()])
        if not call.options.dry_run:
            await self._store.update(_write(call, name), lambda pod: self._bind(pod, document))
        return SUCCESS

    def _bind(self, pod: Obj, binding: Obj) -> Obj:
        name, target = pod["metadata"]["name"], binding["target"]["name"]
        uid = get(binding, "metadata.uid")
        if uid and uid != pod["metadata"]["uid"]:
            raise conflict(
                PODS,
                name,
                f"Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {pod['metadata']['uid']}",
            )
        if is_deleting(pod):
            raise conflict(PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
        current = get(pod, "spec.nodeName", "")
        if current:
            raise conflict(PODS, name, f'pod {name} is already assigned to node "{current}"')
        if get(pod, "spec.schedulingGates"):
            raise conflict(PODS, name, f"pod {name} has non-empty .spec.schedulingGates")
        bound = evolve(pod, "spec.nodeName", target)
        annotations = get(binding, "metadata.annotations") or {}
        if annotations:
            merged = {**get(pod, "metadata.annotations", {}), **annotations}
            bound = evolve(bound, "metadata.annotations", merged)
        labels = get(binding, "metadata.labels") or {}
        if labels:
            bound = evolve(bound, "metadata.labels", {**labels_of(pod), **labels})
        return with_condition(bound, times.now_string(self._store.clock))


def _write(call: Call, name: str) -> Write:
    return Write(
        user=call.user,
        resource=PODS,
        operation="UPDATE",
        namespace=call.namespace,
        name=name,
        subresource="binding",
        trusted=True,
        field_manager=call.options.manager,
    )


def with_condition(pod: Obj, now: str) -> Obj:
    """Return the pod with the condition that it is scheduled."""
    kept = [c for c in get(pod, "status.conditions", ()) if c.get("type") != "PodScheduled"]
    condition = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    return evolve(pod, "status.conditions", [*kept, condition])
