"""The model cluster's client, with strategic merge patches as a server applies them."""

from collections.abc import Mapping
from typing import Any

from minikube_py.agent.kubelet.status_writer import MERGED
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import PatchType
from tests.model_cluster import ModelClient


class StrategicClient(ModelClient):
    """Merges the lists of a pod's status by key."""

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
        if patch_type == "strategic":
            old = await self.get(resource, name, namespace)
            patch = {**patch, "status": _merged(old.get("status") or {}, patch["status"])}
        return await super().patch(resource, name, patch, namespace, subresource=subresource)


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Turn lists that are merged by key into whole ones."""
    result = dict(patch)
    for field, key in MERGED.items():
        if field not in patch:
            continue
        entries = {entry[key]: dict(entry) for entry in old.get(field) or ()}
        for change in patch[field]:
            if change.get("$patch") == "delete":
                entries.pop(change[key], None)
            else:
                whole = entries.get(change[key], {}) | change
                entries[change[key]] = {k: v for k, v in whole.items() if v is not None}
        result[field] = list(entries.values())
    return result
