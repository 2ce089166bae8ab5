"""`scale` of custom kinds: replicas and selector stand where the definition says."""

import functools
from dataclasses import replace
from typing import Any

from minikube_py.api import jsonpath
from minikube_py.api.errors import BadRequestError, InternalError, InvalidError
from minikube_py.api.fields import Field, invalid_message
from minikube_py.api.managed_fields_scale import with_parent_owners, with_scale_owners
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.call import Call, Change
from minikube_py.server.registry.hooks import View, Write
from minikube_py.server.registry.store import Store

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


class CustomScale:
    """The scale of any custom kind that has one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, call: Call) -> Obj:
        """Return the scale."""
        obj = (await self._store.read(call.resource, call.namespace, call.name)).obj
        scale = scale_of(call.resource, obj)
        if _at(obj, call.resource.scale_paths["specReplicasPath"]) is None:
            path = call.resource.scale_paths["specReplicasPath"]
            raise missing(path)
        return scale

    async def update(self, call: Call, change: Change) -> Obj:
        """Set the number of replicas."""
        return await self._rescale(call.write("UPDATE"), call, change)

    async def apply(self, call: Call, change: Change) -> Obj:
        """Set the number of replicas, of which an applier says whose it is."""
        return await self._rescale(replace(call.write("UPDATE"), applied=True), call, change)

    async def _rescale(self, write: Write, call: Call, change: Change) -> Obj:
        path: str = call.resource.scale_paths["specReplicasPath"]
        names = jsonpath.names(path) or ()

        def rescale(current: Obj) -> Obj:
            scale = scale_of(call.resource, current)
            wanted = change(with_scale_owners(scale, current, names))
            named = get(wanted, "metadata.name")
            if named and named != call.name:
                raise BadRequestError(
                    f"the name of the object ({named}) does not match the name on the URL "
                    f"({call.name})"
                )
            replicas = get(wanted, "spec.replicas", 0)
            if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
                raise _negative(call, path, replicas)
            scaled = evolve(current, names, replicas)
            version = get(wanted, "metadata.resourceVersion")
            kept = version or current["metadata"]["resourceVersion"]
            scaled = evolve(scaled, "metadata.resourceVersion", kept)
            return with_parent_owners(scaled, wanted, names) if write.applied else scaled

        view = View(
            of=functools.partial(scale_of, call.resource),
            into=lambda scale, obj: evolve(obj, names, get(scale, "spec.replicas", 0)),
        )
        item, _ = await self._store.update(replace(write, view=view), rescale)
        return scale_of(call.resource, item.obj)


def scale_of(resource: Resource, obj: Obj) -> dict[str, Any]:
    """Return the Scale of an object."""
    paths = resource.scale_paths
    replicas = _at(obj, paths["specReplicasPath"])
    status: dict[str, Any] = {"replicas": _at(obj, paths["statusReplicasPath"]) or 0}
    selector = _at(obj, paths.get("labelSelectorPath") or "")
    if selector:
        status["selector"] = selector
    metadata = {key: obj["metadata"][key] for key in _COPIED if key in obj["metadata"]}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _at(obj: Obj, path: str) -> Any:
    keys = jsonpath.names(path) if path else None
    return get(obj, keys) if keys else None


def missing(path: str) -> InternalError:
    """Make the error of an object that does not say its replicas."""
    what = f'the spec replicas field "{path}" does not exist'
    return InternalError(f"Internal error occurred: {what}", causes=[{"message": what}])


def _negative(call: Call, path: str, replicas: Any) -> InvalidError:
    error = Field(path).invalid(replicas, "should be a non-negative integer")
    resource = call.resource
    return InvalidError(
        invalid_message(resource.group_kind, call.name, [error]),
        details={"name": call.name, "group": resource.group, "kind": resource.kind},
        causes=[error.cause()],
    )
