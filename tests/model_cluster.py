"""An API server in a dictionary: the model that controllers are run against.

It keeps to the rules that controllers rest on (revisions, conflicts, generations, the status
subresource, finalizers, graceful deletion, propagation policies, terminating namespaces, watches
without gaps) and to nothing else. Objects it hands out are frozen: a mutation raises.
"""

import asyncio
import bisect
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import orjson

from minikube_py.api import selectors, times
from minikube_py.api.core import NAMESPACES
from minikube_py.api.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from minikube_py.api.item import Item
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Key, Obj, evolve, get, key_of, without
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import ItemList, PatchType, WatchEvent, bookmark
from minikube_py.lib.clock import Clock
from minikube_py.server.apiserver.endpoints.scale import scale_of
from minikube_py.server.apiserver.request import parse
from tests.frozen import freeze

POLICY_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}
GRACE_SECONDS = 30


class FrozenItem(Item):
    """An item whose parsed form raises when somebody changes it."""

    __slots__ = ("_frozen",)

    def __init__(self, obj: Obj, resource: Resource) -> None:
        revision = int(obj["metadata"]["resourceVersion"])
        super().__init__(obj, orjson.dumps(obj), revision, resource.selected(obj))
        self._frozen = freeze(obj)

    @property
    def obj(self) -> Obj:
        return self._frozen


def _nothing_there(path: str, query: Mapping[str, str]) -> Obj:
    del path, query
    raise NotFoundError("the server could not find the requested resource")


