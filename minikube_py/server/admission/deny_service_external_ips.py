"""Services take no addresses that are not theirs (CVE-2020-8554); an option."""

from collections.abc import Sequence

from minikube_py.api.core import SERVICES
from minikube_py.api.object import get
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin


class DenyServiceExternalIPs(AdmissionPlugin):
    """Lets nobody add external addresses to a Service; those that are there may stay."""

    name = "DenyServiceExternalIPs"
    resources = (SERVICES,)

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Refuse addresses that the Service did not have."""
        service = admission.obj
        if service is None or admission.resource is not SERVICES or admission.subresource:
            return ()
        if admission.operation not in ("CREATE", "UPDATE"):
            return ()
        before = get(admission.old, "spec.externalIPs", ()) if admission.old is not None else ()
        if not set(get(service, "spec.externalIPs", ())) <= set(before):
            raise forbidden(admission, "Use of external IPs is denied by admission control")
        return ()
