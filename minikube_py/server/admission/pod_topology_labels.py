"""A pod knows by its labels in which zone and region it runs, as its node says."""

from typing import Final

from minikube_py.api.core import PODS
from minikube_py.api.object import Key, Obj, evolve, get, labels_of
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Admission, AdmissionPlugin

LABELS: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(AdmissionPlugin):
    """Copies labels of the node to a pod, when it is bound or made on one."""

    name = "PodTopologyLabels"
    resources = (PODS,)

    def __init__(self, nodes: Lister) -> None:
        self._nodes = nodes

    async def admit(self, admission: Admission) -> Obj | None:
        """Add the labels to a pod or a binding; what is there already stays."""
        obj = admission.obj
        if obj is None or admission.resource is not PODS or admission.operation != "CREATE":
            return obj
        node = ""
        if admission.subresource == "":
            node = get(obj, "spec.nodeName", "")
        elif admission.subresource == "binding" and get(obj, "target.kind", "Node") == "Node":
            node = get(obj, "target.name", "")
        found = self._nodes.item(Key("", node)) if node else None
        if found is None:
            return obj
        copied = {key: value for key, value in found.labels.items() if key in LABELS}
        labels = {**copied, **labels_of(obj)}
        return evolve(obj, "metadata.labels", labels) if copied else obj
