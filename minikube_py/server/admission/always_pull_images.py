"""Images are pulled for every pod, so that nobody runs one that they may not pull; an option."""

from collections.abc import Sequence
from typing import Any

from minikube_py.api.core import PODS
from minikube_py.api.core.pod_resources import visit_containers
from minikube_py.api.errors import InvalidError
from minikube_py.api.fields import Field, FieldError, invalid_message
from minikube_py.api.object import Obj
from minikube_py.server.attributes import Admission, AdmissionPlugin

ALWAYS = "Always"
GROUPS = ("initContainers", "containers", "ephemeralContainers")


class AlwaysPullImages(AdmissionPlugin):
    """Sets the pull policy of all containers."""

    name = "AlwaysPullImages"
    resources = (PODS,)

    async def admit(self, admission: Admission) -> Obj | None:
        """Set the policy, unless an update changes no image."""
        pod = admission.obj
        if pod is None or not _is_looked_at(admission):
            return pod
        spec: dict[str, Any] = dict(pod["spec"])
        for group in GROUPS:
            if spec.get(group):
                spec[group] = [{**c, "imagePullPolicy": ALWAYS} for c in spec[group]]
        return {**pod, "spec": spec}

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Refuse what a later plugin has undone."""
        if admission.obj is None or not _is_looked_at(admission):
            return ()
        errors = list(_errors(admission.obj))
        if errors:
            raise InvalidError(
                invalid_message("Pod", admission.name, errors),
                details={"name": admission.name, "kind": "Pod"},
                causes=[error.cause() for error in errors],
            )
        return ()


def _errors(pod: Obj) -> Sequence[FieldError]:
    return [
        ((Field("spec") / group)[index] / "imagePullPolicy").unsupported(
            container.get("imagePullPolicy", ""), [ALWAYS]
        )
        for group, index, container in visit_containers(pod["spec"])
        if container.get("imagePullPolicy") != ALWAYS
    ]


def _is_looked_at(admission: Admission) -> bool:
    if admission.resource is not PODS or admission.subresource:
        return False
    if admission.operation == "CREATE":
        return True
    return admission.operation == "UPDATE" and _images(admission.obj) != _images(admission.old)


def _images(pod: Obj | None) -> set[str]:
    found = visit_containers(pod["spec"]) if pod is not None else ()
    return {container.get("image", "") for _, _, container in found}
