"""Nothing is made in a namespace that is absent or ending; four namespaces never end."""

from collections.abc import Sequence

from minikube_py.api.core import NAMESPACES
from minikube_py.api.errors import NotFoundError
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
REVIEWS = "authorization.k8s.io"


class NamespaceLifecycle(AdmissionPlugin):
    """Keeps objects and namespaces in step."""

    name = "NamespaceLifecycle"

    def __init__(self, namespaces: Lister) -> None:
        self._namespaces = namespaces

    async def admit(self, admission: Admission) -> Obj | None:
        """Refuse what is to live in a namespace that is not there, or not for long."""
        namespace = admission.namespace
        if admission.operation == "DELETE":
            return admission.obj
        if not namespace or admission.resource is NAMESPACES or admission.resource.group == REVIEWS:
            return admission.obj
        found = self._namespaces.get(Key("", namespace))
        if found is None:
            raise NotFoundError(
                f'namespaces "{namespace}" not found',
                details={"name": namespace, "kind": "namespaces"},
            )
        if admission.operation == "CREATE" and get(found, "status.phase") == "Terminating":
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            text = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            raise forbidden(admission, text, causes=[cause])
        return admission.obj

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Refuse the end of a namespace that the cluster cannot do without."""
        if (
            admission.operation == "DELETE"
            and admission.resource is NAMESPACES
            and admission.name in IMMORTAL
        ):
            raise forbidden(admission, "this namespace may not be deleted")
        return ()
