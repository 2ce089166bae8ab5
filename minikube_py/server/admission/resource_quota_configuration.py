"""What an administrator lets nobody use without a quota that covers it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api.object import Obj
from minikube_py.lib.errors import StartError
from minikube_py.server.admission.configuration import listed
from minikube_py.server.admission.quota_check import LimitedResource

_PLACE: Final = "ResourceQuota configuration"


def limited_of(document: Obj | None) -> tuple[LimitedResource, ...]:
    """Return the limited resources of a ResourceQuotaConfiguration; none without one.

    Raises:
        StartError: it says something impossible.

    """
    given: Any = (document or {}).get("limitedResources", [])
    if not isinstance(given, list):
        raise StartError(f"{_PLACE}: limitedResources must be a list")
    return tuple(_limited(given))


def _limited(given: Sequence[Any]) -> Iterator[LimitedResource]:
    for index, one in enumerate(given):
        place = f"{_PLACE}: limitedResources[{index}]"
        if not isinstance(one, dict) or not one.get("resource"):
            raise StartError(f"{place}.resource must be the plural of a kind, such as pods")
        group = one.get("apiGroup") or ""
        scopes = one.get("matchScopes") or []
        if not all(isinstance(scope, dict) and scope.get("scopeName") for scope in scopes):
            raise StartError(f"{place}.matchScopes must be a list of scope requirements")
        yield LimitedResource(
            f"{one['resource']}.{group}" if group else str(one["resource"]),
            listed(f"{place}.matchContains", one.get("matchContains")),
            tuple(scopes),
        )
