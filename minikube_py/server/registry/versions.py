"""Objects in another version of their kind, for those who look at them in one that they chose."""

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource


async def in_version(resource: Resource, target: Resource, obj: Obj | None) -> Obj | None:
    """Return an object of a request for `resource` as `target`, another version of it, has it.

    What is no object of the kind (a Scale, the options of an exec) is the same in all versions.
    """
    if obj is None or resource is target or obj.get("kind") != resource.kind:
        return obj
    if resource.convert is not None:
        return (await resource.convert([obj], target.api_version))[0]
    if resource.storage is not None:
        obj = resource.storage.to_storage(obj)
    return obj if target.storage is None else target.storage.from_storage(obj)
