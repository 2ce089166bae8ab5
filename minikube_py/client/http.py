"""The Client over HTTPS: what agents and tools use to reach a server from another process.

Whatever keeps a request from its answer (connection, TLS, time-out, a body that is no JSON) is
one error, ServiceUnavailableError, so that callers retry on one family. Certificates and tokens
that change on disk are taken up without a restart: new connections use the new ones.
"""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from minikube_py.api.errors import ServiceUnavailableError, from_status
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, without
from minikube_py.api.resource import Resource
from minikube_py.client.config import ClientConfig
from minikube_py.client.protocol import ItemList, PatchType, WatchEvent, bookmark
from minikube_py.lib.dialling import Dial, DialConnector, nobody, notice_dead_peer

REQUEST_SECONDS = 60.0
"""Upstream's server gives up after 60 s too."""
CONNECT_SECONDS = 10.0
WATCH_SECONDS = (300, 600)
"""A watch is asked to end after a random time between these, as client-go does."""
CONNECTIONS_MAX = 100
LINE_BYTES_MAX = 32 << 20
"""An event holds one object, which etcd limits to 1.5 MB; this is far beyond."""
FILES_CHECK_SECONDS = 10.0
USER_AGENT = "kpy"
PATCH_TYPES: Mapping[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class _Secrets:
    """The TLS context and the token, made again when their files change."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._checked = -FILES_CHECK_SECONDS
        self._stamps: tuple[tuple[int, int], ...] | None = None
        self._ssl: ssl.SSLContext | None = None
        self._token = config.token

    def current(self) -> tuple[ssl.SSLContext | bool, str]:
        """Return what to open connections with and the bearer token.

        Raises:
            OSError: a file is absent or holds no certificate (ssl.SSLError is an OSError).

        """
        now = asyncio.get_running_loop().time()
        if now - self._checked >= FILES_CHECK_SECONDS:
            stamps = tuple(_stamp(path) for path in self._files())
            if stamps != self._stamps:
                self._load()
                self._stamps = stamps
            self._checked = now
        return self._ssl or True, self._token

    def _files(self) -> tuple[Path, ...]:
        token = self._config.token_file
        return (*self._config.files(), *((token,) if token else ()))

    def _load(self) -> None:
        if self._config.server.startswith("https:"):
            self._ssl = self._config.ssl_context()
        if self._config.token_file is not None:
            self._token = self._config.token_file.read_text().strip()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def _socket(info: tuple[Any, ...]) -> socket.socket:
    """Make a socket that notices a dead peer, also below a silent watch."""
    family, kind, protocol = info[0], info[1], info[2]
    made = socket.socket(family, kind, protocol)
    notice_dead_peer(made)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class HttpClient:
    """A Client of one server as one user; close it when done.

    `dial` makes the connections, where another server than that of the URL may do. Without
    `managed_fields` what is listed and watched has none: they are a third of a pod.
    """

    def __init__(
        self, config: ClientConfig, dial: Dial = nobody, *, managed_fields: bool = True
    ) -> None:
        self.config = config
        self._shown = _whole if managed_fields else _unmanaged
        self._dial = dial
        self._secrets = _Secrets(config)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = DialConnector(self._dial, limit=CONNECTIONS_MAX, socket_factory=_socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            )
        return self._session

    @contextlib.asynccontextmanager
    async def _answer(  # noqa: PLR0913 -- a request has that many parts
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "",
        seconds: float | None = REQUEST_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; every failure to get an answer is a ServiceUnavailableError."""
        try:
            tls, token = self._secrets.current()
            headers = {"Content-Type": content_type} if body is not None else {}
            if accept:
                headers["Accept"] = accept
            if token:
                headers["Authorization"] = f"Bearer {token}"
            async with self._opened().request(
                method,
                self.config.server + path,
                params=query,
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                ssl=tls,
                server_hostname=self.config.tls_server_name or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS),
            ) as response:
                await _raise_for_status(response)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise ServiceUnavailableError(f"{method} {path}: {why}") from error

    async def _json(self, method: str, path: str, **more: Any) -> Any:
        async with self._answer(method, path, **more) as response:
            return _parsed(await response.read())

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """Return one object."""
        found: Obj = await self._json("GET", resource.path(namespace, name))
        return found

    async def read(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str = ""
    ) -> Obj:
        """Return the document at a path of the API; `accept` asks for another form of it."""
        found: Obj = await self._json("GET", path, query=query, accept=accept)
        return found

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
        """Return the objects of a namespace, or of all where it is ""."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit or ""),
            **{"continue": continue_},
        )
        page = await self._json("GET", resource.path(namespace), query=query)
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        items = [_item(resource, self._shown({**kind, **obj})) for obj in page.get("items") or ()]
        metadata = page["metadata"]
        return ItemList(
            items, int(metadata.get("resourceVersion") or 0), metadata.get("continue", "")
        )

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        revision: int,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[Sequence[WatchEvent], None]:
        """Yield what changes after a revision, in batches, bookmarks included."""
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=str(revision),
            timeoutSeconds=str(random.randint(*WATCH_SECONDS)),  # noqa: S311 -- no secret
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        path = resource.path(namespace)
        async with (
            self._answer("GET", path, query=query, seconds=None) as response,
            contextlib.aclosing(_lines(response.content)) as batches,
        ):
            async for lines in batches:
                yield [_event(resource, line, self._shown) for line in lines]

    async def remove(self, path: str) -> None:
        """Delete what is at a path of the API, in the background."""
        await self._json("DELETE", path, body=_options({"propagationPolicy": "Background"}))

    async def create(
        self, resource: Resource, obj: Obj, *, subresource: str = "", name: str = ""
    ) -> Obj:
        """Create the object in the namespace that its metadata names."""
        path = resource.path(_namespace(obj), name, subresource)
        made: Obj = await self._json("POST", path, body=obj)
        return made

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace the object."""
        path = resource.path(_namespace(obj), obj["metadata"]["name"], subresource)
        updated: Obj = await self._json("PUT", path, body=obj)
        return updated

    async def patch(  # noqa: PLR0913 -- the verb has that many parts
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
        """Change part of the object."""
        patched: Obj = await self._json(
            "PATCH",
            resource.path(namespace, name, subresource),
            query=_query(fieldManager=field_manager, force="true" if force else ""),
            body=patch,
            content_type=PATCH_TYPES[patch_type],
        )
        return patched

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Obj | None = None
    ) -> Obj:
        """Delete the object."""
        path = resource.path(namespace, name)
        gone: Obj = await self._json("DELETE", path, body=_options(options))
        return gone

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: Obj | None = None,
    ) -> None:
        """Delete all objects that match."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        path = resource.path(namespace)
        await self._json("DELETE", path, query=query, body=_options(options))


def _namespace(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace") or "")


def _options(options: Obj | None) -> Obj | None:
    if options is None:
        return None
    return {"apiVersion": "v1", "kind": "DeleteOptions", **options}


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceUnavailableError("the server's answer is no JSON") from error


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    body = await response.read()
    status: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        status = orjson.loads(body)
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:200].decode(errors="replace").strip() or response.reason
        status = {"message": text, "code": response.status}
    raise from_status(status)


def _item(resource: Resource, obj: Obj) -> Item:
    return Item.from_object(obj, resource.selected(obj))


def _whole(obj: Obj) -> Obj:
    return obj


def _unmanaged(obj: Obj) -> Obj:
    return without(obj, "metadata.managedFields")


def _event(resource: Resource, line: bytes, shown: Callable[[Obj], Obj]) -> WatchEvent:
    document = _parsed(line)
    kind, obj = document["type"], document["object"]
    if kind == "ERROR":
        raise from_status(obj)
    if kind == "BOOKMARK":
        return bookmark(int(obj["metadata"]["resourceVersion"]))
    return WatchEvent(kind, _item(resource, shown(obj)))


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[Sequence[bytes], None]:
    """Yield the complete lines of each chunk that arrives."""
    rest = b""
    while chunk := await content.readany():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            raise ServiceUnavailableError(f"an event is over {LINE_BYTES_MAX} bytes")
        if lines := [line for line in lines if line]:
            yield lines
