"""HTTPS in front of the API: one visible chain, then a verb.

    authenticate -> impersonate -> authorise -> verb -> represent

aiohttp's low-level server calls `handle` for every request; there is no router and no access log
on the way. What a handler raises as `StatusError` becomes a Status document; anything else is a
fault of ours: logged with its traceback, answered 500 without details.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from aiohttp import web

from minikube_py.api.errors import (
    BadRequestError,
    InternalError,
    MethodNotAllowedError,
    NotAcceptableError,
    NotFoundError,
    StatusError,
)
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import PatchType
from minikube_py.lib.tasks import uninterrupted
from minikube_py.lib.values import changed
from minikube_py.server.aggregator.forward import Forwarder
from minikube_py.server.apiserver import body
from minikube_py.server.apiserver.api import NOT_SUPPORTED, Answer, Api
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.compression import GZIP_BYTES_MIN, compressed
from minikube_py.server.apiserver.connect import Connector
from minikube_py.server.apiserver.connection import Connection
from minikube_py.server.apiserver.delete_options import delete_options, write_options_of
from minikube_py.server.apiserver.incoming import (
    check_scope,
    expected_kind,
    include_object,
    path_of,
    read_body,
)
from minikube_py.server.apiserver.listing import Listing, check_reached
from minikube_py.server.apiserver.negotiate import (
    Accepted,
    Format,
    accepted_document,
    negotiated,
    wants_pretty,
)
from minikube_py.server.apiserver.nonresource import Nonresource
from minikube_py.server.apiserver.parameters import (
    WriteOptions,
    list_options,
    parse_revision,
    write_options,
)
from minikube_py.server.apiserver.past import Past
from minikube_py.server.apiserver.patching import patch_type
from minikube_py.server.apiserver.published import page_not_found
from minikube_py.server.apiserver.reply import LARGE_BYTES, Reply, sent
from minikube_py.server.apiserver.represent import PLAIN, Form, check_form
from minikube_py.server.apiserver.request import OWN, RequestInfo, attributes_of, parse
from minikube_py.server.apiserver.request_metrics import RequestMetrics
from minikube_py.server.apiserver.requests import Requests, Task, timed_out
from minikube_py.server.apiserver.socket_watch import asks_for_socket, send_watch_over_socket
from minikube_py.server.apiserver.streams import (
    WATCH_SECONDS_MIN,
    Watch,
    send_list,
    send_watch,
    warning_headers,
)
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.attributes import Credentials, User
from minikube_py.server.audit import edge
from minikube_py.server.authn import impersonation
from minikube_py.server.authn.chain import Chain
from minikube_py.server.authn.impersonation import asked_of, impersonate
from minikube_py.server.flowcontrol.control import FlowControl, TooManyRequestsError
from minikube_py.server.flowcontrol.headers import SEAT, too_many

log = logging.getLogger(__name__)
T = TypeVar("T")
Sent = web.StreamResponse | Reply
Verb = Callable[[web.BaseRequest, Call], Awaitable[Sent]]
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz")
"""Probes of a load balancer or of systemd carry no credentials; these answer anyone."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""What upstream's router has routes for; HEAD and OPTIONS have none."""
WARNINGS = web.RequestKey("warnings", list[str])
"""Where a request keeps what its client is warned of, for refusals."""
INFO = web.RequestKey("info", RequestInfo)
"""Where a request keeps what it is about."""
FORM = web.RequestKey("form", Form)
"""Where a request keeps the form of its answer, once that is decided."""


