"""Paths that are no resources: health, version, discovery, OpenAPI, metrics, token keys, joining.

Upstream's router answers some of them (`/version`, the token keys), with 405 and 406 where a route
does not fit; the others are handlers that look at no method.
"""

import platform
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import orjson
from aiohttp import web

from minikube_py import KUBERNETES_VERSION
from minikube_py.api import discovery
from minikube_py.api.errors import MethodNotAllowedError
from minikube_py.api.object import Obj
from minikube_py.api.scheme import Scheme
from minikube_py.server.apiserver.health import Health
from minikube_py.server.apiserver.negotiate import check_produced
from minikube_py.server.apiserver.published import (
    NO_CACHE,
    NOT_SUPPORTED,
    Published,
    page_not_found,
)
from minikube_py.server.attributes import User

JWKS = "application/jwk-set+json"
_ISSUER_CACHING = {"Cache-Control": "public, max-age=3600"}
Route = Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]


class Page(NamedTuple):
    """A page of text that is made whenever somebody asks for it."""

    content_type: str
    render: Callable[[], str]


class OpenPath(Protocol):
    """A path that answers without the usual credentials (joining agents)."""

    prefix: str

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""


class Nonresource:
    """Answers for everything that is not below a group and version."""

    def __init__(
        self,
        scheme: Scheme,
        *,
        health: Health,
        documents: Mapping[str, Obj],
        pages: Mapping[str, Page],
        published: Published,
        open_paths: tuple[OpenPath, ...] = (),
    ) -> None:
        """Take the parts; `documents` are those of the token issuer, by path."""
        self.scheme = scheme
        self.documents = documents
        self.pages = pages
        self.open_paths = open_paths
        self.open_prefixes = tuple(path.prefix for path in open_paths)
        self._health = health
        self._published = published

    def changed(self) -> None:
        """Forget what was built: the scheme has changed."""
        self._published.changed()

    async def handle(self, request: web.BaseRequest, _user: User | None) -> web.StreamResponse:
        """Answer one request."""
        path = request.path.rstrip("/") or "/"
        if not request.path.startswith("/"):  # `OPTIONS *`, `CONNECT host:1`
            return page_not_found()
        for open_path in self.open_paths:
            if path.startswith(open_path.prefix):
                return await open_path.handle(request)
        if path in self.documents:
            return self._issuer(request, path)
        route = self._routes().get(path.split("/")[1])
        return page_not_found() if route is None else await route(request, path)

    def _routes(self) -> Mapping[str, Route]:
        return {
            "healthz": self._healthy,
            "livez": self._healthy,
            "readyz": self._healthy,
            "version": self._version,
            "metrics": self._page,
            "debug": self._page,
            "api": self._published.discover,
            "apis": self._published.discover,
            "openapi": self._published.open_api,
            "index.html": self._index,
            "": self._index,
        }

    def _issuer(self, request: web.BaseRequest, path: str) -> web.Response:
        """Answer what OpenID Connect clients ask of an issuer of tokens."""
        produced = JWKS if path.endswith("/jwks") else "application/json"
        _check_route(request, produced)
        data = orjson.dumps(self.documents[path])
        return web.Response(body=data, headers={**_ISSUER_CACHING, "Content-Type": produced})

    async def _version(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if path != "/version":
            return page_not_found()
        _check_route(request, "application/json")
        return json_response(orjson.dumps(version(), option=orjson.OPT_INDENT_2))

    async def _page(self, _request: web.BaseRequest, path: str) -> web.StreamResponse:
        page = self.pages.get(path)
        if page is None:
            return page_not_found()
        headers = {**NO_CACHE, "Content-Type": page.content_type}
        return web.Response(body=page.render().encode(), headers=headers)

    async def _index(self, _request: web.BaseRequest, path: str) -> web.StreamResponse:
        if path not in ("/", "/index.html"):
            return page_not_found()
        paths = ["/api", "/api/v1", "/apis", *self.documents, *self._health.paths()]
        for group, versions in discovery.groups(self.scheme).items():
            paths.append(f"/apis/{group}")
            paths.extend(f"/apis/{group}/{name}" for name in versions)
        paths += [*self.pages, "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version"]
        return json_response(orjson.dumps({"paths": sorted(paths)}, option=orjson.OPT_INDENT_2))

    async def _healthy(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        return self._health.answer(path, request.query) or page_not_found()


def _check_route(request: web.BaseRequest, produced: str) -> None:
    """Raise where upstream's router has no such route: one for GET, of one media type."""
    if request.method != "GET":
        raise MethodNotAllowedError(NOT_SUPPORTED, details={})
    check_produced(request.headers.get("Accept", ""), (produced,))


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


def json_response(data: bytes) -> web.Response:
    """Return JSON."""
    return web.Response(body=data, headers={**NO_CACHE, "Content-Type": "application/json"})
