"""Paths that are no resources: health, version, discovery, OpenAPI, metrics, token keys, joining.

Documents are built when first asked for, kept as bytes, and built anew when the scheme changes;
the large ones are built in a thread, off the event loop.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web

from minikube_py import KUBERNETES_VERSION
from minikube_py.api import discovery, openapi, openapi_protobuf
from minikube_py.api.errors import MethodNotAllowedError, NotFoundError
from minikube_py.api.object import Obj
from minikube_py.api.scheme import Scheme
from minikube_py.server.apiserver.api import NOT_SUPPORTED
from minikube_py.server.apiserver.negotiate import accepted
from minikube_py.server.attributes import User

Check = Callable[[], str | None]
"""Returns why a part is not well, or None."""
NO_CACHE = {"Cache-Control": "no-cache, private"}
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class OpenPath(Protocol):
    """A path that answers without the usual credentials (joining agents)."""

    prefix: str

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""


class Others(Protocol):
    """What other servers serve, in the documents of this one."""

    def discovery(self, path: str, data: bytes | None) -> bytes | None:
        """Return a discovery document with theirs in it; `data` is our own, where we have one."""

    def openapi(self, path: str, data: bytes | None) -> bytes | None:
        """Return an OpenAPI document with theirs in it; called in a thread."""


class Documents:
    """Documents by path, encoded once."""

    def __init__(self, build: Callable[[str], bytes | None]) -> None:
        self._build = build
        self._kept: dict[str, bytes | None] = {}

    def get(self, path: str) -> bytes | None:
        """Return the bytes of a document, None where there is none."""
        if path not in self._kept:
            data = self._build(path)
            if data is None:
                return None
            self._kept[path] = data
        return self._kept[path]

    async def get_in_thread(self, path: str) -> bytes | None:
        """Return the same, built off the event loop."""
        if path in self._kept:
            return self._kept[path]
        return await asyncio.to_thread(self.get, path)

    def clear(self) -> None:
        """Build all anew when asked next."""
        self._kept.clear()


class Nonresource:
    """Answers for everything that is not below a group and version."""

    def __init__(  # noqa: PLR0913 -- a root of many small things
        self,
        scheme: Scheme,
        *,
        checks: Mapping[str, Check],
        documents: Mapping[str, Obj],
        metrics: Callable[[], bytes],
        others: Others,
        server_address: str = "",
        open_paths: tuple[OpenPath, ...] = (),
    ) -> None:
        self.scheme = scheme
        self.checks = checks
        self.documents = documents
        self.metrics = metrics
        self.open_paths = open_paths
        self.open_prefixes = tuple(path.prefix for path in open_paths)
        self._others = others
        self._server_address = server_address
        self._discovery = Documents(self._discovery_document)
        self._openapi = Documents(self._openapi_document)

    def changed(self) -> None:
        """Forget what was built: the scheme has changed."""
        self._discovery.clear()
        self._openapi.clear()

    def _discovery_document(self, path: str) -> bytes | None:
        own = discovery.document(self.scheme, path, server_address=self._server_address)
        return self._others.discovery(path, own)

    def _openapi_document(self, path: str) -> bytes | None:
        plain, _, form = path.partition("#")
        own = openapi.document(self.scheme, plain)
        merged = self._others.openapi(plain, own)
        if not form:
            return merged
        if merged is own or merged is None:
            return openapi.document(self.scheme, path)
        return openapi_protobuf.encode(orjson.loads(merged))

    async def handle(self, request: web.BaseRequest, _user: User | None) -> web.StreamResponse:
        """Answer one request."""
        path = request.path.rstrip("/") or "/"
        for open_path in self.open_paths:
            if path.startswith(open_path.prefix):
                return await open_path.handle(request)
        if path in self.documents:
            return json_response(orjson.dumps(self.documents[path]))
        first = path.split("/")[1]
        route = self._routes().get(first)
        if route is None:
            return page_not_found()
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowedError(NOT_SUPPORTED, details={})
        return await route(request, path)

    def _routes(
        self,
    ) -> Mapping[str, Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]]:
        return {
            "healthz": self._health,
            "livez": self._health,
            "readyz": self._health,
            "version": self._version,
            "metrics": self._metrics,
            "api": self._discover,
            "apis": self._discover,
            "openapi": self._open_api,
            "": self._index,
        }

    async def _version(self, _request: web.BaseRequest, _path: str) -> web.StreamResponse:
        return json_response(orjson.dumps(version(), option=orjson.OPT_INDENT_2))

    async def _metrics(self, _request: web.BaseRequest, _path: str) -> web.StreamResponse:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self.metrics(), headers=headers)

    async def _index(self, _request: web.BaseRequest, _path: str) -> web.StreamResponse:
        paths = ["/api", "/api/v1", "/apis", *self.documents]
        for group, versions in discovery.groups(self.scheme).items():
            paths.append(f"/apis/{group}")
            paths.extend(f"/apis/{group}/{name}" for name in versions)
        paths += [
            f"/{kind}{tail}"
            for kind in ("healthz", "livez", "readyz")
            for tail in ("", *(f"/{name}" for name in self.checks))
        ]
        paths += ["/metrics", "/openapi/v2", "/openapi/v3", "/version"]
        return json_response(orjson.dumps({"paths": sorted(paths)}, option=orjson.OPT_INDENT_2))

    async def _health(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer `ok`, or name what is not well, as apiserver's healthz does."""
        kind, _, name = path.strip("/").partition("/")
        if name and name not in self.checks:
            raise NotFoundError("the server could not find the requested resource", details={})
        excluded = set(request.query.getall("exclude", []))
        wanted = [name] if name else [check for check in self.checks if check not in excluded]
        results = {check: self.checks[check]() for check in wanted}
        failed = [check for check, why in results.items() if why is not None]
        verbose = "verbose" in request.query
        lines = [
            f"[-]{check} failed: reason withheld" if why is not None else f"[+]{check} ok"
            for check, why in results.items()
        ]
        status = 500 if failed else 200
        if failed:
            text = "\n".join([*lines, f"{kind} check failed", ""])
        elif verbose and not name:
            text = "\n".join([*lines, f"{kind} check passed", ""])
        else:
            text = "ok"
        return web.Response(
            text=text,
            status=status,
            headers={**NO_CACHE, "X-Content-Type-Options": "nosniff"},
        )

    async def _discover(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        accept = request.headers.get("Accept", "")
        if path in ("/api", "/apis") and _wants(accept, "v2"):
            data = self._discovery.get(f"{path}#v2")
            return _tagged(request, data or b"", _AGGREGATED, cache="public")
        accepted(_without_discovery(accept))
        data = self._discovery.get(path)
        if data is not None:
            return json_response(data)
        parts = path.split("/")
        if len(parts) > 3 and self.scheme.has_builtin(parts[2]):
            raise NotFoundError("the server could not find the requested resource", details={})
        return page_not_found()

    async def _open_api(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        accept = request.headers.get("Accept", "")
        if path == "/openapi/v2" and openapi_protobuf.MEDIA_TYPE in accept:
            packed = await self._openapi.get_in_thread(f"{path}#protobuf")
            return _tagged(request, packed or b"", openapi_protobuf.CONTENT_TYPE)
        data = await self._openapi.get_in_thread(path)
        if data is None:
            raise NotFoundError("the server could not find the requested resource", details={})
        # The index goes out under the type that Go's server finds for a body without one.
        index = path == "/openapi/v3"
        return _tagged(request, data, "text/plain; charset=utf-8" if index else "application/json")


def version() -> dict[str, Any]:
    """Return the document of /version."""
    major, minor, _ = KUBERNETES_VERSION.lstrip("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"{KUBERNETES_VERSION}+kpy",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{_architecture()}",
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _wants(accept: str, version_: str) -> bool:
    for clause in accept.split(","):
        parts = {part.strip() for part in clause.split(";")}
        if {"as=APIGroupDiscoveryList", f"v={version_}", "g=apidiscovery.k8s.io"} <= parts:
            return True
    return False


def _without_discovery(accept: str) -> str:
    kept = [clause for clause in accept.split(",") if "APIGroupDiscoveryList" not in clause]
    return ",".join(kept) if kept else "*/*"


def page_not_found() -> web.Response:
    """Return what Go's router answers for a path that nobody serves."""
    headers = {**NO_CACHE, "X-Content-Type-Options": "nosniff"}
    return web.Response(text="404 page not found\n", status=404, headers=headers)


def json_response(data: bytes) -> web.Response:
    """Return JSON."""
    return web.Response(body=data, headers={**NO_CACHE, "Content-Type": "application/json"})


def _tagged(
    request: web.BaseRequest,
    data: bytes,
    content_type: str,
    *,
    cache: str = NO_CACHE["Cache-Control"],
) -> web.Response:
    """Return a document with an ETag, or 304 where the client has it."""
    tag = f'"{discovery.etag(data)}"'
    headers = {
        "Content-Type": content_type,
        "ETag": tag,
        "Vary": "Accept",
        "Cache-Control": cache,
    }
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, headers=headers)
