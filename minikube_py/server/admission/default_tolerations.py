"""Pods leave a node that is not ready or unreachable after five minutes, unless they say else."""

from collections.abc import Sequence

from minikube_py.api.core import PODS
from minikube_py.api.object import Obj, evolve, get
from minikube_py.server.attributes import Admission, AdmissionPlugin

KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
SECONDS = 300


class DefaultTolerationSeconds(AdmissionPlugin):
    """Adds the two tolerations where a pod has none for these taints."""

    name = "DefaultTolerationSeconds"
    resources = (PODS,)

    async def admit(self, admission: Admission) -> Obj | None:
        """Complete a pod."""
        pod = admission.obj
        if pod is None or admission.resource is not PODS or admission.subresource:
            return pod
        tolerations: Sequence[Obj] = get(pod, "spec.tolerations") or ()
        missing = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
            for key in KEYS
            if not any(_tolerates(toleration, key) for toleration in tolerations)
        ]
        return evolve(pod, "spec.tolerations", [*tolerations, *missing]) if missing else pod


def _tolerates(toleration: Obj, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in (
        "",
        "NoExecute",
    )
