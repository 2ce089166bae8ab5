"""A cluster role with an aggregationRule has the rules of all roles that its selectors match.

The roles admin, edit and view are made of others this way, and so that custom kinds can add theirs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from minikube_py.api import selectors
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, labels_of
from minikube_py.api.rbac import CLUSTERROLES
from minikube_py.client.actions import Action, Update
from minikube_py.client.controller import Also, Context, Controller


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one role."""
    roles = ctx.lister(CLUSTERROLES)
    role = roles.get(key)
    if role is not None and get(role, "aggregationRule") is not None:
        await ctx.apply(plan(role, (item.obj for item in roles.items())))


def plan(role: Obj, roles: Iterable[Obj]) -> Iterator[Action]:
    """Write the rules where they are not what the other roles make them."""
    wanted = aggregated(role, roles)
    if wanted != list(role.get("rules") or ()):
        yield Update(CLUSTERROLES, {**role, "rules": wanted})


def aggregated(role: Obj, roles: Iterable[Obj]) -> list[Any]:
    """Return the rules of all roles that match, by selector and name, each rule once."""
    wanted = get(role, "aggregationRule.clusterRoleSelectors", ())
    own = role["metadata"]["name"]
    others = sorted(
        (r for r in roles if r["metadata"]["name"] != own), key=lambda r: str(r["metadata"]["name"])
    )
    rules: list[Any] = []
    for selector in map(selectors.from_object, wanted):
        for other in others:
            if selector.matches(labels_of(other)):
                rules.extend(rule for rule in other.get("rules") or () if rule not in rules)
    return rules


def of_any_role(_old: Item | None, _new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at every aggregated role when any role changes: there are few of them."""
    for item in ctx.lister(CLUSTERROLES).items():
        if b'"aggregationRule"' in item.data:
            yield item.key


CONTROLLER = Controller(
    name="clusterrole-aggregation-controller",
    watches=CLUSTERROLES,
    also=(Also(CLUSTERROLES, of_any_role),),
    reconcile=reconcile,
    workers=1,
)
