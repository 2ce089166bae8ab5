"""Every namespace has a service account named `default`."""

from collections.abc import Iterator

from minikube_py.api.core import NAMESPACES, SERVICEACCOUNTS
from minikube_py.api.errors import AlreadyExistsError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, is_deleting
from minikube_py.client.actions import Action, Create
from minikube_py.client.controller import Also, Context, Controller

DEFAULT = "default"


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one namespace."""
    namespace = ctx.lister(NAMESPACES).get(key)
    account = ctx.lister(SERVICEACCOUNTS).get(Key(key.name, DEFAULT))
    if namespace is None:
        return
    try:
        await ctx.apply(plan(namespace, account))
    except AlreadyExistsError:
        return  # somebody was quicker


def plan(namespace: Obj, account: Obj | None) -> Iterator[Action]:
    """Create the account where it is missing, unless the namespace is going away."""
    if account is None and not is_deleting(namespace):
        metadata = {"name": DEFAULT, "namespace": namespace["metadata"]["name"]}
        yield Create(
            SERVICEACCOUNTS,
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        )


def of_deleted(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look again when a default account is gone."""
    if new is None and old is not None and old.key.name == DEFAULT:
        yield Key("", old.key.namespace)


CONTROLLER = Controller(
    name="service-account-controller",
    watches=NAMESPACES,
    also=(Also(SERVICEACCOUNTS, of_deleted),),
    reconcile=reconcile,
)
