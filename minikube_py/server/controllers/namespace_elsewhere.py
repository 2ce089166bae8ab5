"""What other API servers hold of a namespace that is being deleted.

Their kinds are known from what they say of themselves. A server that does not answer holds the
namespace up, because nobody knows what is left in it; one that lives in the namespace itself does
not, because it goes with it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from minikube_py.api.apiregistration import APISERVICES
from minikube_py.api.errors import MethodNotAllowedError, NotFoundError, StatusError
from minikube_py.api.object import Obj, get
from minikube_py.client.controller import Context

NEEDED = frozenset({"list", "delete"})


class Kind(NamedTuple):
    """One kind of objects in namespaces that another server has."""

    group: str
    plural: str
    path: str
    """Of its objects in the namespace."""
    at_once: bool
    """Whether all of them can be deleted with one request."""


def groups_of(namespace: str, ctx: Context) -> Iterator[tuple[str, str]]:
    """Yield group and preferred version of the APIs of other servers."""
    best: dict[str, tuple[int, str]] = {}
    for item in ctx.lister(APISERVICES).items():
        spec = item.obj["spec"]
        if not spec.get("service") or get(spec, "service.namespace") == namespace:
            continue
        found = (int(spec.get("versionPriority") or 0), str(spec["version"]))
        best[spec["group"]] = max(best.get(spec["group"], found), found)
    for group, (_, version) in sorted(best.items()):
        yield group, version


async def kinds_of(namespace: str, ctx: Context) -> tuple[list[Kind], list[str]]:
    """Return the kinds of other servers, and which of these do not say what they have."""
    kinds: list[Kind] = []
    silent: list[str] = []
    for group, version in groups_of(namespace, ctx):
        try:
            listed = await ctx.client.read(f"/apis/{group}/{version}")
        except StatusError as error:
            silent.append(f"{group}/{version}: {error}")
            continue
        kinds += _kinds(listed, group, f"/apis/{group}/{version}/namespaces/{namespace}")
    return kinds, silent


def _kinds(listed: Obj, group: str, path: str) -> Iterator[Kind]:
    for one in listed.get("resources") or ():
        verbs = set(one.get("verbs") or ())
        if one.get("namespaced") and "/" not in one["name"] and verbs >= NEEDED:
            at_once = "deletecollection" in verbs
            yield Kind(group, one["name"], f"{path}/{one['name']}", at_once)


async def delete_kind(kind: Kind, ctx: Context) -> list[Obj]:
    """Delete the objects of a kind; return those that are left.

    Raises:
        StatusError: their server refuses.

    """
    client = ctx.client
    try:
        there = (await client.read(kind.path)).get("items") or []
        if not there:
            return []
        names = [""] if kind.at_once else [f"/{one['metadata']['name']}" for one in there]
        for name in names:
            await client.remove(f"{kind.path}{name}")
        return list((await client.read(kind.path)).get("items") or ())
    except (NotFoundError, MethodNotAllowedError):
        return []
