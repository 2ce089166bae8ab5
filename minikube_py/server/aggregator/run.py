"""The aggregator at work: a loop over APIServices, and what it tells the rest of the server.

A change of an APIService, its Service, its endpoints or a definition of custom kinds makes the loop
look; a server that answers is looked at again every half minute, because the network between us
and it tells nothing. Without aggregated APIs there is no timer.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

import orjson

from minikube_py.api import times
from minikube_py.api.apiextensions import CUSTOMRESOURCEDEFINITIONS
from minikube_py.api.apiregistration import APISERVICES
from minikube_py.api.apiregistration.apiservice import AVAILABLE
from minikube_py.api.core import SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import AlreadyExistsError, ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Key, Obj, get, has_condition, is_deleting, uid_of
from minikube_py.api.scheme import Scheme
from minikube_py.client.protocol import Client
from minikube_py.client.workqueue import WorkQueue
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.prometheus import metric
from minikube_py.lib.tasks import Nursery
from minikube_py.server.aggregator import availability, merge, registration
from minikube_py.server.aggregator.documents import Documents, UnfitError
from minikube_py.server.aggregator.forward import Forwarder
from minikube_py.server.aggregator.merge import Order, Registered
from minikube_py.server.aggregator.routes import Remote, Routes, remote_of
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.certificates import Certificates
from minikube_py.server.registry.changes import Change
from minikube_py.server.registry.store import Store
from minikube_py.server.service_addresses import SERVICE_NAME, ServiceAddresses

log = logging.getLogger(__name__)
WORKERS = 5
AGAIN_SECONDS = 30.0
"""Upstream's resync of the availability of remote APIServices."""
RETRY = Backoff(first_seconds=0.005, max_seconds=30.0)


