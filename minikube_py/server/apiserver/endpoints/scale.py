"""`scale`: how many replicas a workload wants and has, in one form for all workloads."""

from dataclasses import replace
from typing import Any

from minikube_py.api import selectors
from minikube_py.api.errors import BadRequestError, InvalidError
from minikube_py.api.fields import Field, FieldError, invalid_message
from minikube_py.api.managed_fields_scale import with_parent_owners, with_scale_owners
from minikube_py.api.object import Obj, evolve, get
from minikube_py.server.apiserver.call import Call, Change
from minikube_py.server.registry.hooks import View, Write
from minikube_py.server.registry.store import Store

REPLICAS = ("spec", "replicas")


class Scale:
    """The scale of deployments, replica sets, stateful sets and replication controllers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, call: Call) -> Obj:
        """Return the scale."""
        return scale_of(self._store.get(call.resource, call.namespace, call.name).obj)

    async def update(self, call: Call, change: Change) -> Obj:
        """Set the number of replicas."""
        return await self._rescale(call.write("UPDATE"), call, change)

    async def apply(self, call: Call, change: Change) -> Obj:
        """Set the number of replicas, of which an applier says whose it is."""
        return await self._rescale(replace(call.write("UPDATE"), applied=True), call, change)

    async def _rescale(self, write: Write, call: Call, change: Change) -> Obj:
        def rescale(current: Obj) -> Obj:
            wanted = change(with_scale_owners(scale_of(current), current, REPLICAS))
            named = get(wanted, "metadata.name")
            if named and named != call.name:
                raise BadRequestError(
                    f"the name of the object ({named}) does not match the name on the URL "
                    f"({call.name})"
                )
            replicas = get(wanted, "spec.replicas", 0)
            if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
                error = (Field("spec") / "replicas").invalid(
                    replicas, "must be greater than or equal to 0"
                )
                raise _invalid(call.name, error)
            scaled = evolve(current, "spec.replicas", replicas)
            version = get(wanted, "metadata.resourceVersion")
            scaled = evolve(scaled, "metadata.resourceVersion", version or "")
            return with_parent_owners(scaled, wanted, REPLICAS) if write.applied else scaled

        item, _ = await self._store.update(replace(write, view=VIEW), rescale)
        return scale_of(item.obj)


def scale_of(obj: Obj) -> dict[str, Any]:
    """Return the Scale of a workload."""
    copied = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {key: obj["metadata"][key] for key in copied if key in obj["metadata"]}
    replicas = get(obj, "spec.replicas", 0)
    status: dict[str, Any] = {"replicas": get(obj, "status.replicas", 0)}
    selector = _selector(obj)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _scaled(scale: Obj, obj: Obj) -> Obj:
    return evolve(obj, "spec.replicas", get(scale, "spec.replicas", 0))


VIEW = View(of=scale_of, into=_scaled)


def _invalid(name: str, error: FieldError) -> InvalidError:
    return InvalidError(
        invalid_message("Scale.autoscaling", name, [error]),
        details={"name": name, "group": "autoscaling", "kind": "Scale"},
        causes=[error.cause()],
    )


def _selector(obj: Obj) -> str:
    """Return the pods' selector as text; a replication controller has plain labels."""
    selector = get(obj, "spec.selector")
    if obj["kind"] == "ReplicationController":
        return str(selectors.from_labels(selector))
    return str(selectors.from_object(selector))
