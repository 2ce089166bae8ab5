"""When history is dropped.

After five minutes, as the API server of Kubernetes has etcd do it; earlier where so many writes
happen that the log would grow without bound.
"""

import logging
from collections import deque

from minikube_py.datastore.kv import Backend, UnavailableError
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)

KEEP_SECONDS = 300.0
"""How long a revision can be listed or watched from (kube-apiserver --etcd-compaction-interval)."""
KEEP_REVISIONS = 100_000
"""History that is kept at most, however young it is."""
STEP_SECONDS = 30.0
FEW_REVISIONS, FEW_SECONDS = 1_000, 240.0
"""So few revisions wait so long: each compaction is a transaction, which an idle node has few of.
Nothing is kept for ten minutes (kube-apiserver: two intervals), which those who page rely on."""


async def compact_forever(
    backend: Backend, clock: Clock, keep_seconds: float = KEEP_SECONDS
) -> None:
    """Compact the store in time, every half a minute under load; never returns."""
    seen: deque[tuple[float, int]] = deque()
    compacted, last = 0, -FEW_SECONDS
    while True:
        try:
            now, newest = clock.monotonic(), await backend.revision()
        except UnavailableError as error:
            log.debug("not compacted while the datastore is away: %s", error)
            await clock.sleep(STEP_SECONDS)
            continue
        seen.append((now, newest))
        target = max(newest - KEEP_REVISIONS, 0)
        while seen[0][0] <= now - keep_seconds:
            target = max(target, seen.popleft()[1])
        due = target - compacted >= FEW_REVISIONS or now - last >= FEW_SECONDS
        if target > compacted and due and await _compact(backend, target):
            compacted, last = target, now
        await clock.sleep(STEP_SECONDS)


async def _compact(backend: Backend, revision: int) -> bool:
    try:
        await backend.compact(revision)
    except UnavailableError as error:
        log.warning("compaction failed, it will be tried again revision=%d: %s", revision, error)
        return False
    return True
