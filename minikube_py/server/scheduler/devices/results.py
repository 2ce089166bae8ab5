"""The allocation that a claim's status holds: devices, their configuration and their nodes."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minikube_py.api.object import Obj, get
from minikube_py.server.scheduler.devices.search import Choice
from minikube_py.server.scheduler.devices.wishes import Plan


def allocation(plan: Plan, choices: Sequence[Choice], node: str) -> dict[str, Any]:
    """Return what is allocated to a claim, for a pod on a node."""
    devices: dict[str, Any] = {"results": [_result(choice) for choice in choices]}
    if config := [*_class_config(choices), *_claim_config(plan, choices)]:
        devices["config"] = config
    selector = _node_selector(choices, node)
    return {"devices": devices, **({"nodeSelector": selector} if selector else {})}


def _result(choice: Choice) -> dict[str, Any]:
    wish, device = choice.wish, choice.device
    result: dict[str, Any] = {
        "request": wish.name,
        "driver": device.id.driver,
        "pool": device.id.pool,
        "device": device.id.device,
    }
    if wish.is_admin:
        result["adminAccess"] = True
    if tolerations := wish.spec.get("tolerations"):
        result["tolerations"] = tolerations
    for key in ("bindingConditions", "bindingFailureConditions"):
        if device.obj.get(key):
            result[key] = device.obj[key]
    if choice.amounts is not None:
        result["shareID"] = str(uuid.uuid4())
        result["consumedCapacity"] = {name: str(each) for name, each in choice.amounts.items()}
    return result


def _class_config(choices: Iterable[Choice]) -> Iterator[dict[str, Any]]:
    """Yield what classes configure, of each class once for all of its requests."""
    requests: dict[str, dict[str, None]] = {}
    classes: dict[str, Obj] = {}
    for choice in choices:
        name = choice.wish.device_class["metadata"]["name"]
        classes[name] = choice.wish.device_class
        requests.setdefault(name, {})[choice.wish.name] = None
    for name, device_class in classes.items():
        for config in get(device_class, "spec.config") or ():
            yield {"source": "FromClass", "requests": list(requests[name]), **config}


def _claim_config(plan: Plan, choices: Iterable[Choice]) -> Iterator[dict[str, Any]]:
    """Yield what the claim configures for the alternatives that were chosen."""
    names = {name for choice in choices for name in choice.wish.names}
    for config in get(plan.claim, "spec.devices.config") or ():
        if not config.get("requests") or not names.isdisjoint(config["requests"]):
            yield {"source": "FromClaim", **config}


def _node_selector(choices: Iterable[Choice], node: str) -> dict[str, Any] | None:
    """Return from which nodes all the devices can be used; None for every node."""
    term: dict[str, list[Any]] = {"matchFields": [], "matchExpressions": []}
    for choice in choices:
        place = choice.device.place
        if place.get("nodeName"):
            return _only(place["nodeName"])
        if choice.device.obj.get("bindsToNode"):
            return _only(node)
        for terms in (get(place, "nodeSelector.nodeSelectorTerms") or ())[:1]:
            for key, listed in term.items():
                listed += [one for one in terms.get(key) or () if one not in listed]
    kept = {key: listed for key, listed in term.items() if listed}
    return {"nodeSelectorTerms": [kept]} if kept else None


def _only(node: str) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [field]}]}
