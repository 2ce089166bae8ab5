"""Priority classes: names for the importance of pods."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

USER_PRIORITY_MAX = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLUSTER_CRITICAL = "system-cluster-critical"
SYSTEM_NODE_CRITICAL = "system-node-critical"
SYSTEM_PRIORITIES = {SYSTEM_CLUSTER_CRITICAL: 2_000_000_000, SYSTEM_NODE_CRITICAL: 2_000_001_000}
"""The classes that every cluster has; nothing of a user's goes before their pods."""
SYSTEM_DESCRIPTIONS = {
    SYSTEM_NODE_CRITICAL: (
        "Used for system critical pods that must not be moved from their current node."
    ),
    SYSTEM_CLUSTER_CRITICAL: (
        "Used for system critical pods that must run in the cluster, but can be moved to another "
        "node if necessary."
    ),
}
PREEMPT = "PreemptLowerPriority"
NEVER = "Never"


def default(pc: Obj) -> Obj:
    """Fill in what the user left out."""
    pc = strategy.without_empty(pc, "globalDefault", "description")
    return strategy.with_absent(pc, {"value": 0, "preemptionPolicy": PREEMPT})


def prepare_for_update(new: Obj, _old: Obj) -> Obj:
    """Keep the generation at 1: nothing that it counts can change."""
    return strategy.with_generation(new, 1)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated class; value and policy never change."""
    if old is not None:
        if new["value"] != old["value"]:
            yield Field("value").forbidden("may not be changed in an update.")
        policy = new.get("preemptionPolicy")
        yield from strategy.immutable(
            policy, old.get("preemptionPolicy"), Field("preemptionPolicy")
        )
        return
    name, value = new["metadata"].get("name", ""), new["value"]
    if name.startswith(SYSTEM_PREFIX):
        yield from _validate_system(new)
    elif value > USER_PRIORITY_MAX:
        yield Field("value").forbidden(
            f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        )
    if new["preemptionPolicy"] not in {PREEMPT, NEVER}:
        yield Field("preemptionPolicy").unsupported(new["preemptionPolicy"], (PREEMPT, NEVER))


def _validate_system(pc: Obj) -> Iterator[FieldError]:
    """Let the server make its own classes and nobody else one of such a name."""
    name, error = pc["metadata"]["name"], ""
    if name not in SYSTEM_PRIORITIES:
        error = f"{name} is not a known system priority class"
    elif pc["value"] != SYSTEM_PRIORITIES[name]:
        error = f"value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}"
    elif pc.get("globalDefault"):
        error = f"globalDefault of {name} must be false"
    if error:
        yield (Field("metadata") / "name").forbidden(
            "priority class names with 'system-' prefix are reserved for system use only. "
            f"error: {error}"
        )


def cells(pc: Obj) -> Sequence[Any]:
    """Return the cells of a priority class' row."""
    return (
        pc["metadata"]["name"],
        pc["value"],
        bool(pc.get("globalDefault")),
        Age(get(pc, "metadata.creationTimestamp")),
        pc.get("preemptionPolicy", ""),
    )


PRIORITYCLASSES = Resource(
    group="scheduling.k8s.io",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    short_names=("pc",),
    schema="io.k8s.api.scheduling.v1.PriorityClass",
    columns=(
        NAME,
        Column("Value", "integer"),
        Column("Global-Default", "boolean"),
        AGE,
        Column("PreemptionPolicy"),
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=prepare_for_update,
    validate=validate,
)
