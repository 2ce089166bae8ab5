"""The kinds of admissionregistration.k8s.io, one file each; `RESOURCES` is all of them."""

from minikube_py.api.admissionregistration.mutatingadmissionpolicy import MUTATINGADMISSIONPOLICIES
from minikube_py.api.admissionregistration.mutatingadmissionpolicybinding import (
    MUTATINGADMISSIONPOLICYBINDINGS,
)
from minikube_py.api.admissionregistration.mutatingwebhookconfiguration import (
    MUTATINGWEBHOOKCONFIGURATIONS,
)
from minikube_py.api.admissionregistration.validatingadmissionpolicy import (
    VALIDATINGADMISSIONPOLICIES,
)
from minikube_py.api.admissionregistration.validatingadmissionpolicybinding import (
    VALIDATINGADMISSIONPOLICYBINDINGS,
)
from minikube_py.api.admissionregistration.validatingwebhookconfiguration import (
    VALIDATINGWEBHOOKCONFIGURATIONS,
)
from minikube_py.api.resource import Resource

RESOURCES: tuple[Resource, ...] = (
    MUTATINGADMISSIONPOLICIES,
    MUTATINGADMISSIONPOLICYBINDINGS,
    MUTATINGWEBHOOKCONFIGURATIONS,
    VALIDATINGADMISSIONPOLICIES,
    VALIDATINGADMISSIONPOLICYBINDINGS,
    VALIDATINGWEBHOOKCONFIGURATIONS,
)

__all__ = [
    "MUTATINGADMISSIONPOLICIES",
    "MUTATINGADMISSIONPOLICYBINDINGS",
    "MUTATINGWEBHOOKCONFIGURATIONS",
    "RESOURCES",
    "VALIDATINGADMISSIONPOLICIES",
    "VALIDATINGADMISSIONPOLICYBINDINGS",
    "VALIDATINGWEBHOOKCONFIGURATIONS",
]
