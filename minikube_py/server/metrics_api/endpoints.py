"""The verbs of metrics.k8s.io: nodes and pods of the watch cache, with what they use."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.server.apiserver.call import Call, Endpoint
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.parameters import ListOptions
from minikube_py.server.metrics_api.scraper import Scraper
from minikube_py.server.metrics_api.usage import Looks, node_metrics, pod_metrics
from minikube_py.server.registry.cache import KindCache
from minikube_py.server.registry.refusals import not_found

AT_ONCE = 200
"""Documents that are made before others have their turn."""
Make = Callable[[Item, Mapping[str, Looks]], Any]


class MetricsApi:
    """Answers for the kinds of metrics.k8s.io."""

    def __init__(self, nodes: KindCache, pods: KindCache, scraper: Scraper) -> None:
        self._scraper = scraper
        self._nodes = nodes
        self._pods = pods

    def nodes(self) -> Endpoint:
        """Return what answers for nodes."""
        return self._endpoint(self._nodes, _node)

    def pods(self) -> Endpoint:
        """Return what answers for pods."""
        return self._endpoint(self._pods, _pod)

    def _endpoint(self, kind: KindCache, make: Make) -> Endpoint:
        async def get(call: Call) -> Obj:
            key = Key(call.namespace, call.name)
            item = kind.item(key)
            if item is None:
                raise not_found(kind.resource, call.name)
            document: Obj | None = make(item, await self._scraper.looks())
            if document is None:
                shown = f"{key.namespace}/{key.name}" if key.namespace else key.name
                raise NotFoundError(
                    f'{call.resource.kind.lower()}.{call.resource.group} "{shown}" not found',
                    details={
                        "name": shown,
                        "group": call.resource.group,
                        "kind": call.resource.kind.lower(),
                    },
                )
            return document

        async def list_(call: Call, options: ListOptions) -> Listing:
            chosen = [
                item for item in kind.items(call.namespace) if options.selection.matches(item)
            ]
            looks = await self._scraper.looks() if chosen else {}
            return Listing(await _documents(chosen, looks, make), 0)

        return Endpoint(get=get, list=list_)


async def _documents(chosen: Iterable[Item], looks: Mapping[str, Looks], make: Make) -> list[Item]:
    made = []
    for number, item in enumerate(chosen, start=1):
        document = make(item, looks)
        if document is not None:
            made.append(Item.from_object(document))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return made


def _node(item: Item, looks: Mapping[str, Looks]) -> Any:
    return node_metrics(item.key.name, item.labels, looks.get(item.key.name))


def _pod(item: Item, looks: Mapping[str, Looks]) -> Any:
    found = looks.get(item.fields.get("spec.nodeName", ""))
    return pod_metrics(item.key.namespace, item.key.name, item.labels, found)
