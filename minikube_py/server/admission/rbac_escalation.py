"""Roles and bindings are written by those who may grant what is in them."""

from minikube_py.api.object import Obj
from minikube_py.api.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from minikube_py.server.attributes import Admission, AdmissionPlugin
from minikube_py.server.authz.escalation import EscalationGuard


class RbacEscalation(AdmissionPlugin):
    """Asks the guard before validation, as upstream's RBAC storage does."""

    name = "RbacEscalation"
    resources = (ROLES, CLUSTERROLES, ROLEBINDINGS, CLUSTERROLEBINDINGS)

    def __init__(self, guard: EscalationGuard) -> None:
        self._guard = guard

    async def admit(self, admission: Admission) -> Obj | None:
        """Refuse what would grant more than its writer has."""
        self._guard.check(admission)
        return admission.obj
