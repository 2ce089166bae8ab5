"""Questions that are asked of a webhook again and again: answers are remembered, failures retried.

Equal questions at the same time are asked once. Keys are digests: no token is kept.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import orjson

from minikube_py.api.object import Obj
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import uninterrupted
from minikube_py.server.webhook.client import Post, Target
from minikube_py.server.webhook.errors import WebhookError

T = TypeVar("T")
ANSWERS_MAX = 8192
TIMEOUT_SECONDS = 30.0
RETRY = Backoff(first_seconds=0.5, factor=1.5, max_seconds=5.0)
TRIES_MAX = 5
"""As apiserver's webhook.DefaultRetryBackoff."""


class Answers(Generic[T]):
    """Answers by question, each for a time of its own, the least used forgotten first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[T]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def key(self, question: Any) -> bytes:
        """Return what a question is remembered by."""
        text = orjson.dumps(question, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(text, key=self._salt, digest_size=32).digest()

    def find(self, key: bytes) -> T | None:
        """Return an answer that still counts, or None."""
        known = self._known.get(key)
        if known is None:
            return None
        if known[0] <= self._clock.monotonic():
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return known[1]

    async def get(
        self, key: bytes, ask: Callable[[], Awaitable[T]], seconds: Callable[[T], float]
    ) -> T:
        """Return the answer, asked for where it is not known; `seconds` says how long it counts.

        Raises:
            WebhookError: there is none.

        """
        known = self.find(key)
        if known is not None:
            return known
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
            asked.add_done_callback(_retrieve)
            return await uninterrupted("webhook", self._ask(key, ask, seconds, asked))
        return await asyncio.shield(asked)

    async def _ask(
        self,
        key: bytes,
        ask: Callable[[], Awaitable[T]],
        seconds: Callable[[T], float],
        asked: asyncio.Future[T],
    ) -> T:
        try:
            answer = await ask()
        except BaseException as error:
            asked.set_exception(WebhookError(str(error)))
            raise
        finally:
            del self._asked[key]
        lasts = seconds(answer)
        if lasts > 0:
            self._known[key] = (self._clock.monotonic() + lasts, answer)
            if len(self._known) > ANSWERS_MAX:
                self._known.popitem(last=False)
        asked.set_result(answer)
        return answer


def _retrieve(asked: asyncio.Future[Any]) -> None:
    """Look at a failure that nobody else waited for."""
    if not asked.cancelled():
        asked.exception()


async def posted(
    post: Post,
    target: Target,
    document: Obj,
    clock: Clock,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Any:
    """Post a document, again after failures that pass; raises WebhookError."""
    for left in reversed(range(TRIES_MAX)):
        try:
            return await post(target, document, timeout_seconds=timeout_seconds)
        except WebhookError as error:
            if not error.passes or not left:
                raise
        await clock.sleep(RETRY.wait_seconds(TRIES_MAX - left))
    raise WebhookError("no try is left")
