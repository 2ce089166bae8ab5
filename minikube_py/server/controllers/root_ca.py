"""Every namespace has the config map that pods trust the API server by."""

from collections.abc import Iterator

from minikube_py.api.core import CONFIGMAPS, NAMESPACES
from minikube_py.api.errors import AlreadyExistsError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, evolve, is_deleting
from minikube_py.client.actions import Action, Create, Update
from minikube_py.client.controller import Also, Context, Controller

NAME = "kube-root-ca.crt"
ANNOTATION = "kubernetes.io/description"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one namespace."""
    namespace = ctx.lister(NAMESPACES).get(key)
    found = ctx.lister(CONFIGMAPS).get(Key(key.name, NAME))
    if namespace is None:
        return
    try:
        await ctx.apply(plan(namespace, found, ctx.settings.root_ca))
    except AlreadyExistsError:
        return  # the cache will show it, and what is wrong with it


def plan(namespace: Obj, found: Obj | None, root_ca: str) -> Iterator[Action]:
    """Create the config map where it is missing, mend it where somebody changed it."""
    if is_deleting(namespace):
        return
    data = {"ca.crt": root_ca}
    if found is None:
        metadata = {
            "name": NAME,
            "namespace": namespace["metadata"]["name"],
            "annotations": {ANNOTATION: DESCRIPTION},
        }
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        yield Create(CONFIGMAPS, obj)
    elif found.get("data") != data or annotations_of(found).get(ANNOTATION) != DESCRIPTION:
        annotations = {**annotations_of(found), ANNOTATION: DESCRIPTION}
        noted = evolve(found, "metadata.annotations", annotations)
        yield Update(CONFIGMAPS, evolve(noted, "data", data))


def of_config_map(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look again when the config map was changed or is gone."""
    item = new or old
    if item is not None and item.key.name == NAME:
        yield Key("", item.key.namespace)


CONTROLLER = Controller(
    name="root-ca-cert-publisher",
    watches=NAMESPACES,
    also=(Also(CONFIGMAPS, of_config_map),),
    reconcile=reconcile,
)
