"""Validating admission policies are told what their expressions get wrong about kinds.

Each generation of a policy is looked at once; `status.observedGeneration` says which.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from minikube_py.api.admissionregistration import VALIDATINGADMISSIONPOLICIES, type_checking
from minikube_py.api.admissionregistration.type_checking import Find, Kind
from minikube_py.api.apiextensions import CUSTOMRESOURCEDEFINITIONS, custom
from minikube_py.api.cel.types import Type
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Key, Obj, get
from minikube_py.api.resource import Resource
from minikube_py.client.actions import Action, update_status
from minikube_py.client.controller import Context, Controller


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one policy."""
    policy = ctx.lister(VALIDATINGADMISSIONPOLICIES).get(key)
    if policy is not None:
        definitions = ctx.lister(CUSTOMRESOURCEDEFINITIONS).items()
        await ctx.apply(plan(policy, (item.obj for item in definitions)))


def plan(policy: Obj, definitions: Iterable[Obj]) -> Iterator[Action]:
    """Write down what a generation gets wrong, unless that has been done."""
    generation = policy["metadata"].get("generation", 0)
    if generation <= (get(policy, "status.observedGeneration") or 0):
        return
    resources = tuple(_resources(policy, definitions))
    params = _params(policy, resources)
    found = type_checking.warnings(policy, _finder(resources), params)
    checking: dict[str, Any] = {"expressionWarnings": found} if found else {}
    status = {
        **(policy.get("status") or {}),
        "observedGeneration": generation,
        "typeChecking": checking,
    }
    yield update_status(VALIDATINGADMISSIONPOLICIES, {**policy, "status": status})


def _resources(policy: Obj, definitions: Iterable[Obj]) -> Iterator[Resource]:
    """Yield the kinds that a policy may be about."""
    rules = get(policy, "spec.matchConstraints.resourceRules") or ()
    groups = {group for rule in rules for group in rule.get("apiGroups") or ()}
    groups.add(get(policy, "spec.paramKind.apiVersion", "").rpartition("/")[0])
    yield from (resource for resource in BUILTIN if resource.group in groups)
    for crd in definitions:
        if crd["spec"]["group"] in groups and get(crd, "status.acceptedNames.kind"):
            yield from custom.resources(crd)


def _finder(resources: Iterable[Resource]) -> Find:
    known = {(each.group, each.version, each.plural): each for each in resources}

    def find(group: str, version: str, plural: str) -> Kind | None:
        resource = known.get((group, version, plural))
        if resource is None or resource.type is None:
            return None
        return Kind(group, version, resource.kind, type_checking.type_of(resource.type))

    return find


def _params(policy: Obj, resources: Iterable[Resource]) -> Type | None:
    kind = get(policy, "spec.paramKind")
    for resource in resources if kind is not None else ():
        named = (resource.api_version, resource.kind) == (kind["apiVersion"], kind["kind"])
        if named and resource.type is not None:
            return type_checking.type_of(resource.type)
    return None


CONTROLLER = Controller(
    name="validatingadmissionpolicy-status-controller",
    watches=VALIDATINGADMISSIONPOLICIES,
    reads=(CUSTOMRESOURCEDEFINITIONS,),
    reconcile=reconcile,
    workers=1,
)
