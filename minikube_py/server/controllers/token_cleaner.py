"""Bootstrap tokens that are over are deleted."""

from collections.abc import Iterator
from datetime import datetime

from minikube_py.api import times
from minikube_py.api.core import SECRETS
from minikube_py.api.core.secret import text_of
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, is_deleting, uid_of
from minikube_py.client.actions import Delete
from minikube_py.client.controller import Also, Context, Controller

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Delete one token when it is over; look again when it will be."""
    secret = ctx.lister(SECRETS).get(key)
    left = None if secret is None else seconds_left(secret, ctx.now())
    if secret is None or left is None:
        return None
    if left > 0:
        return left
    await ctx.apply([Delete(SECRETS, key, uid_of(secret))])
    return None


def seconds_left(secret: Obj, now: datetime) -> float | None:
    """Return how long a token is good; None where it has no end, 0 where that cannot be read."""
    if secret.get("type") != TYPE or is_deleting(secret):
        return None
    text = text_of(secret, "expiration")
    if not text:
        return None
    try:
        end = times.parse(text)
    except ValueError:
        return 0.0
    return max((end - now).total_seconds(), 0.0)


def of_secret(_old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at a token that is new or was changed."""
    if new is not None and new.key.namespace == NAMESPACE and new.obj.get("type") == TYPE:
        yield new.key


CONTROLLER = Controller(
    name="token-cleaner",
    reconcile=reconcile,
    also=(Also(SECRETS, of_secret),),
    workers=1,
)
