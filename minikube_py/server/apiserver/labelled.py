"""A request whose every answer, however it is made, says how it was classed and audited."""

import asyncio
import itertools
from typing import Any, Self

from aiohttp import web
from aiohttp.hdrs import SERVER
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict, CIMultiDictProxy

from minikube_py.server.audit.edge import AUDIT_ID, GIVEN_ID, RECORD, audit_id
from minikube_py.server.flowcontrol.headers import SEAT


class LabelledRequest(web.BaseRequest):
    """What aiohttp's server hands to the frontend."""

    @classmethod
    def make(cls, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Self:
        """Make a request of what aiohttp's server hands over.

        Bytes of headers that are no UTF-8 become U+FFFD, as Go's encoders make of them in the end.
        """
        if not b"".join(itertools.chain.from_iterable(message.raw_headers)).isascii():
            headers = [(name, _text(value)) for name, value in message.headers.items()]
            message = message._replace(headers=CIMultiDictProxy(CIMultiDict(headers)))
        return cls(message, payload, protocol, writer, task, asyncio.get_running_loop())

    def get(self, key: Any, default: Any = None) -> Any:
        """Return what was noted about the request; the inherited way raises for every absence."""
        return self._state.get(key, default)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Label an answer before its head goes out; aiohttp calls this for every one."""
        headers = response.headers
        if headers.get(SERVER) == SERVER_SOFTWARE:
            del headers[SERVER]  # upstream names no program, and scanners need not know ours
        headers[AUDIT_ID] = self.get(GIVEN_ID) or audit_id(self.headers)
        seat = self.get(SEAT)
        if seat is not None:
            headers.update(seat.headers)
        self._started(response.status)

    def labels(self, status: int) -> str:
        """Return the same for an answer that is written as text: lines of its head."""
        self._started(status)
        seat = self.get(SEAT)
        given = self.get(GIVEN_ID) or audit_id(self.headers)
        return f"{AUDIT_ID}: {given}\r\n{'' if seat is None else seat.lines}"

    def _started(self, status: int) -> None:
        record = self.get(RECORD)
        if record is not None:
            record.started(status)


def _text(value: str) -> str:
    return value.encode(errors="surrogateescape").decode(errors="replace")