class Aggregator:
    """Keeps the APIServices, and knows what other servers serve."""

    def __init__(
        self,
        scheme: Scheme,
        store: Store,
        certificates: Certificates,
        proxy: Proxy,
        built_in: frozenset[str],
    ) -> None:
        """Begin to follow the APIServices; `built_in` names those of built-in groups."""
        self._scheme = scheme
        self._store = store
        self._built_in = built_in
        self._kind = store.kind(APISERVICES)
        self._addresses = ServiceAddresses(store.kind(SERVICES), store.kind(ENDPOINTSLICES))
        self.routes = Routes(self._kind, certificates.proxy_client)
        self.documents = Documents(
            self.routes, self._addresses, certificates.proxy_client(verify=False)
        )
        self.forwarder = Forwarder(self.routes, self._addresses, proxy)
        self._served: dict[str, Sequence[tuple[str, str]]] = {}
        self._first: set[str] = set()
        self.synced = asyncio.Event()
        """Set when every local APIService that there was at the start has been looked at."""
        self.changed: Callable[[], None] = lambda: None
        """Called when discovery or OpenAPI look different."""
        self._certificates = certificates
        certificates.subscribe(self._certificates_changed)
        self.routes.subscribe(self._changed)

    def _changed(self) -> None:
        self.changed()

    def _certificates_changed(self) -> None:
        self.routes.certificates_changed()
        self.documents.careless = self._certificates.proxy_client(verify=False)

    # The loop

    async def run(self, client: Client) -> None:
        """Keep the APIServices for as long as the server runs."""
        queue: WorkQueue[str] = WorkQueue(self._store.clock, RETRY)
        kind_of = self._store.kind
        stops = [
            self._kind.subscribe(lambda changes: self._services_of_apis_changed(queue, changes)),
            kind_of(SERVICES).subscribe(lambda changes: self._services_changed(queue, changes)),
            kind_of(ENDPOINTSLICES).subscribe(lambda changes: self._slices_changed(queue, changes)),
            kind_of(CUSTOMRESOURCEDEFINITIONS).subscribe(
                lambda changes: self._definitions_changed(queue, changes)
            ),
        ]
        try:
            for item in kind_of(CUSTOMRESOURCEDEFINITIONS).items():
                self._note(queue, item.key.name, item.obj)
            for item in self._kind.items():
                queue.add(item.key.name)
                if remote_of(item.obj) is None:
                    self._first.add(item.key.name)
            self._done("")
            async with Nursery("aggregator") as nursery:
                for number in range(WORKERS):
                    nursery.start(f"aggregator {number}", self._work(queue, client))
                await nursery.join()
        finally:
            queue.close()
            for stop in stops:
                stop()
            await self.documents.close()

    def _services_of_apis_changed(self, queue: WorkQueue[str], changes: Sequence[Change]) -> None:
        for change in changes:
            queue.add(change.item.key.name)

    def _services_changed(self, queue: WorkQueue[str], changes: Sequence[Change]) -> None:
        if self.routes:
            keys = {change.item.key for change in changes}
            self._add_remotes(queue, keys)

    def _slices_changed(self, queue: WorkQueue[str], changes: Sequence[Change]) -> None:
        if self.routes:
            items = [change.item for change in changes]
            names = [(item.key.namespace, item.labels.get(SERVICE_NAME, "")) for item in items]
            self._add_remotes(queue, {Key(*name) for name in names})

    def _add_remotes(self, queue: WorkQueue[str], services: set[Key]) -> None:
        for remote in self.routes:
            if Key(remote.namespace, remote.service) in services:
                queue.add(remote.name)

    def _definitions_changed(self, queue: WorkQueue[str], changes: Sequence[Change]) -> None:
        for change in changes:
            self._note(queue, change.item.key.name, None if change.deleted else change.item.obj)

    def _note(self, queue: WorkQueue[str], name: str, crd: Obj | None) -> None:
        before = self._served.pop(name, ())
        if crd is not None:
            self._served[name] = registration.served_versions(crd)
        for group, version in {*before, *self._served.get(name, ())}:
            queue.add(f"{version}.{group}")

    async def _work(self, queue: WorkQueue[str], client: Client) -> None:
        while True:
            name = await queue.get()
            try:
                again = await self._look(name, client)
            except (ConflictError, NotFoundError, AlreadyExistsError):
                queue.retry(name)
            except StatusError as error:
                log.warning("api service not updated name=%s error=%s", name, error)
                queue.retry(name)
            except UnfitError as error:
                log.debug("api service unavailable name=%s error=%s", name, error)
                queue.retry(name)
            else:
                queue.forget(name)
                if again:
                    queue.add_after(name, AGAIN_SECONDS)
            finally:
                queue.done(name)
                self._done(name)

    def _done(self, name: str) -> None:
        self._first.discard(name)
        if not self._first:
            self.synced.set()

    async def _look(self, name: str, client: Client) -> bool:
        """Bring one APIService to what it is to be; tell whether to look again by and by."""
        current = await self._register(name, client)
        if current is None or is_deleting(current):
            version, _, group = name.partition(".")
            if self.documents.forget((group, version)):
                self.changed()
            return False
        remote = remote_of(current)
        if remote is None:
            await self._say(client, current, availability.LOCAL_AVAILABLE)
            return False
        return await self._check(client, current, remote)

    async def _register(self, name: str, client: Client) -> Obj | None:
        current = self._kind.get(Key("", name))
        served = (pair for versions in self._served.values() for pair in versions)
        desired = registration.wanted(name, served)
        step = registration.step(current, desired, built_in=name in self._built_in)
        if step == "create" and desired is not None:
            return await client.create(APISERVICES, desired)
        if step == "delete" and current is not None:
            options = {"preconditions": {"uid": uid_of(current)}}
            await client.delete(APISERVICES, name, options=options)
            return None
        if step == "update" and current is not None and desired is not None:
            return await client.update(APISERVICES, {**current, "spec": desired["spec"]})
        return current

    async def _check(self, client: Client, current: Obj, remote: Remote) -> bool:
        service = self._addresses.service(remote.namespace, remote.service)
        slices = self._addresses.slices(remote.namespace, remote.service)
        verdict = availability.unreachable(current["spec"]["service"], service, slices)
        if verdict is not None:
            await self._say(client, current, verdict)
            await self._learn(remote)
            return False
        try:
            await self.documents.probe(remote)
        except UnfitError as error:
            await self._say(client, current, availability.failed(str(error)))
            await self._learn(remote)
            raise
        await self._say(client, current, availability.PASSED)
        await self._learn(remote)
        return True

    async def _learn(self, remote: Remote) -> None:
        if await self.documents.learn(remote):
            self.changed()

    async def _say(self, client: Client, current: Obj, verdict: availability.Verdict) -> None:
        now = times.now_string(self._store.clock)
        wanted = availability.with_verdict(current, verdict, now)
        if wanted is not current:
            await client.update(APISERVICES, wanted, subresource="status")

    def metrics(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        services = sorted(self._kind.items(), key=lambda item: item.key.name)
        yield from metric(
            "aggregator_unavailable_apiservice",
            "gauge",
            "Gauge of APIServices which are marked as unavailable broken down by APIService name.",
            (
                ({"name": item.key.name}, int(not has_condition(item.obj, AVAILABLE)))
                for item in services
            ),
        )

    # What discovery shows

    def _registered(self) -> list[Registered]:
        specs = [item.obj["spec"] for item in self._kind.items()]
        return [
            Registered(
                get(spec, "group", ""),
                spec["version"],
                get(spec, "groupPriorityMinimum", 0),
                get(spec, "versionPriority", 0),
            )
            for spec in specs
        ]

    def discovery(self, path: str, data: bytes | None) -> bytes | None:
        """Return a discovery document with what other servers serve."""
        registered = self._registered()
        own = {(resource.group, resource.version) for resource in self._scheme}
        foreign = [r for r in registered if (r.group, r.version) not in own and r.group]
        if not foreign and not self.routes:
            return data
        plain, _, version = path.partition("#")
        parts = plain.strip("/").split("/")
        document = orjson.loads(data) if data is not None else None
        order = Order(registered)
        if version and document is not None:
            said = self.documents.said
            entries = {
                (remote.group, remote.version): said[remote.group, remote.version].discovery
                for remote in self.routes
                if (remote.group, remote.version) in said
                and (plain == "/api") != bool(remote.group)
            }
            return orjson.dumps(merge.aggregated(document, entries, order))
        if parts == ["apis"] and document is not None:
            return orjson.dumps(merge.group_list(document, foreign, order))
        if len(parts) == 2 and parts[0] == "apis":
            group = merge.one_group(parts[1], document, foreign, order)
            return None if group is None else orjson.dumps(group)
        return data

    def openapi(self, path: str, data: bytes | None) -> bytes | None:
        """Return an OpenAPI document with what other servers say; called in a thread."""
        said = self.documents.said
        if not said or data is None or path not in ("/openapi/v2", "/openapi/v3"):
            return data
        document = orjson.loads(data)
        if path == "/openapi/v3":
            paths = dict(document["paths"])
            for other in said.values():
                paths |= other.openapi_v3
            return orjson.dumps({**document, "paths": dict(sorted(paths.items()))})
        for (group, version), other in said.items():
            if other.openapi_v2:
                prefix = f"/apis/{group}/{version}"
                document = merge.openapi_v2(document, orjson.loads(other.openapi_v2), prefix)
        return orjson.dumps(document)
