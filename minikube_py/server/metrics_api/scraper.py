"""Looks at the kubelets when somebody asks and what is known is too old; never else.

Nothing runs in the background. Who asks first after a quiet time waits for two looks, a second
apart, because a rate needs two; who asks again soon gets what is known; who asks now and then (an
autoscaler) gets the rate since it asked last. Looks at many nodes go out side by side, but not all
at once; nobody waits longer than `WAIT_SECONDS`, and a node that does not answer holds up none
of the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from minikube_py.api.errors import StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.client.protocol import Lister
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import together
from minikube_py.server.metrics_api.page import Page, parse
from minikube_py.server.metrics_api.usage import Looks

log = logging.getLogger(__name__)
FRESH_SECONDS = 5.0
"""What is younger than this is not asked for again."""
DOUBLINGS_MAX = 5
"""A kubelet that does not answer is asked every 160 seconds at least."""
APART_SECONDS = 1.0
"""The least time between the two looks that a rate is made of."""
APART_SECONDS_MAX = 120.0
"""An earlier look that is older says nothing of now."""
WAIT_SECONDS = 8.0
"""kubectl and autoscalers give up later than this."""
AT_ONCE_MAX = 64
FETCH_SECONDS = 5.0
PAGE_BYTES_MAX = 8 << 20
"""A page has about a kilobyte for each container."""
Fetch = Callable[[Obj], Awaitable[str]]
"""(node) -> its page; raises StatusError where the kubelet does not answer."""


class _Node:
    """What is known of one node."""

    def __init__(self) -> None:
        self.latest: tuple[float, Page] | None = None
        self.earlier: tuple[float, Page] | None = None
        self.due = 0.0
        """When its kubelet may be asked again."""
        self.failures = 0

    def take(self, now: float, page: Page) -> None:
        """Take a new look; one right after the last takes its place."""
        if self.latest is not None and now - self.latest[0] >= APART_SECONDS:
            self.earlier = self.latest
        self.latest, self.failures = (now, page), 0

    def failed(self, now: float) -> None:
        """Take note that its kubelet did not answer: it is asked less and less often."""
        self.failures += 1
        self.due = now + FRESH_SECONDS * 2 ** min(self.failures, DOUBLINGS_MAX)

    def has_rate(self) -> bool:
        """Tell whether two looks are known that belong together."""
        if self.latest is None or self.earlier is None:
            return False
        return self.latest[0] - self.earlier[0] <= APART_SECONDS_MAX

    def looks(self) -> Looks | None:
        if self.latest is None:
            return None
        return Looks(self.latest[1], self.earlier[1] if self.earlier and self.has_rate() else None)


class Scraper:
    """Has the newest looks at all nodes."""

    def __init__(self, nodes: Lister, fetch: Fetch, clock: Clock) -> None:
        self._nodes = nodes
        self._fetch = fetch
        self._clock = clock
        self._known: dict[str, _Node] = {}
        self._busy = asyncio.Lock()
        self._gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def looks(self) -> Mapping[str, Looks]:
        """Return the looks at every node that is known of, new enough where its kubelet answers."""
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._busy:
                await self._refresh()
        except TimeoutError:
            log.debug("some nodes have not told in time what they use")
        found = {name: node.looks() for name, node in self._known.items()}
        return {name: looks for name, looks in found.items() if looks is not None}

    async def _refresh(self) -> None:
        items = {item.key.name: item for item in self._nodes.items()}
        self._known = {name: self._known.get(name) or _Node() for name in items}
        now = self._clock.monotonic()
        old = [name for name, node in self._known.items() if now >= node.due]
        await together(self._look(items[name]) for name in old)

    async def _look(self, item: Item) -> None:
        """Look at a node, and again where one look says nothing."""
        await self._look_at(item)
        if self._wants_another(item.key.name):
            await self._clock.sleep(APART_SECONDS)
            await self._look_at(item)

    def _wants_another(self, name: str) -> bool:
        node = self._known[name]
        return not node.failures and not node.has_rate()

    async def _look_at(self, item: Item) -> None:
        name = item.key.name
        async with self._gate:
            now = self._clock.monotonic()
            node = self._known[name]
            node.due = now + FRESH_SECONDS
            try:
                text = await self._fetch(item.obj)
            except StatusError as error:
                log.debug("node does not tell what it uses node=%s error=%s", name, error)
                node.failed(now)
                return
            node.take(now, parse(text, self._clock.now().timestamp()))
