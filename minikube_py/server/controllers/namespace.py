"""Namespaces that are being deleted: empty them, say what is left, let them go.

Pods go first and everything else waits for them, so that nothing that protects a running pod (a
network policy, say) is gone before it. What is left is asked of the server, not of a cache: an
object created in the last moment must not outlive its namespace.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from minikube_py.api.apiregistration import APISERVICES
from minikube_py.api.core import NAMESPACES, PODS
from minikube_py.api.errors import MethodNotAllowedError, NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, evolve, get, is_deleting
from minikube_py.api.resource import Resource
from minikube_py.client.actions import Action, Update, update_status
from minikube_py.client.controller import Context, Controller
from minikube_py.client.everything import is_stored
from minikube_py.server.controllers.namespace_elsewhere import delete_kind, kinds_of
from minikube_py.server.controllers.status import condition, same_status, with_condition

FINALIZER = "kubernetes"
LOOK_SECONDS = 15.0
"""When to ask another server again, which tells nobody of what it deletes; upstream's estimate."""
BACKGROUND = {"propagationPolicy": "Background"}


@dataclass
class Remains:
    """What a pass over the content of a namespace left behind."""

    resources: Counter[str] = field(default_factory=Counter)
    """Objects by resource, as `pods.` or `deployments.apps`."""
    finalizers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    """Servers of other groups that do not say what they have."""
    elsewhere: bool = False
    """Whether another server has something left, of which nobody will tell us."""

    @property
    def nothing(self) -> bool:
        """Whether the namespace is empty for sure."""
        return not self.resources and not self.errors and not self.silent


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Empty one namespace that is being deleted."""
    namespace = ctx.lister(NAMESPACES).get(key)
    if namespace is None or not is_deleting(namespace) or not has_finalizer(namespace):
        return None
    remains = await empty(key.name, ctx)
    await ctx.apply(plan(namespace, remains, ctx))
    if remains.errors or remains.silent:
        raise StatusError("; ".join([*remains.errors, *remains.silent]))
    return LOOK_SECONDS if remains.elsewhere else None


async def empty(namespace: str, ctx: Context) -> Remains:
    """Delete what the namespace holds; pods first, the rest when they are gone."""
    remains = Remains()
    await delete_all(PODS, namespace, ctx, remains)
    if not remains.nothing:
        return remains
    for resource in ctx.everything.scheme:
        if is_emptied(resource) and resource is not PODS:
            await delete_all(resource, namespace, ctx, remains)
    await empty_elsewhere(namespace, ctx, remains)
    return remains


async def empty_elsewhere(namespace: str, ctx: Context, remains: Remains) -> None:
    """Have other API servers delete what they hold of the namespace."""
    kinds, remains.silent = await kinds_of(namespace, ctx)
    for kind in kinds:
        try:
            left = await delete_kind(kind, ctx)
        except StatusError as error:
            remains.errors.append(str(error))
            continue
        if left:
            remains.elsewhere = True
            remains.resources[f"{kind.plural}.{kind.group}"] += len(left)
            held = (name for one in left for name in one["metadata"].get("finalizers") or ())
            remains.finalizers.update(held)


async def delete_all(resource: Resource, namespace: str, ctx: Context, remains: Remains) -> None:
    """Delete all objects of one kind and note what is there afterwards."""
    client = ctx.client
    try:
        if not (await client.list(resource, namespace)).items:
            return
        await client.delete_collection(resource, namespace, options=BACKGROUND)
        left = (await client.list(resource, namespace)).items
    except (NotFoundError, MethodNotAllowedError):
        return  # a custom kind that went meanwhile
    except StatusError as error:
        remains.errors.append(str(error))
        return
    if left:
        remains.resources[f"{resource.plural}.{resource.group}"] += len(left)
        remains.finalizers.update(name for item in left for name in item.finalizers)


def is_emptied(resource: Resource) -> bool:
    """Tell whether objects of that kind live in namespaces and can be deleted."""
    return resource.namespaced and is_stored(resource) and "delete" in resource.verbs


def plan(namespace: Obj, remains: Remains, ctx: Context) -> Iterator[Action]:
    """Say in the status what is left; give up our finalizer where nothing is."""
    conditions = get(namespace, "status.conditions", ())
    for new in conditions_of(remains):
        conditions = with_condition(conditions, new, ctx.now())
    status = {**(namespace.get("status") or {}), "phase": "Terminating", "conditions": conditions}
    if remains.nothing:
        left = [name for name in namespace["spec"]["finalizers"] if name != FINALIZER]
        yield Update(NAMESPACES, evolve(namespace, "spec.finalizers", left), "finalize")
    elif not same_status(namespace.get("status") or {}, status):
        yield update_status(NAMESPACES, evolve(namespace, "status", status))


def conditions_of(remains: Remains) -> Sequence[Obj]:
    """Return the five conditions of a terminating namespace."""
    return (
        _discovery_failure(remains.silent),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        _content_failure(remains.errors),
        _content_remaining(remains.resources),
        _finalizers_remaining(remains.finalizers),
    )


def _discovery_failure(silent: Sequence[str]) -> Obj:
    kind = "NamespaceDeletionDiscoveryFailure"
    if not silent:
        text = "All resources successfully discovered"
        return condition(kind, "False", "ResourcesDiscovered", text)
    text = (
        f"Discovery failed for some groups, {len(silent)} failing: unable to retrieve the complete "
        f"list of server APIs: {', '.join(silent)}"
    )
    return condition(kind, "True", "DiscoveryFailed", text)


def _content_failure(errors: Sequence[str]) -> Obj:
    kind = "NamespaceDeletionContentFailure"
    if not errors:
        text = "All content successfully deleted, may be waiting on finalization"
        return condition(kind, "False", "ContentDeleted", text)
    joined = ", ".join(sorted(errors))
    text = f"Failed to delete all resource types, {len(errors)} remaining: {joined}"
    return condition(kind, "True", "ContentDeletionFailed", text)


def _content_remaining(resources: Counter[str]) -> Obj:
    kind = "NamespaceContentRemaining"
    if not resources:
        return condition(kind, "False", "ContentRemoved", "All content successfully removed")
    parts = sorted(f"{name} has {count} resource instances" for name, count in resources.items())
    text = f"Some resources are remaining: {', '.join(parts)}"
    return condition(kind, "True", "SomeResourcesRemain", text)


def _finalizers_remaining(finalizers: Counter[str]) -> Obj:
    kind = "NamespaceFinalizersRemaining"
    if not finalizers:
        text = "All content-preserving finalizers finished"
        return condition(kind, "False", "ContentHasNoFinalizers", text)
    parts = sorted(f"{name} in {count} resource instances" for name, count in finalizers.items())
    text = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
    return condition(kind, "True", "SomeFinalizersRemain", text)


def has_finalizer(namespace: Obj) -> bool:
    """Tell whether the namespace waits for this controller."""
    return FINALIZER in get(namespace, "spec.finalizers", ())


def of_last_content(
    resource: Resource, old: Item | None, new: Item | None, ctx: Context
) -> Iterator[Key]:
    """Look again when the last object of a kind is gone from a namespace that is going too."""
    if new is not None or old is None or not resource.namespaced:
        return
    key = Key("", old.key.namespace)
    namespace = ctx.lister(NAMESPACES).item(key)
    if namespace is None or not namespace.deleting:
        return
    if ctx.lister(resource).count(key.name) == 0:
        yield key


CONTROLLER = Controller(
    name="namespace-controller",
    watches=NAMESPACES,
    anything=of_last_content,
    reconcile=reconcile,
    workers=10,
    reads=(APISERVICES,),
)
