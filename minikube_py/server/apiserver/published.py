"""What the server publishes about itself: discovery and OpenAPI, in every form, with their tags.

Documents are built when first asked for, kept as bytes, and built anew when the scheme changes;
the large ones are built in a thread, off the event loop, each from one state of the scheme: kinds
may come and go meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import format_datetime
from typing import Protocol

import orjson
from aiohttp import web

from minikube_py.api import discovery, openapi, openapi_protobuf, openapi_v3_protobuf
from minikube_py.api.errors import MethodNotAllowedError, NotFoundError
from minikube_py.api.scheme import Scheme
from minikube_py.lib.clock import Clock
from minikube_py.server.apiserver.compression import compressed
from minikube_py.server.apiserver.negotiate import (
    MEDIA_TYPES,
    Accepted,
    Wanted,
    accepted_document,
    check_produced,
    choose,
    clauses,
    wants_pretty,
)
from minikube_py.server.apiserver.represent import Form

NO_CACHE = {"Cache-Control": "no-cache, private"}
NOT_SUPPORTED = "the server does not allow this method on the requested resource"
OPENAPI_GZIP_BYTES_MIN = 1400
"""Upstream compresses OpenAPI documents that do not fit into one packet."""
_AGGREGATED = Wanted("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2")
_V3 = "/openapi/v3/"


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
        self._kept: dict[str, bytes] = {}

    def get(self, path: str) -> bytes | None:
        """Return the bytes of a document, None where there is none."""
        kept = self._kept  # what is built while all is forgotten, in another thread, is not kept
        if path in kept:
            return kept[path]
        data = self._build(path)
        if data is not None:
            kept[path] = data
        return data

    async def get_in_thread(self, path: str) -> bytes | None:
        """Return the same, built off the event loop."""
        kept = self._kept.get(path)
        return kept if kept is not None else await asyncio.to_thread(self.get, path)

    def clear(self) -> None:
        """Build all anew when asked next."""
        self._kept = {}


class Published:
    """Answers /api, /apis and /openapi, and what lies below them that is no resource."""

    def __init__(self, scheme: Scheme, others: Others, clock: Clock, server_address: str) -> None:
        self._scheme = scheme
        self._others = others
        self._clock = clock
        self._server_address = server_address
        self._discovery = Documents(self._discovery_document)
        self._openapi = Documents(self._openapi_document)
        self._changed = clock.now()

    def changed(self) -> None:
        """Forget what was built: the scheme has changed."""
        self._discovery.clear()
        self._openapi.clear()
        self._changed = self._clock.now()

    def _discovery_document(self, key: str) -> bytes | None:
        path, _, form = key.partition("|")
        own = discovery.document(Scheme(self._scheme), path, server_address=self._server_address)
        data = self._others.discovery(path, own)
        if data is None or not form:
            return None if data is None else data + b"\n"
        media, _, pretty = form.partition("+")
        encoder = Form(_FORMS[media], self._clock.now(), pretty=bool(pretty))
        return encoder.document(orjson.loads(data))

    def _openapi_document(self, path: str) -> bytes | None:
        plain, _, form = path.partition("#")
        scheme = Scheme(self._scheme)
        own = openapi.document(scheme, plain)
        merged = self._others.openapi(plain, own)
        if not form:
            return merged
        if merged is own or merged is None:
            return openapi.document(scheme, path)
        return openapi.encoded(orjson.loads(merged), form)

    # Discovery

    async def discover(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer one path of discovery."""
        accept = request.headers.get("Accept", "")
        routed = self._is_routed(path)
        if routed and request.method != "GET":
            raise MethodNotAllowedError(NOT_SUPPORTED)
        if path in ("/api", "/apis"):
            chosen = choose(accept, tuple(MEDIA_TYPES), _is_aggregated)
            if chosen is not None and chosen[1] is not None and chosen[1].wanted is not None:
                return await self._aggregated(request, path, chosen[0])
        if routed:
            check_produced(accept, tuple(MEDIA_TYPES))
        chosen_form = accepted_document(accept)
        pretty = chosen_form.pretty or wants_pretty(request.query, _agent(request))
        data = self._discovery.get(_key(path, chosen_form, pretty=pretty))
        if data is None:
            return self._nothing(path)
        body, headers = await compressed(request, data)
        content_type = {"Content-Type": chosen_form.content_type}
        return web.Response(body=body, headers={**NO_CACHE, **content_type, **headers})

    def _is_routed(self, path: str) -> bool:
        """Tell whether upstream's router answers; groups and custom versions have handlers."""
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            return True
        return len(parts) > 2 and self._scheme.has_builtin(parts[1])

    def _nothing(self, path: str) -> web.Response:
        parts = path.split("/")
        if len(parts) > 3 and self._scheme.has_builtin(parts[2]):
            raise NotFoundError("the server could not find the requested resource", details={})
        return page_not_found()

    async def _aggregated(
        self, request: web.BaseRequest, path: str, media: str
    ) -> web.StreamResponse:
        form = Accepted(MEDIA_TYPES[media])
        plain = self._discovery.get(f"{path}#v2") or b""
        tag = f'"{discovery.etag(plain)}"'
        view = f"{media};g={_AGGREGATED.group};v={_AGGREGATED.version};as={_AGGREGATED.kind}"
        headers = {"Content-Type": view, "ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        pretty = wants_pretty(request.query, _agent(request))
        data = await self._discovery.get_in_thread(_key(f"{path}#v2", form, pretty=pretty))
        body, more = await compressed(request, data or b"")
        return web.Response(body=body, headers={**headers, **more})

    # OpenAPI

    async def open_api(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer one path of OpenAPI."""
        if path == "/openapi/v3":
            # The index goes out under the type that Go's server finds for a body without one.
            return await self._content(request, path, "text/plain; charset=utf-8")
        if path != "/openapi/v2" and not path.startswith(_V3):
            return page_not_found()
        media = _openapi_media(request.headers.get("Accept", ""), is_v2=path == "/openapi/v2")
        if media is None:
            return web.Response(status=406, headers={**NO_CACHE, "Vary": "Accept"})
        form = "" if media == "application/json" else "protobuf"
        return await self._content(request, path, media, form)

    async def _content(
        self, request: web.BaseRequest, path: str, content_type: str, form: str = ""
    ) -> web.StreamResponse:
        """Serve a document as Go's `http.ServeContent` does, with upstream's tags."""
        own = openapi.document_hash(self._scheme, path.removeprefix(_V3))  # never newer than data
        data = await self._openapi.get_in_thread(f"{path}#{form}" if form else path)
        if data is None:
            return web.Response(status=404, headers=NO_CACHE)
        etag = own or discovery.etag(data)
        headers = {**NO_CACHE, "ETag": f'"{etag}"', "Vary": "Accept"}
        asked = request.query.get("hash", "")
        if asked and path.startswith(_V3):
            if asked != etag and own:
                moved = {"Location": f"{path}?hash={etag}"}
                return web.Response(status=301, headers={**headers, **moved})
            headers["Cache-Control"] = "public, immutable"
            expires = self._clock.now() + timedelta(days=365)
            headers["Expires"] = format_datetime(expires, usegmt=True)
        headers["Last-Modified"] = format_datetime(self._changed, usegmt=True)
        if _has(request.headers.get("If-None-Match", ""), etag):
            return web.Response(status=304, headers=headers)
        body, more = await compressed(request, data, OPENAPI_GZIP_BYTES_MIN)
        content = {"Content-Type": content_type, **more}
        return web.Response(body=body, headers={**headers, **content})


def page_not_found() -> web.Response:
    """Return what Go's router answers for a path that nobody serves."""
    headers = {**NO_CACHE, "X-Content-Type-Options": "nosniff"}
    return web.Response(text="404 page not found\n", status=404, headers=headers)


def _key(path: str, chosen: Accepted, *, pretty: bool) -> str:
    """Return the name of a document in one form: the plain one has no more than its path."""
    form = f"{chosen.format}{'+pretty' if pretty else ''}"
    return path if form == "json" else f"{path}|{form}"


_FORMS: Mapping[str, Accepted] = {form: Accepted(form) for form in MEDIA_TYPES.values()}


def _is_aggregated(_media: str, wanted: Wanted | None) -> bool:
    return wanted is None or wanted == _AGGREGATED


_BINARY: Mapping[bool, Mapping[str, str]] = {
    is_v2: dict.fromkeys((form.CONTENT_TYPE, form.MEDIA_TYPE), form.CONTENT_TYPE)
    for is_v2, form in ((True, openapi_protobuf), (False, openapi_v3_protobuf))
}
"""What the binary form is asked for as, and what it is then called, by whether it is of v2."""


def _openapi_media(accept: str, *, is_v2: bool) -> str | None:
    """Return the type of an OpenAPI document that the client takes, None where it takes none."""
    known = {"application/json": "application/json", **_BINARY[is_v2]}
    for clause in clauses(accept or "*/*"):
        for media, content_type in known.items():
            if clause.fits(media):
                return content_type
    return None


def _has(header: str, etag: str) -> bool:
    """Tell whether If-None-Match names a tag; a weak comparison (RFC 9110, section 13.1.2)."""
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or f'"{etag}"' in named


def _agent(request: web.BaseRequest) -> str:
    return request.headers.get("User-Agent", "")
