"""The audit log at the HTTP edge: where a request's record begins and ends."""

import itertools
import random
import uuid
from collections.abc import Mapping

from aiohttp import web

from minikube_py.server.apiserver.reply import Reply
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.attributes import User
from minikube_py.server.audit.event import Origin
from minikube_py.server.audit.record import Auditor, Record

RECORD = web.RequestKey("record", Record)
"""Where a request that is audited keeps its record."""
AUDIT_ID = "Audit-Id"
GIVEN_ID = web.RequestKey("audit id", str)
"""Where it keeps its id."""
_RANDOM = uuid.uuid4().hex
_PROCESS = f"{_RANDOM[:8]}-{_RANDOM[8:12]}-{_RANDOM[12:16]}-{_RANDOM[16:20]}-"
_number = itertools.count(random.getrandbits(40))
"""An id is a UUID whose last part counts: unique as any, and made in a tenth of the time."""
URI_LENGTH_MAX = 2048
"""More of a URI, or of a user agent, tells nobody anything."""


def audit_id(headers: Mapping[str, str]) -> str:
    """Return the id that a client gave its request, or a new one."""
    given = headers.get(AUDIT_ID, "")
    if given and given.isascii() and given.isprintable():
        return given
    return f"{_PROCESS}{next(_number):012x}"


def begin(auditor: Auditor, request: web.BaseRequest, user: User | None, info: RequestInfo) -> None:
    """Begin the record of a request, where something is kept of it."""

    def origin() -> Origin:
        headers = request.headers
        request[GIVEN_ID] = audit_id(headers)
        return Origin(
            audit_id=request[GIVEN_ID],
            uri=request.path_qs[:URI_LENGTH_MAX],
            source_ips=source_ips(request.remote, headers),
            user_agent=headers.get("User-Agent", "")[:URI_LENGTH_MAX],
            received=auditor.clock.now(),
        )

    record = auditor.begin(user, info, origin)
    if record is not None:
        request[RECORD] = record


def source_ips(remote: str | None, headers: Mapping[str, str]) -> list[str]:
    """Return where a request came from: as proxies tell, and as the connection shows."""
    told = [part.strip() for part in headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    real = headers.get("X-Real-Ip", "").strip()
    ips = told or ([real] if real else [])
    if remote and (not ips or ips[-1] != remote):
        ips.append(remote)
    return ips


def end(request: web.BaseRequest, response: web.StreamResponse | Reply | None) -> None:
    """End the record of a request; no response means that the client has left."""
    record = request.get(RECORD)
    if record is not None:
        record.completed(response.status if response is not None else 0)
