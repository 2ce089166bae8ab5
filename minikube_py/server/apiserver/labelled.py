"""A request whose every answer, however it is made, says how it was classed and audited."""

import asyncio
from typing import Any, Self

from aiohttp import web

from minikube_py.server.audit.edge import AUDIT_ID, GIVEN_ID, RECORD, audit_id
from minikube_py.server.flowcontrol.headers import SEAT


class LabelledRequest(web.BaseRequest):
    """What aiohttp's server hands to the frontend."""

    @classmethod
    def make(cls, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Self:
        """Make a request of what aiohttp's server hands over."""
        return cls(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Label an answer before its head goes out; aiohttp calls this for every one."""
        headers = response.headers
        headers[AUDIT_ID] = self.get(GIVEN_ID) or audit_id(self.headers)
        seat = self.get(SEAT)
        if seat is not None:
            headers.update(seat.headers)
        record = self.get(RECORD)
        if record is not None:
            record.started(response.status)
