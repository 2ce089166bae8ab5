"""How many pods there should be, asked of whoever controls the pods of a disruption budget.

A deployment counts once, whatever the number of its replica sets. Kinds that are not named here
are asked for their scale when a budget needs it; where they have none, a percentage of an unknown
number is refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS, STATEFULSETS
from minikube_py.api.core import REPLICATIONCONTROLLERS
from minikube_py.api.object import Obj, controller_of
from minikube_py.api.resource import Resource

SCALED: tuple[Resource, ...] = (
    DEPLOYMENTS,
    REPLICASETS,
    STATEFULSETS,
    REPLICATIONCONTROLLERS,
)
"""The kinds whose `spec.replicas` is the scale."""
Find = Callable[[Resource, str], Obj | None]
"""(kind, uid) -> the object, or None where there is none."""


class ScaleError(Exception):
    """The number of pods that should be cannot be told; the text says why."""


class Scale(NamedTuple):
    """What the controllers of some pods want together."""

    expected: int
    unmanaged: Sequence[str]
    """Names of pods without a controller, which nobody scales."""


def scale_of(pods: Iterable[Obj], find: Find, asked: Mapping[str, int | None]) -> Scale:
    """Add up what the controllers of the pods want.

    `asked` holds what controllers of other kinds say, by uid; None for those that are gone.
    Raises ScaleError where a pod's controller is of a kind without a scale.
    """
    wanted: dict[str, int] = {}
    unmanaged: list[str] = []
    for pod in pods:
        reference = controller_of(pod)
        if reference is None:
            unmanaged.append(pod["metadata"]["name"])
            continue
        if reference["uid"] in asked:
            wanted[reference["uid"]] = asked[reference["uid"]] or 0
            continue
        found = _scaled(reference, find)
        if found is not None:
            wanted[found["metadata"]["uid"]] = int(found["spec"].get("replicas", 1))
    return Scale(sum(wanted.values()), unmanaged)


def others(pods: Iterable[Obj]) -> dict[str, Obj]:
    """Return the controllers of the pods that are of none of our kinds, by uid."""
    references = (ref for pod in pods if (ref := controller_of(pod)) is not None)
    return {ref["uid"]: ref for ref in references if _resource(ref) is None}


def _scaled(reference: Obj, find: Find) -> Obj | None:
    """Return the object that says how many pods like this one there should be."""
    resource = _resource(reference)
    if resource is None:
        group = reference["apiVersion"].rpartition("/")[0]
        name = f"{reference['kind'].lower()}s" + (f".{group}" if group else "")
        raise ScaleError(f"{name} does not implement the scale subresource")
    found = find(resource, reference["uid"])
    if found is None or resource is not REPLICASETS:
        return found
    above = controller_of(found)
    if above is None or _resource(above) is not DEPLOYMENTS:
        return found
    return find(DEPLOYMENTS, above["uid"])


def _resource(reference: Obj) -> Resource | None:
    kind = (reference["apiVersion"].rpartition("/")[0], reference["kind"])
    return next((one for one in SCALED if (one.group, one.kind) == kind), None)
