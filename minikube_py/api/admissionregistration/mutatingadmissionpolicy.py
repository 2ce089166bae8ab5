"""Mutating admission policies: changes to requests, written in CEL."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.admissionregistration import expressions, matching, policies
from minikube_py.api.admissionregistration.expressions import Composition
from minikube_py.api.admissionregistration.policies import SPEC
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Column, Resource

PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
"""Types of mutations and the field that holds the expression of each."""
REINVOCATION = frozenset({"IfNeeded", "Never"})


OPERATIONS = frozenset({"*", "CONNECT", "CREATE", "UPDATE"})
"""What a mutating policy may match: there is nothing to change in what is deleted."""


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated policy."""
    spec = new["spec"]
    composition = Composition(params=spec.get("paramKind") is not None, patches=True)
    yield from policies.validate_policy(
        spec, composition, old and old["spec"], operations=OPERATIONS
    )
    mutations = spec.get("mutations") or ()
    if not mutations:
        yield (SPEC / "mutations").required("mutations must contain at least one item")
    for index, mutation in enumerate(mutations):
        yield from _validate_mutation(mutation, composition, (SPEC / "mutations")[index])
    again = spec.get("reinvocationPolicy", "")
    if not again:
        yield (SPEC / "reinvocationPolicy").required()
    elif again not in REINVOCATION:
        yield (SPEC / "reinvocationPolicy").unsupported(again, REINVOCATION)


def _validate_mutation(
    mutation: Obj, composition: Composition, field: Field
) -> Iterator[FieldError]:
    kind = mutation.get("patchType", "")
    own = PATCHES.get(kind)
    if own is None:
        if not kind:
            yield (field / "patchType").required()
        else:
            yield (field / "patchType").unsupported(kind, frozenset(PATCHES))
        return
    where = field / own
    if mutation.get(own) is None:
        yield where.required(f"must be specified when patchType is {kind}")
    else:
        yield from _validate_patch(mutation[own], own, composition, where / "expression")
    for other in PATCHES.values():
        if other != own and mutation.get(other) is not None:
            yield (field / other).invalid(
                f"{{{other}}}", f"must not be specified when patchType is {kind}"
            )


def _validate_patch(
    patch: Obj, kind: str, composition: Composition, field: Field
) -> Iterator[FieldError]:
    text = patch.get("expression", "").strip()
    if not text:
        yield field.required()
        return
    returns = (expressions.PATCH_RESULTS[kind],)
    yield from expressions.problems(text, composition.variables(), returns, field, patches=True)


def cells(policy: Obj) -> Sequence[Any]:
    """Return the cells of a policy's row."""
    return policies.policy_cells(policy, "mutations")


MUTATINGADMISSIONPOLICIES = Resource(
    group=matching.GROUP,
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    columns=(NAME, Column("Mutations", "integer"), Column("ParamKind"), AGE),
    cells=cells,
    default=policies.default_policy,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    allow_unconditional_update=False,
    stored_version="v1beta1",
)
