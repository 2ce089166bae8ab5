"""What the audit log learns of one request on its way, and the auditor that decides whether to.

Where the policy keeps nothing of a request there is no record, and nothing else is done.
"""

from collections.abc import Callable
from typing import Any, Protocol

from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.attributes import AuditAnnotations, Decision, User
from minikube_py.server.audit.event import Content, Origin, event
from minikube_py.server.audit.policy import Kept, Policy

DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"
LASTING = frozenset({"attach", "exec", "proxy", "log", "portforward"})
GAVE_UP: Obj = {
    "status": "Failure",
    "message": "the client left before it was answered",
    "reason": "Timeout",
}
Body = Obj | Callable[[], Obj]
"""A document, or what makes it when it is written."""


class Sink(Protocol):
    """Where events go."""

    dropped: int
    failed: int
    """Events that found no room, and events that could not be written."""

    @property
    def waits(self) -> bool:
        """Whether `written` waits for anything now."""

    def put(self, entry: dict[str, Any], *, omit_managed_fields: bool) -> None:
        """Take in one event; never blocks and never raises."""

    async def written(self) -> None:
        """Wait until all that was put is written; raises OSError where it could not be."""

    async def run(self) -> None:
        """Write what is put, for as long as the server runs."""


class Record:
    """One request that is audited."""

    def __init__(self, auditor: "Auditor", kept: Kept, origin: Origin, content: Content) -> None:
        self._auditor = auditor
        self._kept = kept
        self._origin = origin
        self._content = content
        self._complete = False
        self.annotations = AuditAnnotations()
        """What admission adds to."""
        info = content.info
        self.lasts = info.verb in ("watch", "proxy") or info.subresource in LASTING

    def impersonated(self, user: User) -> None:
        """Note that the request is carried out as another user."""
        if user is not self._content.user:
            self._content.impersonated = user

    def decided(self, decision: Decision) -> None:
        """Note what authorisation said."""
        self._content.annotations[DECISION] = "allow" if decision.allowed else "forbid"
        self._content.annotations[REASON] = decision.reason

    def requested(self, body: Any) -> None:
        """Note the body of the request; the first one counts."""
        content = self._content
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if isinstance(metadata, dict) and not content.info.name:
            content.name = content.name or str(metadata.get("name") or "")
        if self._kept.has_request and content.request is None:
            content.request = body

    def answered(self, body: Body) -> None:
        """Note the body of the answer."""
        if self._kept.level == "RequestResponse":
            self._content.response = body

    def refused(self, status: Obj) -> None:
        """Note why the request was refused."""
        self._content.refusal = status
        self.answered(status)

    def received(self) -> None:
        """Log that the request has come."""
        self._log("RequestReceived")

    def started(self, code: int) -> None:
        """Log that the answer of a request that lasts has begun."""
        self._content.code = code
        if self.lasts:
            self._log("ResponseStarted")

    def completed(self, code: int = 0) -> None:
        """Log the end; no code is that of an answer that was begun, or of a client that left."""
        if self._complete:
            return
        self._complete = True
        if not code and not self._content.code:
            code = 504
            self._content.refusal = GAVE_UP
        self._content.code = code or self._content.code
        self._log("ResponseComplete")

    def _log(self, stage: str) -> None:
        if stage in self._kept.omit_stages:
            return
        level = self._kept.level
        content = self._content
        if self.annotations:
            said = self.annotations.at("Request" if self._kept.has_request else "Metadata")
            content.annotations = {**content.annotations, **said}
        now = self._auditor.clock.now()
        entry = event(level, stage, self._origin, content, now)
        self._auditor.log(entry, omit_managed_fields=self._kept.omit_managed_fields)


class Auditor:
    """Makes records; without a policy or a sink it makes none."""

    def __init__(self, policy: Policy | None, sink: Sink | None, clock: Clock) -> None:
        self.policy = policy if sink is not None else None
        self.clock = clock
        self.sink = sink
        self.events = 0
        self.levels: dict[str, int] = {}
        """Requests by the level that the policy keeps them at."""

    @property
    def on(self) -> bool:
        """Whether anything is audited."""
        return self.policy is not None

    @property
    def waits(self) -> bool:
        """Whether there is anything to wait for before a request is answered."""
        return self.sink is not None and self.sink.waits

    def begin(
        self, user: User | None, info: RequestInfo, origin: Callable[[], Origin]
    ) -> Record | None:
        """Return the record of a request, None where nothing is kept of it."""
        if self.policy is None:
            return None
        kept = self.policy.decide(user, info)
        self.levels[kept.level] = self.levels.get(kept.level, 0) + 1
        if kept.level == "None":
            return None
        record = Record(self, kept, origin(), Content(user, info))
        record.received()
        return record

    def log(self, entry: dict[str, Any], *, omit_managed_fields: bool) -> None:
        """Hand one event on."""
        self.events += 1
        if self.sink is not None:
            self.sink.put(entry, omit_managed_fields=omit_managed_fields)

    async def written(self) -> None:
        """Wait until the sink has written what it got, in a mode that waits."""
        if self.sink is not None:
            await self.sink.written()