class ModelCluster:
    """The state, and one client for everybody; `requests` tells who asked for what."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.revision = 1
        self.oldest = 0
        self.requests: list[tuple[str, str, str, Key]] = []
        self.refuse: Callable[[str, str, Resource, Obj | None], None] = lambda *_: None
        """(user, verb, resource, obj): raises a StatusError to refuse a write."""
        self.read: Callable[[str, Mapping[str, str]], Obj] = _nothing_there
        self.remove_elsewhere: Callable[[str], None] = lambda path: None
        """(path, query) -> the document that other API servers have there."""
        self.lag: Callable[[Resource], float] = lambda _: 0.0
        """How many seconds watches of a kind are behind."""
        self._tables: dict[str, dict[Key, FrozenItem]] = {}
        self._log: dict[str, list[WatchEvent]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._numbers = itertools.count(1)

    def client(self, user: str = "admin") -> "ModelClient":
        return ModelClient(self, user)

    def table(self, resource: Resource) -> dict[Key, FrozenItem]:
        return self._tables.setdefault(resource.path(), {})

    def objects(self, resource: Resource, namespace: str = "") -> list[Obj]:
        items = self.table(resource).values()
        return [item.obj for item in items if namespace in ("", item.key.namespace)]

    def compact(self) -> None:
        """Forget the history: whoever watches from an older revision must list again."""
        self.oldest = self.revision
        for path in tuple(self._news):
            self._tell(path)

    def log(self, resource: Resource) -> list[WatchEvent]:
        return self._log.setdefault(resource.path(), [])

    def news(self, resource: Resource) -> asyncio.Event:
        return self._news.setdefault(resource.path(), asyncio.Event())

    def write(self, resource: Resource, obj: Obj) -> Obj:
        """Store an object at the next revision, or remove it where nothing holds it any more."""
        if _is_finished(obj, resource):
            return self.remove(resource, obj)
        return self._publish(resource, obj, deleted=False)

    def remove(self, resource: Resource, obj: Obj) -> Obj:
        return self._publish(resource, obj, deleted=True)

    def _publish(self, resource: Resource, obj: Obj, *, deleted: bool) -> Obj:
        self.revision += 1
        obj = evolve(obj, "metadata.resourceVersion", str(self.revision))
        item = FrozenItem(obj, resource)
        table = self.table(resource)
        if deleted:
            table.pop(item.key, None)
            kind = "DELETED"
        else:
            kind = "MODIFIED" if item.key in table else "ADDED"
            table[item.key] = item
        self.log(resource).append(WatchEvent(kind, item))
        self._tell(resource.path())
        return item.obj

    def _tell(self, path: str) -> None:
        news = self._news.pop(path, None)
        if news is not None:
            news.set()

    def number(self) -> int:
        return next(self._numbers)

    def now(self) -> str:
        return times.now_string(self.clock)


def _is_finished(obj: Obj, resource: Resource) -> bool:
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if resource.plural == "namespaces":
        return not get(obj, "spec.finalizers")
    return metadata.get("deletionGracePeriodSeconds", 0) == 0


def _with_other_conditions(old: Obj, patch: Obj) -> Obj:
    """Conditions are merged by type; that is all that is known here of strategic patches."""
    conditions = get(patch, "status.conditions")
    if conditions is None:
        return patch
    types = {one["type"] for one in conditions}
    others = [one for one in get(old, "status.conditions", ()) if one["type"] not in types]
    return evolve(patch, "status.conditions", [*others, *conditions])


class ModelClient:
    """The Client protocol over a model cluster, as one user."""

    def __init__(self, cluster: ModelCluster, user: str) -> None:
        self.cluster = cluster
        self.user = user

    def _note(self, verb: str, resource: Resource, key: Key, obj: Obj | None = None) -> None:
        self.cluster.requests.append((self.user, verb, resource.group_resource, key))
        self.cluster.refuse(self.user, verb, resource, obj)

    def _found(self, resource: Resource, key: Key) -> Obj:
        item = self.cluster.table(resource).get(key)
        if item is None:
            raise NotFoundError(f'{resource.group_resource} "{key.name}" not found')
        return item.obj

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return self._found(resource, Key(namespace, name))

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Obj:
        await asyncio.sleep(0)
        self.cluster.requests.append((self.user, "read", path, Key("", "")))
        info = parse("GET", path, query or {})
        if info.subresource != "scale":
            return self.cluster.read(path, query or {})
        kinds = (r for r in BUILTIN if (r.group, r.plural) == (info.group, info.plural))
        return scale_of(self._found(next(kinds), Key(info.namespace, info.name)))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> ItemList:
        await asyncio.sleep(0)
        matches = _matcher(label_selector, field_selector)
        items = [
            item
            for item in self.cluster.table(resource).values()
            if namespace in ("", item.key.namespace) and matches(item)
        ]
        return ItemList(items, self.cluster.revision)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        revision: int,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[Sequence[WatchEvent], None]:
        cluster = self.cluster
        matches = _matcher(label_selector, field_selector)
        while True:
            if revision < cluster.oldest:
                raise ExpiredError(f"too old resource version: {revision} ({cluster.oldest})")
            news = cluster.news(resource)
            log = cluster.log(resource)
            start = bisect.bisect_right(log, revision, key=lambda event: event.item.revision)
            batch = log[start:]
            if batch:
                if (behind := cluster.lag(resource)) > 0:
                    await asyncio.sleep(behind)
                revision = batch[-1].item.revision
                found = [
                    event
                    for event in batch
                    if namespace in ("", event.item.key.namespace) and matches(event.item)
                ]
                yield found or [bookmark(revision)]
            else:
                await news.wait()

    async def remove(self, path: str) -> None:
        await asyncio.sleep(0)
        self.cluster.requests.append((self.user, "remove", path, Key("", "")))
        self.cluster.remove_elsewhere(path)

    async def create(
        self, resource: Resource, obj: Obj, *, subresource: str = "", name: str = ""
    ) -> Obj:
        await asyncio.sleep(0)
        cluster = self.cluster
        namespace = obj["metadata"].get("namespace", "") if resource.namespaced else ""
        self._note("create", resource, Key(namespace, name), obj)
        if resource.plural.endswith("reviews"):
            return {**obj, "status": {"allowed": True}}
        if subresource == "binding":
            return self._bind(resource, Key(namespace, name), obj)
        metadata: dict[str, Any] = dict(obj["metadata"])
        if not metadata.get("name"):
            metadata["name"] = f"{metadata['generateName']}{cluster.number():05d}"
        key = Key(namespace, metadata["name"])
        self._check_namespace(resource, key)
        if key in cluster.table(resource):
            raise AlreadyExistsError(f'{resource.group_resource} "{key.name}" already exists')
        metadata["uid"] = f"uid-{cluster.number()}"
        metadata["creationTimestamp"] = cluster.now()
        metadata["generation"] = 1
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        obj = resource.prepare_for_create(resource.default({**kind, **obj, "metadata": metadata}))
        self._validate(resource, obj, None)
        if resource.plural == "namespaces":
            obj = {**obj, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        return cluster.write(resource, obj)

    def _validate(self, resource: Resource, new: Obj, old: Obj | None) -> None:
        """Hold controllers, but not tests, to the rules of the kind."""
        if self.user.endswith("-controller"):
            errors = [str(error) for error in resource.validate(new, old)]
            if errors:
                raise InvalidError("; ".join(errors))

    def _check_namespace(self, resource: Resource, key: Key) -> None:
        if not resource.namespaced:
            return
        namespace = self.cluster.table(NAMESPACES).get(Key("", key.namespace))
        if namespace is not None and namespace.deleting:
            raise ForbiddenError(
                f'{resource.group_resource} "{key.name}" is forbidden: unable to create new '
                f"content in namespace {key.namespace} because it is being terminated",
                causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}],
            )

    def _bind(self, resource: Resource, key: Key, binding: Obj) -> Obj:
        pod = self._found(resource, key)
        if get(pod, "spec.nodeName"):
            raise ConflictError(f'pod {key.name} is already assigned to node "{key.name}"')
        pod = evolve(pod, "spec.nodeName", binding["target"]["name"])
        others = [c for c in get(pod, "status.conditions", ()) if c["type"] != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True"}
        scheduled["lastTransitionTime"] = self.cluster.now()
        self.cluster.write(resource, evolve(pod, "status.conditions", [*others, scheduled]))
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        await asyncio.sleep(0)
        verb = f"update/{subresource}" if subresource else "update"
        self._note(verb, resource, key_of(obj), obj)
        return self._update(resource, obj, subresource)

    def _update(self, resource: Resource, obj: Obj, subresource: str) -> Obj:
        old = self._found(resource, key_of(obj))
        version = obj["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise ConflictError(
                f'Operation cannot be fulfilled on {resource.group_resource} "{key_of(old).name}":'
                " the object has been modified; please apply your changes to the latest version"
                " and try again"
            )
        new = self._prepared(resource, obj, old, subresource)
        metadata = dict(new["metadata"])
        for name in ("uid", "creationTimestamp", "deletionTimestamp", "resourceVersion"):
            metadata.pop(name, None)
            if name in old["metadata"]:
                metadata[name] = old["metadata"][name]
        new = {**new, "metadata": metadata}
        if _plain(new) == _plain(old):
            return old
        self._validate(resource, new, old)
        return self.cluster.write(resource, new)

    def _prepared(self, resource: Resource, new: Obj, old: Obj, subresource: str) -> Obj:
        """Keep of the old object what this endpoint does not write."""
        if subresource == "scale":
            return evolve(old, "spec.replicas", get(new, "spec.replicas"))
        if subresource == "finalize":
            return evolve(old, "spec.finalizers", get(new, "spec.finalizers", ()))
        sub = resource.subresource(subresource) if subresource else None
        if subresource in ("status", "approval"):
            new = {**old, "metadata": new["metadata"], "status": new.get("status", {})}
        elif resource.subresource("status") is not None:
            kept = {"status": old["status"]} if "status" in old else {}
            new = {**without(new, "status"), **kept}
        prepare = (sub and sub.prepare_for_update) or resource.prepare_for_update
        return prepare(resource.default(new), old)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Obj:
        await asyncio.sleep(0)
        verb = f"patch/{subresource}" if subresource else "patch"
        self._note(verb, resource, Key(namespace, name), patch)
        old = self._found(resource, Key(namespace, name))
        for guard in ("uid", "resourceVersion"):
            value = get(patch, f"metadata.{guard}")
            if value and value != old["metadata"][guard]:
                raise ConflictError(f"Precondition failed: {guard} in precondition")
        if patch_type == "strategic":
            patch = _with_other_conditions(old, patch)
        return self._update(resource, merge(old, patch), subresource)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Obj | None = None
    ) -> Obj:
        await asyncio.sleep(0)
        key = Key(namespace, name)
        self._note("delete", resource, key)
        return self._delete(resource, self._found(resource, key), options or {})

    def _delete(self, resource: Resource, obj: Obj, options: Obj) -> Obj:
        for name, value in get(options, "preconditions", {}).items():
            if value != obj["metadata"][name]:
                raise ConflictError(f"Precondition failed: {name} in precondition")
        metadata = dict(obj["metadata"])
        finalizer = POLICY_FINALIZERS.get(options.get("propagationPolicy", ""))
        if finalizer and finalizer not in metadata.get("finalizers", ()):
            metadata["finalizers"] = [*metadata.get("finalizers", ()), finalizer]
        grace = _grace(resource, obj, options)
        if resource.graceful_deletion:
            before = metadata.get("deletionGracePeriodSeconds", grace)
            metadata["deletionGracePeriodSeconds"] = min(grace, before)
        metadata.setdefault("deletionTimestamp", self.cluster.now())
        new: dict[str, Any] = {**obj, "metadata": metadata}
        if resource.plural == "namespaces":
            new = evolve(new, "status.phase", "Terminating")
        if new == obj:
            return obj
        return self.cluster.write(resource, new)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: Obj | None = None,
    ) -> None:
        self._note("deletecollection", resource, Key(namespace, ""))
        listed = await self.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )
        for item in listed.items:
            self._delete(resource, item.obj, options or {})


def _plain(obj: Obj) -> Any:
    return orjson.loads(orjson.dumps(obj))


def _grace(resource: Resource, obj: Obj, options: Obj) -> int:
    if not resource.graceful_deletion or not get(obj, "spec.nodeName"):
        return 0
    if get(obj, "status.phase") in ("Succeeded", "Failed"):
        return 0
    default = get(obj, "spec.terminationGracePeriodSeconds", GRACE_SECONDS)
    return int(options.get("gracePeriodSeconds", default))


def _matcher(label_selector: str, field_selector: str) -> Callable[[Item], bool]:
    selector = selectors.parse(label_selector)
    terms = [term.split("=", 1) for term in field_selector.split(",") if term]

    def matches(item: Item) -> bool:
        fields = {"metadata.name": item.key.name, **item.fields}
        return selector.matches(item.labels) and all(fields[key] == value for key, value in terms)

    return matches


def merge(old: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    base = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merge(base.get(key), value)
    return base
