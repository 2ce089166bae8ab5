"""Bindings of validating admission policies: where a policy applies, and with what."""

from collections.abc import Iterator, Sequence

from minikube_py.api import strategy
from minikube_py.api.admissionregistration import matching, policies
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Column, Resource

ACTIONS = frozenset({"Audit", "Deny", "Warn"})


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated binding."""
    yield from policies.validate_binding(new["spec"])
    field = policies.SPEC / "validationActions"
    yield from _validate_actions(new["spec"].get("validationActions") or [], field)


def _validate_actions(actions: Sequence[str], field: Field) -> Iterator[FieldError]:
    for index, action in enumerate(actions):
        if action not in ACTIONS:
            yield field[index].unsupported(action, ACTIONS)
        if action in actions[:index]:
            yield field[index].duplicate(action)
    if "Deny" in actions and "Warn" in actions:
        yield field.invalid(
            list(actions),
            "must not contain both Deny and Warn (repeating the same validation "
            "failure information in the API response and headers serves no purpose)",
        )
    if not actions:
        yield field.required("at least one validation action is required")


VALIDATINGADMISSIONPOLICYBINDINGS = Resource(
    group=matching.GROUP,
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    columns=(NAME, Column("PolicyName"), Column("ParamRef"), AGE),
    cells=policies.binding_cells,
    default=policies.default_binding,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    allow_unconditional_update=False,
)
