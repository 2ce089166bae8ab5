"""A new node takes no pods until somebody found it ready."""

from collections.abc import Sequence

from minikube_py.api.core import NODES
from minikube_py.api.object import Obj, evolve, get
from minikube_py.server.attributes import Admission, AdmissionPlugin

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(AdmissionPlugin):
    """Taints new nodes as not ready; the node lifecycle controller takes it off."""

    name = "TaintNodesByCondition"
    resources = (NODES,)

    async def admit(self, admission: Admission) -> Obj | None:
        """Add the taint."""
        node = admission.obj
        if node is None or admission.resource is not NODES or admission.subresource:
            return node
        taints: Sequence[Obj] = get(node, "spec.taints") or ()
        if admission.operation != "CREATE" or any(_is_not_ready(taint) for taint in taints):
            return node
        return evolve(node, "spec.taints", [*taints, NOT_READY])


def _is_not_ready(taint: Obj) -> bool:
    return all(taint.get(field) == value for field, value in NOT_READY.items())
