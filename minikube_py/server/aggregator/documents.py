"""What aggregated servers say of themselves: discovery and OpenAPI, fetched and kept.

Everything is asked as `system:kube-aggregator`. Answers are bounded in size and time; what cannot
be fetched leaves the last answer in place, marked stale.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import orjson
from yarl import URL

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Obj
from minikube_py.lib.forwarding import why
from minikube_py.lib.tasks import together
from minikube_py.server.aggregator.forward import user_headers
from minikube_py.server.aggregator.routes import Remote, Routes
from minikube_py.server.attributes import User
from minikube_py.server.service_addresses import Address, ServiceAddresses

ASKER = User("system:kube-aggregator", ("system:masters",))
ASK_SECONDS = 5.0
ATTEMPTS = 5
"""One of so many has to succeed, as upstream has it: any endpoint that answers will do."""
DOCUMENT_BYTES_MAX = 16 << 20
AGGREGATED = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    for version in ("v2", "v2beta1")
)


class UnfitError(Exception):
    """A server did not answer, or not as it must; the text is upstream's."""


@dataclass(frozen=True)
class Said:
    """What one server says of one group and version."""

    discovery: Obj
    """Its entry in aggregated discovery."""
    openapi_v3: Mapping[str, Obj] = field(default_factory=dict)
    """Its part of the index: path -> where the document is."""
    openapi_v2: bytes = b""


@dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    data: bytes

    def document(self) -> Any:
        """Return the JSON of a good answer, None of any other."""
        try:
            return orjson.loads(self.data) if self.status == 200 else None
        except orjson.JSONDecodeError:
            return None


class Documents:
    """Asks servers; `said` holds their answers by group and version."""

    def __init__(
        self, routes: Routes, addresses: ServiceAddresses, careless: ssl.SSLContext
    ) -> None:
        """Remember whom to ask; `careless` is TLS that does not look at certificates."""
        self.said: Mapping[tuple[str, str], Said] = {}
        self.careless = careless
        self._routes = routes
        self._addresses = addresses
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    def forget(self, key: tuple[str, str]) -> bool:
        """Drop what was said of a group and version; tell whether there was anything."""
        there = key in self.said
        self.said = {other: said for other, said in self.said.items() if other != key}
        return there

    async def probe(self, remote: Remote) -> None:
        """Make sure that the server answers for its group and version.

        Certificates are not looked at: this only tells whether somebody is there.

        Raises:
            UnfitError: it does not; says how it failed last.

        """
        try:
            await self._probe(remote)
        except UnfitError:
            rest = await together(self._probe(remote) for _ in range(ATTEMPTS - 1))
            errors = [error for error in rest if error is not None]
            if len(errors) == len(rest):
                raise errors[-1] from None

    async def _probe(self, remote: Remote) -> None:
        try:
            address = self._addresses.resolve(remote.namespace, remote.service, remote.port)
        except ServiceUnavailableError as error:
            raise UnfitError(error.message) from error
        url = f"https://{address.netloc}{remote.path}"
        try:
            answer = await self._ask(address, self.careless, remote.path)
        except TimeoutError as error:
            raise UnfitError(
                f'failing or missing response from {url}: Get "{url}": context deadline exceeded'
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            text = f'failing or missing response from {url}: Get "{url}": {why(error)}'
            raise UnfitError(text) from error
        if not 200 <= answer.status < 300:
            raise UnfitError(
                f"failing or missing response from {url}: bad status from {url}: {answer.status}"
            )

    async def learn(self, remote: Remote) -> bool:
        """Fetch what the server says; tell whether anything has changed."""
        key = remote.group, remote.version
        before = self.said.get(key)
        try:
            said = await self._fetch(remote)
        except (ServiceUnavailableError, aiohttp.ClientError, OSError, ValueError):
            entry = before.discovery if before is not None else {"version": remote.version}
            stale = {**entry, "freshness": "Stale"}
            said = replace(before, discovery=stale) if before is not None else Said(stale)
        if said == before:
            return False
        self.said = {**self.said, key: said}
        return True

    async def _fetch(self, remote: Remote) -> Said:
        address = self._addresses.resolve(remote.namespace, remote.service, remote.port)
        context = self._routes.tls(remote)
        aggregated = await self._ask(address, context, "/apis", AGGREGATED)
        entry = None
        if "APIGroupDiscoveryList" in aggregated.content_type:
            entry = entry_of(aggregated.document(), remote.group, remote.version)
        if entry is None:
            plain = await self._ask(address, context, remote.path)
            listed = plain.document()
            if listed is None:
                raise ValueError(f"failed to download discovery for {remote.path}")
            entry = entry_of_resources(listed, remote.version)
        index = (await self._ask(address, context, "/openapi/v3")).document()
        legacy = await self._ask(address, context, "/openapi/v2")
        return Said(
            {**entry, "freshness": "Current"},
            index_of(index, remote.path[1:]),
            legacy.data if legacy.document() is not None else b"",
        )

    async def _ask(
        self, address: Address, context: ssl.SSLContext, path: str, accept: str = "application/json"
    ) -> _Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=16, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        async with (
            asyncio.timeout(ASK_SECONDS),
            self._session.get(
                URL(f"https://{address.netloc}{path}", encoded=True),
                ssl=context,
                server_hostname=address.server_name,
                headers=[*user_headers(ASKER), ("Accept", accept)],
                allow_redirects=False,
            ) as answer,
        ):
            data = bytearray()
            async for chunk in answer.content.iter_any():
                data += chunk
                if len(data) > DOCUMENT_BYTES_MAX:
                    raise ValueError(f"{path} has more than {DOCUMENT_BYTES_MAX} bytes")
            return _Answer(answer.status, answer.headers.get("Content-Type", ""), bytes(data))


def entry_of(document: Any, group: str, version: str) -> Obj | None:
    """Return what an aggregated discovery document says of a group and version."""
    if not isinstance(document, dict):
        return None
    for item in document.get("items") or ():
        if (item.get("metadata") or {}).get("name", "") == group:
            for entry in item.get("versions") or ():
                if entry.get("version") == version:
                    return dict(entry)
    return {"version": version}


def entry_of_resources(document: Any, version: str) -> Obj:
    """Return the entry in aggregated discovery for a plain list of resources."""
    resources: dict[str, dict[str, Any]] = {}
    for listed in document.get("resources") or ():
        name, _, sub = listed["name"].partition("/")
        entry = resources.setdefault(name, {"resource": name})
        kind = {
            "group": listed.get("group") or "",
            "version": listed.get("version") or "",
            "kind": listed.get("kind") or "",
        }
        verbs = list(listed.get("verbs") or ())
        if sub:
            shown = {"subresource": sub, "responseKind": kind, "verbs": verbs}
            entry.setdefault("subresources", []).append(shown)
            continue
        entry |= {
            "responseKind": kind,
            "scope": "Namespaced" if listed.get("namespaced") else "Cluster",
            "singularResource": listed.get("singularName") or "",
            "verbs": verbs,
        }
        for key in ("shortNames", "categories"):
            if listed.get(key):
                entry[key] = list(listed[key])
    return {"version": version, "resources": list(resources.values())}


def index_of(document: Any, path: str) -> Mapping[str, Obj]:
    """Return the part of an OpenAPI v3 index that is about one group and version."""
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict) or not isinstance(paths.get(path), dict):
        return {}
    return {path: dict(paths[path])}
