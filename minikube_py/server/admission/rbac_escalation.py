"""Roles and bindings are written by those who may grant what is in them."""

from collections.abc import Sequence

from minikube_py.api.object import Obj
from minikube_py.server.attributes import Admission
from minikube_py.server.authz.escalation import EscalationGuard


class RbacEscalation:
    """Asks the guard before validation, as upstream's RBAC storage does."""

    name = "RbacEscalation"

    def __init__(self, guard: EscalationGuard) -> None:
        self._guard = guard

    async def admit(self, admission: Admission) -> Obj | None:
        """Refuse what would grant more than its writer has."""
        self._guard.check(admission)
        return admission.obj

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check nothing more."""
        del admission
        return ()