class Frontend:
    """Answers requests."""

    def __init__(  # noqa: PLR0913 -- where all parts come together
        self,
        api: Api,
        *,
        authenticator: Chain,
        watches: Watches,
        connector: Connector,
        nonresource: Nonresource,
        forwarder: Forwarder,
        requests: Requests,
        metrics: RequestMetrics,
        flow_control: FlowControl,
        past: Past,
    ) -> None:
        self.api = api
        self.authenticator = authenticator
        self.watches = watches
        self.connector = connector
        self.nonresource = nonresource
        self.forwarder = forwarder
        self.requests = requests
        self.metrics = metrics
        self.clock = api.store.clock
        api.store.at_work = requests.watchdog.poke
        self.auditor = api.auditor
        self.flow_control = flow_control
        self.past = past
        self._verbs: Mapping[str, Verb] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._write,
            "update": self._write,
            "patch": self._write,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        if api.store.cache.shared:
            self._verbs = {name: self._current_first(verb) for name, verb in self._verbs.items()}

    def _current_first(self, verb: Verb) -> Verb:
        """Return a verb that first waits for what other servers wrote."""

        async def carried_out(request: web.BaseRequest, call: Call) -> Sent:
            await self.api.store.cache.current(request.query.get("resourceVersion", ""))
            return await verb(request, call)

        return carried_out

    async def handle(self, request: web.BaseRequest) -> Sent:
        """Answer one request, and log what became of it where the audit policy says so."""
        response: Sent | None = None
        task, started = asyncio.current_task(), time.perf_counter()
        try:
            response = await self._handle(request, task)
        except asyncio.CancelledError:
            if not self.requests.has_expired(task):
                raise
            response = self._out_of_time(request)
        finally:
            self.requests.end(task)
            edge.end(request, response)
        if self.requests.stopping:
            response.force_close()
        info = request.get(INFO)
        if info is not None:
            seconds = time.perf_counter() - started
            size = len(response.body) if isinstance(response, Reply) else response.body_length
            self.metrics.count(info, request.headers, response.status, seconds, size)
        if self.auditor.waits:
            await self.auditor.written()
        return response

    async def _handle(self, request: web.BaseRequest, task: Task) -> Sent:
        try:
            response = await self._answer(request, task)
            if isinstance(response, Reply) and len(response.body) <= LARGE_BYTES:
                return response
            return await sent(request, response)
        except StatusError as error:
            return self._refusal(request, error)
        except TooManyRequestsError as error:
            return too_many(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("request failed method=%s path=%s", request.method, request.path)
            return self._refusal(request, InternalError("Internal error occurred; see the log"))

    async def _answer(self, request: web.BaseRequest, task: Task) -> Sent:
        if request.path in PUBLIC_PATHS:
            return await self.nonresource.handle(request, None)
        if request.path.startswith(self.nonresource.open_prefixes):
            return await self.nonresource.handle(request, None)
        info = request[INFO] = parse(request.method, path_of(request), request.query)
        self.requests.begin(task, info, request.query)
        user = await self._user(request, info)
        seat = self.flow_control.arrive(user, info, request.query)
        if seat is None:
            return await self._answer_to(request, user, info)
        request[SEAT] = seat
        try:
            if seat.waits:
                await seat.wait()
            return await self._answer_to(request, user, info)
        finally:
            seat.leave()

    async def _user(self, request: web.BaseRequest, info: RequestInfo) -> User:
        """Return as whom the request is carried out, and begin its audit record."""
        try:
            user = await self.authenticate(request)
        except StatusError:
            edge.begin(self.auditor, request, None, info)
            raise
        edge.begin(self.auditor, request, user, info)
        if impersonation.asks(request.headers):
            if self.api.asks_others:
                await self.api.prepare(*asked_of(user, request.headers.items()))
            user = impersonate(user, request.headers.items(), self.api.authorizer)
            record = request.get(edge.RECORD)
            if record is not None:
                record.impersonated(user)
        if self.auditor.waits:
            await self.auditor.written()
        return user

    async def _answer_to(self, request: web.BaseRequest, user: User, info: RequestInfo) -> Sent:
        if self.forwarder.routes:
            remote = self.forwarder.routes.find(info.path)
            if remote is not None:
                await self._authorize_info(request, user, info)
                with self.requests.lasting(asyncio.current_task(), info):
                    return await self.forwarder.handle(request, user, remote)
        if not info.is_resource:
            await self._authorize_info(request, user, info)
            return await self.nonresource.handle(request, user)
        resource = self.api.scheme.by_path(info.group, info.version, info.plural)
        if resource is None or not resource.served:
            await self._authorize_info(request, user, info)
            if not self.api.scheme.has_builtin(info.group):
                return page_not_found()
            raise NotFoundError("the server could not find the requested resource", details={})
        return await self._serve(request, user, info, resource)

    async def authenticate(self, request: web.BaseRequest) -> User:
        """Return who asks; raises UnauthorizedError."""
        transport, headers = request.transport, request.headers
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        connection = request.protocol
        certificate = connection.certificate if isinstance(connection, Connection) else None
        return await self.authenticator.authenticate(
            Credentials(headers.get("Authorization", ""), certificate, headers, tls, request.path)
        )

    async def _authorize_info(
        self, request: web.BaseRequest, user: User, info: RequestInfo
    ) -> None:
        attributes = attributes_of(user, info)
        await self.api.prepare(attributes)
        self.api.check(attributes, request.get(edge.RECORD))

    async def _serve(
        self, request: web.BaseRequest, user: User, info: RequestInfo, resource: Resource
    ) -> Sent:
        call = Call(
            user=user,
            audit=request.get(edge.RECORD),
            resource=resource,
            verb=info.verb,
            namespace=info.namespace if resource.namespaced else "",
            name=info.name,
            subresource=info.subresource,
            field_selector="" if info.name else request.query.get("fieldSelector", ""),
            label_selector="" if info.name else request.query.get("labelSelector", ""),
        )
        if resource.plural == "namespaces" and not resource.group:
            call = changed(call, namespace="")
        asked = call if resource.namespaced else changed(call, namespace=info.namespace)
        attributes = asked.attributes
        if self.api.asks_others:
            await self.api.prepare(attributes)
        self.api.check(attributes, call.audit)
        if resource.custom and not resource.namespaced and info.namespace:
            return page_not_found()
        check_scope(resource, info)
        if resource.deprecated:
            call.warnings.append(resource.deprecated)
        request[WARNINGS] = call.warnings
        return await self._carry_out(request, call, info)

    async def _carry_out(self, request: web.BaseRequest, call: Call, info: RequestInfo) -> Sent:
        """Answer a request that is allowed."""
        resource = call.resource
        if self.connector.connects(resource, info.subresource):
            with self.requests.lasting(asyncio.current_task(), info):
                return await self.connector.handle(request, call, info)
        if resource.deprecation and info.verb in resource.verbs:
            call.warnings.append(resource.deprecation)
        verb = self._serve_past if info.path.startswith(OWN) else self._verbs.get(info.verb)
        if verb is None or not (request.method in _METHODS or resource.custom):
            raise MethodNotAllowedError(NOT_SUPPORTED)
        self._negotiate(request, call)
        return await verb(request, call)

    def _negotiate(self, request: web.BaseRequest, call: Call) -> None:
        """Decide on the form of the answer; raises NotAcceptableError where there is none."""
        headers, query = request.headers, request.query
        try:
            chosen = negotiated(headers.get("Accept", ""), call.verb, custom=call.resource.custom)
            pretty = chosen.pretty or wants_pretty(query, headers.get("User-Agent", ""))
            if chosen.is_plain_json and not pretty:
                request[FORM] = PLAIN
                return
            shown = include_object(query) if chosen.view == "Table" else ""
            form = Form(chosen, self.clock.now(), pretty=pretty, include_object=shown)
            check_form(form, call.resource, subresource=call.subresource)
        except NotAcceptableError:
            self.api.find(call)  # what is not there at all, or has no such verb, is refused first
            raise
        request[FORM] = form

    # Reading

    async def _get(self, request: web.BaseRequest, call: Call) -> Sent:
        if version := request.query.get("resourceVersion"):
            check_reached(self.api.store, parse_revision(version))
        return await self._reply(request, call, await self.api.get(call))

    async def _list(self, request: web.BaseRequest, call: Call) -> Sent:
        options = list_options(call.resource, request.query)
        listing = await self.api.list(call, options)
        if call.audit is not None:
            call.audit.answered(partial(listing.document, call.resource))
        return await send_list(request, request[FORM], call.resource, listing, call.warnings)

    async def _watch(self, request: web.BaseRequest, call: Call) -> Sent:
        self.api.find(call)
        if "watch" not in call.resource.verbs:
            raise MethodNotAllowedError(
                f'watch is not supported on resources of kind "{call.resource.group_resource}"'
            )
        form = request[FORM]
        options = list_options(call.resource, request.query, name=call.name, watch=True)
        lasts = float(options.timeout_seconds) or WATCH_SECONDS_MIN * (1 + random.random())  # noqa: S311 -- spreads reconnects
        watch = Watch(
            self.api.store,
            call.resource,
            call.namespace,
            options,
            form,
            lasts,
            warnings=call.warnings,
        )
        if asks_for_socket(request):
            return await send_watch_over_socket(request, watch, self.watches)
        return await send_watch(request, watch, self.watches)

    async def _serve_past(self, request: web.BaseRequest, call: Call) -> Sent:
        """Answer how things were; whether the user may see it has been decided."""
        self.api.find(call)
        found, then = await self.past.answer(call, request[INFO].path, request.query)
        if then is not None:
            request[FORM] = replace(request[FORM], now=then)  # ages as they were
        if isinstance(found, Listing):
            return await send_list(request, request[FORM], call.resource, found, call.warnings)
        return await self._reply(request, call, found)

    # Writing

    async def _write(self, request: web.BaseRequest, call: Call) -> Sent:
        self.api.find(call)
        content_type = request.headers.get("Content-Type", "")
        kind = patch_type(content_type) if call.verb == "patch" else None
        options = write_options(
            request.query,
            call.verb,
            user_agent=request.headers.get("User-Agent", ""),
            applies=kind == "apply",
        )
        if kind is not None:
            data = await read_body(request)
            patch = await self._parse_patch(call, kind, data)
            if kind != "apply":
                call = changed(call, options=options, raw=data)
            else:
                call = changed(call, options=options, found=await _repeated(data, options))
            patching = self.api.patch(call, kind, patch)
            return await self._reply(request, call, await _whole(call, patching))
        form = body.format_of(content_type)
        data = await read_body(request)
        read = partial(body.parse_with_text, data, form, call.resource)
        document, raw = await body.off_loop(form, data, read)
        found = await _repeated(data, options) if form == "yaml" else ()
        call = changed(call, options=options, raw=raw, found=found)
        if call.resource.custom and not call.subresource:
            body.check_custom_kind(document, call.resource)
        is_known = (lambda *_: True) if call.resource.custom else self.api.is_known
        body.check_kind(document, *expected_kind(call, document), is_known=is_known)
        carry_out = self.api.create if call.verb == "create" else self.api.update
        return await self._reply(request, call, await _whole(call, carry_out(call, document)))

    async def _parse_patch(self, call: Call, kind: PatchType, data: bytes) -> Any:
        form: Format = "yaml" if kind == "apply" else "json"
        try:
            return await body.off_loop(form, data, partial(body.parse_patch, data, kind))
        except BadRequestError:
            if kind != "apply":  # upstream reads a patch once it has the object
                self.api.store.get(call.resource, call.namespace, call.name)
            raise

    async def _delete(self, request: web.BaseRequest, call: Call) -> Sent:
        options = delete_options(
            request.query, await read_body(request), request.headers.get("Content-Type", "")
        )
        call = changed(call, options=write_options_of(options))
        return await self._reply(request, call, await _whole(call, self.api.delete(call, options)))

    async def _delete_collection(self, request: web.BaseRequest, call: Call) -> Sent:
        options = delete_options(
            request.query, await read_body(request), request.headers.get("Content-Type", "")
        )
        call = changed(call, options=write_options_of(options))
        chosen = list_options(call.resource, request.query)
        listing = await _whole(call, self.api.delete_collection(call, options, chosen))
        return await send_list(request, request[FORM], call.resource, listing, call.warnings)

    # Answering

    async def _reply(self, request: web.BaseRequest, call: Call, answer: Answer) -> Reply:
        form = request[FORM]
        if call.audit is not None:
            call.audit.answered(lambda: answer.shown)  # few policies keep what was answered
        if answer.item is not None:
            data = form.item(call.resource, answer.item)
        else:
            data = form.answered(answer.document or {"kind": "Status"})
        more: Mapping[str, str] = {}
        if len(data) > GZIP_BYTES_MIN:
            data, more = await compressed(request, data)
        reply = Reply(answer.status, form.accepted.content_type, data)
        if more:
            reply.add(more.items())
        if call.warnings:
            reply.add(warning_headers(call.warnings))
        return reply

    def _out_of_time(self, request: web.BaseRequest) -> Reply:
        """Return the answer to a request that took too long; half an answer is cut off."""
        if request.writer.output_size:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the answer took too long")
        return self._refusal(request, timed_out())

    def _refusal(self, request: web.BaseRequest, error: StatusError) -> Reply:
        record = request.get(edge.RECORD)
        if record is not None:
            record.refused(error.status())
        form = self._refusal_form(request)
        reply = Reply(error.code, form.accepted.content_type, form.document(error.status()))
        retry = error.details.get("retryAfterSeconds")
        if retry:
            reply.add((("Retry-After", str(retry)),))
        if isinstance(error, MethodNotAllowedError) and error.details.get("allow"):
            reply.add((("Allow", str(error.details["allow"])),))
        reply.add(warning_headers(request.get(WARNINGS, ())))
        return reply

    def _refusal_form(self, request: web.BaseRequest) -> Form:
        """Return how a Status is written: it has no other view, and JSON where nothing fits."""
        query, agent = request.query, request.headers.get("User-Agent", "")
        try:
            chosen = accepted_document(request.headers.get("Accept", ""))
        except NotAcceptableError:
            return Form(Accepted(), self.clock.now(), pretty=True)
        return Form(chosen, self.clock.now(), pretty=chosen.pretty or wants_pretty(query, agent))


async def _repeated(data: bytes, options: WriteOptions) -> tuple[str, ...]:
    """Return which keys stand twice in a YAML body."""
    read = partial(body.repeated_in_yaml, data, options.field_validation)
    return await body.off_loop("yaml", data, read)


async def _whole(call: Call, write: Coroutine[Any, Any, T]) -> T:
    """Carry a write out to its end, also where the client leaves meanwhile."""
    return await uninterrupted(f"{call.verb} {call.resource.plural}", write)
