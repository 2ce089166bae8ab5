"""Bindings of mutating admission policies: where a policy applies, and with what."""

from collections.abc import Iterator

from minikube_py.api import strategy
from minikube_py.api.admissionregistration import matching, policies
from minikube_py.api.admissionregistration.mutatingadmissionpolicy import OPERATIONS
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Column, Resource


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated binding."""
    yield from policies.validate_binding(new["spec"], operations=OPERATIONS)


MUTATINGADMISSIONPOLICYBINDINGS = Resource(
    group=matching.GROUP,
    kind="MutatingAdmissionPolicyBinding",
    plural="mutatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    columns=(NAME, Column("PolicyName"), Column("ParamRef"), AGE),
    cells=policies.binding_cells,
    default=policies.default_binding,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    allow_unconditional_update=False,
    stored_version="v1beta1",
)
