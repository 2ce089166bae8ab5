"""Tokens without an end that were made by themselves and that nobody uses end after all.

Clusters of old made a Secret with a token for every account. One that was not used for a year, and
that no pod mounts, is marked invalid; a year after that it is deleted. Whoever still needs it takes
the label off. Secrets that somebody made on purpose are not touched: no account lists them.
"""

from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from typing import Final

from minikube_py.api import times
from minikube_py.api.core import CONFIGMAPS, PODS, SECRETS, SERVICEACCOUNTS
from minikube_py.api.core.pod_references import references_of
from minikube_py.api.core.secret import (
    INVALID_SINCE,
    LAST_USED,
    OF_SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_NAME,
    SERVICE_ACCOUNT_UID,
    USE_TRACKING,
)
from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, annotations_of, get, is_deleting, labels_of, uid_of
from minikube_py.client.actions import Action, Delete, Patch
from minikube_py.client.controller import Also, Context, Controller

UNUSED: Final = timedelta(days=365)
"""`--legacy-service-account-token-clean-up-period` of kube-controller-manager."""
LOOK_SECONDS: Final = 24 * 3600.0
"""Labels hold days, so that a day decides."""


async def reconcile(key: Key, ctx: Context) -> float | None:
    """See to one Secret, once a day for as long as an account lists it."""
    secret = ctx.lister(SECRETS).get(key)
    if secret is None or not is_generated(secret, _account(secret, ctx)):
        return None
    before = ctx.now() - UNUSED
    if before < await _tracked_since(ctx):
        return LOOK_SECONDS
    pods = ctx.lister(PODS).items(key.namespace)
    mounted = {name for pod in pods for name in references_of(pod.obj).secrets}
    await ctx.apply(plan(secret, mounted, ctx.now()))
    return LOOK_SECONDS


def _account(secret: Obj, ctx: Context) -> Obj | None:
    notes = annotations_of(secret)
    key = Key(secret["metadata"]["namespace"], notes.get(SERVICE_ACCOUNT_NAME, ""))
    return ctx.lister(SERVICEACCOUNTS).get(key)


async def _tracked_since(ctx: Context) -> datetime:
    """Return since when each use is noted; the end of time where nobody says."""
    try:
        found = await ctx.client.get(CONFIGMAPS, USE_TRACKING, "kube-system")
    except NotFoundError:
        return datetime.max.replace(tzinfo=ctx.now().tzinfo)
    since = day_of(get(found, "data.since", ""))
    last = date.max if since is None else since + timedelta(days=1)
    return datetime(last.year, last.month, last.day, tzinfo=ctx.now().tzinfo)


def is_generated(secret: Obj, account: Obj | None) -> bool:
    """Tell whether a Secret holds a token that was made by itself for that account."""
    if secret.get("type") != OF_SERVICE_ACCOUNT or account is None:
        return False
    uid = annotations_of(secret).get(SERVICE_ACCOUNT_UID, "")
    listed = account.get("secrets") or ()
    name = secret["metadata"]["name"]
    return uid in ("", uid_of(account)) and any(one.get("name") == name for one in listed)


def plan(secret: Obj, mounted: Collection[str], now: datetime) -> Iterator[Action]:
    """Mark a token that nobody uses, and delete one that has been marked for long."""
    before = now - UNUSED
    key = Key(secret["metadata"]["namespace"], secret["metadata"]["name"])
    created = times.parse(secret["metadata"]["creationTimestamp"])
    if is_deleting(secret) or created >= before or key.name in mounted:
        return
    labels = labels_of(secret)
    if LAST_USED in labels:
        used = day_of(labels[LAST_USED])
        if used is None or used >= before.date():
            return
    since = day_of(labels.get(INVALID_SINCE, ""))
    if since is None:
        marked = {INVALID_SINCE: f"{now:%Y-%m-%d}"}
        metadata = {"uid": uid_of(secret), "labels": marked}
        yield Patch(SECRETS, key, {"metadata": metadata}, missing_ok=True)
    elif since < before.date():
        version = secret["metadata"]["resourceVersion"]
        options = {"preconditions": {"resourceVersion": version}}
        yield Delete(SECRETS, key, uid_of(secret), options=options)


def day_of(text: str) -> date | None:
    """Return the day that a label names; None where it names none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def of_secret(_old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at a token that is new or was changed."""
    if new is not None and new.obj.get("type") == OF_SERVICE_ACCOUNT:
        yield new.key


CONTROLLER = Controller(
    name="legacy-service-account-token-cleaner",
    reconcile=reconcile,
    also=(Also(SECRETS, of_secret),),
    reads=(SERVICEACCOUNTS, PODS),
    workers=1,
)
