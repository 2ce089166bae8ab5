"""Secrets of the type service-account-token hold a token, and go with their account.

Nobody's Secrets are made here: who wants a token without an end makes the Secret, and finds the
token, the CA and the namespace in it.
"""

import base64
from collections.abc import Callable, Iterator

from minikube_py.api.core import SECRETS, SERVICEACCOUNTS
from minikube_py.api.core.secret import (
    OF_SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_NAME,
    SERVICE_ACCOUNT_UID,
)
from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, is_deleting, uid_of
from minikube_py.client.actions import Action, Delete, Update
from minikube_py.client.controller import Also, Context, Controller


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one Secret."""
    secret = ctx.lister(SECRETS).get(key)
    sign = ctx.settings.legacy_token
    if secret is None or sign is None or not is_token(secret) or is_deleting(secret):
        return
    account = await account_of(secret, ctx)
    if account is None:
        await ctx.apply([Delete(SECRETS, key, uid_of(secret))])
        return
    found = account
    await ctx.apply(plan(secret, account, ctx.settings.root_ca, lambda: sign(secret, found)))


async def account_of(secret: Obj, ctx: Context) -> Obj | None:
    """Return the account that a Secret is of; the server is asked before a Secret is given up."""
    name, uid = (
        annotations_of(secret)[SERVICE_ACCOUNT_NAME],
        annotations_of(secret).get(SERVICE_ACCOUNT_UID, ""),
    )
    namespace = secret["metadata"]["namespace"]
    account = ctx.lister(SERVICEACCOUNTS).get(Key(namespace, name))
    if account is None or (uid and uid != uid_of(account)):
        try:
            account = await ctx.client.get(SERVICEACCOUNTS, name, namespace)
        except NotFoundError:
            return None
    return account if uid in ("", uid_of(account)) else None


def plan(secret: Obj, account: Obj, root_ca: str, sign: Callable[[], str]) -> Iterator[Action]:
    """Fill in what is missing; a token that is there stays, a CA that changed does not."""
    data: dict[str, str] = dict(secret.get("data") or {})
    namespace = secret["metadata"]["namespace"]
    if root_ca and data.get("ca.crt") != encoded(root_ca):
        data["ca.crt"] = encoded(root_ca)
    if not data.get("namespace"):
        data["namespace"] = encoded(namespace)
    if not data.get("token"):
        data["token"] = encoded(sign())
    notes = {
        **annotations_of(secret),
        SERVICE_ACCOUNT_NAME: account["metadata"]["name"],
        SERVICE_ACCOUNT_UID: uid_of(account),
    }
    if data == (secret.get("data") or {}) and notes == annotations_of(secret):
        return
    metadata = {**secret["metadata"], "annotations": notes}
    yield Update(SECRETS, {**secret, "metadata": metadata, "data": data})


def encoded(text: str) -> str:
    """Return a text as Secrets hold it."""
    return base64.b64encode(text.encode()).decode()


def is_token(secret: Obj) -> bool:
    """Tell whether a Secret is to hold an account's token."""
    return secret.get("type") == OF_SERVICE_ACCOUNT and bool(
        annotations_of(secret).get(SERVICE_ACCOUNT_NAME)
    )


def of_secret(_old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at a Secret that is new or was changed."""
    if new is not None and is_token(new.obj):
        yield new.key


def of_account(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the Secrets of an account that came or went."""
    if old is not None and new is not None:
        return
    item = new or old
    if item is None:
        return
    for secret in ctx.lister(SECRETS).items(item.key.namespace):
        named = annotations_of(secret.obj).get(SERVICE_ACCOUNT_NAME)
        if is_token(secret.obj) and named == item.key.name:
            yield secret.key


CONTROLLER = Controller(
    name="tokens-controller",
    user="system:kube-controller-manager",
    reconcile=reconcile,
    also=(Also(SECRETS, of_secret), Also(SERVICEACCOUNTS, of_account)),
)
