"""Pods that wait for a node: those to try now, those to try later, those that nothing helps yet.

A pod that did not fit waits until an event for which a plugin that rejected it has registered, and
whose hint does not deny it, may help. Then it is tried again, at the earliest after a back-off that
grows with its attempts; where nothing else is to be done, the back-off is not waited for. What
happens while a pod is being tried is remembered until that is over, so that no event is lost. A pod
that a pre-enqueue plugin holds back waits for events alike. Nothing here is a timer unless a pod
waits. The rules and numbers are those of upstream's priority queue.
"""

import asyncio
import enum
import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.api.core import NODES, PODS
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock, Timer
from minikube_py.server.scheduler.cluster_events import (
    SINGLE,
    Action,
    ClusterEvent,
    Hint,
    Registered,
    pod_actions,
)
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.profile import Profile

BACKOFF = Backoff(first_seconds=1.0, max_seconds=10.0)
STUCK_SECONDS = 300.0
"""After this a pod is tried again whatever happened, as upstream does, against missed changes."""
EXTENDER = "Extender"
"""What rejected a pod that an extender did: whatever happens may help."""
EVENTS_MAX = 10_000
"""Remembered for pods under way; one that missed more is tried again."""
PAUSE_SECONDS = 0.1
"""Between two attempts at least, so that pods that disturb each other do not run hot."""
HINTS_AT_ONCE = 2000
"""Waiting pods that are asked about without letting others run."""
Hints = Sequence[Hint | None]
NO_NODES = ""
"""What rejected a pod where there is no node at all: any that comes may help."""
EVERYTHING = tuple(Registered(kind, Action.ALL) for kind in (NODES, PODS))


class Place(enum.Enum):
    """Where a pod is in the queue."""

    ACTIVE = "active"  # next to be tried, by the order of its profile
    BACKING_OFF = "backing off"  # to be tried when its time comes, or when nothing is active
    FAILED = "failed"  # the same after an error, and never before its time
    UNSCHEDULABLE = "unschedulable"  # waits for an event
    IN_FLIGHT = "in flight"  # is being tried or bound


NAMES = {
    Place.ACTIVE: "active",
    Place.IN_FLIGHT: "active",
    Place.BACKING_OFF: "backoff",
    Place.FAILED: "backoff",
    Place.UNSCHEDULABLE: "unschedulable",
}
"""Of places, as metrics name them."""


@dataclass(eq=False)
class QueuedPod:
    """One pod in the queue."""

    pod: PodInfo
    profile: Profile
    since: float
    """When it was put where it waits; seconds of the monotonic clock."""
    place: Place = Place.ACTIVE
    attempts: int = 0
    rejections: int = 0
    """How often it fitted nowhere; its back-off grows with it."""
    errors: int = 0
    """How often in a row something went wrong."""
    rejected_by: frozenset[str] = frozenset()
    """The plugins that kept it from being placed the last time."""
    gated_by: str = ""
    """The plugin that keeps it from being tried."""
    not_before: float = 0.0
    """End of the back-off."""
    entry: int = 0
    """Its newest entry in a heap; older ones are void."""
    taken_at: int = 0
    """How many events had been remembered when it was taken."""


@dataclass
class _Remembered:
    """The events since the oldest pod in flight was taken."""

    events: deque[ClusterEvent] = field(default_factory=deque)
    first: int = 0
    """The number of the first event that is held."""

    @property
    def count(self) -> int:
        return self.first + len(self.events)

    def add(self, event: ClusterEvent) -> None:
        self.events.append(event)
        if len(self.events) > EVENTS_MAX:
            self.forget(self.first + 1)

    def forget(self, until: int) -> None:
        while self.first < until and self.events:
            self.events.popleft()
            self.first += 1

    def since(self, number: int) -> Sequence[ClusterEvent] | None:
        """Return the events from a number on; None where some of them are lost."""
        if number < self.first:
            return None
        return list(self.events)[number - self.first :]


class SchedulingQueue:
    """Every pod stands in one `Place`; heaps may hold void entries besides."""

    def __init__(
        self, clock: Clock, profiles: Mapping[str, Profile], *, backoff: Backoff = BACKOFF
    ) -> None:
        self._clock = clock
        self._profiles = profiles
        self._backoff = backoff
        self._pods: dict[str, QueuedPod] = {}
        self._active: list[tuple[Any, ...]] = []
        self._later: list[tuple[float, int, str]] = []
        self._blocked: dict[tuple[str, str], dict[str, QueuedPod]] = {}
        """Unschedulable pods by profile and plugin that rejected them."""
        self._unschedulable: dict[str, QueuedPod] = {}
        """Those that were tried, the one that has waited longest first."""
        self._gated: dict[str, QueuedPod] = {}
        self._in_flight: dict[str, QueuedPod] = {}
        self._remembered = _Remembered()
        self._entries = 0
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._hints = hints_of(profiles.values())

    def __len__(self) -> int:
        return len(self._pods)

    def count(self, place: Place) -> int:
        """Return how many pods are at a place."""
        return sum(1 for one in self._pods.values() if one.place is place)

    def numbers(self) -> Mapping[str, int]:
        """Return how many pods wait, under upstream's names of where they do."""
        places = Counter(
            "gated" if one.gated_by else NAMES[one.place] for one in self._pods.values()
        )
        return {name: places[name] for name in ("active", "backoff", "gated", "unschedulable")}

    def has(self, uid: str) -> bool:
        """Tell whether a pod waits or is in flight."""
        return uid in self._pods

    def put(self, pod: PodInfo) -> None:
        """Take up a pending pod or a new version of one; its own change may help it."""
        known = self._pods.get(pod.uid)
        if known is None:
            profile = self._profiles[pod.scheduler]
            queued = QueuedPod(pod, profile, self._clock.monotonic())
            self._pods[pod.uid] = queued
            self._activate(queued)
            return
        old, known.pod = known.pod, pod
        for action in pod_actions(old, pod):
            self._own_change(known, ClusterEvent(PODS, action, old.item, pod.item))

    def _own_change(self, known: QueuedPod, event: ClusterEvent) -> None:
        if known.place is Place.IN_FLIGHT:
            self._remembered.add(event)
        elif known.place is Place.UNSCHEDULABLE and self._helps(known, event):
            self._retry(known)
        elif known.place is Place.ACTIVE and not known.attempts:
            self._activate(known)  # its order may be another one

    def refresh(self, pod: PodInfo) -> None:
        """Take up a new version of a pod that changes nothing for its chances."""
        known = self._pods.get(pod.uid)
        if known is not None:
            known.pod = pod

    def remove(self, uid: str) -> None:
        """Forget a pod that is gone or has a node."""
        known = self._pods.pop(uid, None)
        if known is not None:
            self._unblock(known)
            self._landed(known)

    async def get(self) -> QueuedPod:
        """Wait for a pod to try: the first that is active, else the first that is backing off."""
        while True:
            queued = self._next_active() or self._next_backing_off()
            if queued is not None:
                return self._taken(queued)
            self._wake.clear()
            await self._wake.wait()

    def _taken(self, queued: QueuedPod) -> QueuedPod:
        queued.attempts += 1
        queued.place = Place.IN_FLIGHT
        queued.taken_at = self._remembered.count
        self._in_flight[queued.pod.uid] = queued
        return queued

    def _next_active(self) -> QueuedPod | None:
        while self._active:
            *_, entry, uid = heapq.heappop(self._active)
            queued = self._pods.get(uid)
            if queued is not None and queued.entry == entry and queued.place is Place.ACTIVE:
                return queued
        return None

    def _next_backing_off(self) -> QueuedPod | None:
        """Take the pod whose back-off ends first, if it is one that merely did not fit."""
        while self._later:
            _, entry, uid = self._later[0]
            queued = self._pods.get(uid)
            if queued is None or queued.entry != entry:
                heapq.heappop(self._later)
                continue
            if queued.place is not Place.BACKING_OFF:
                return None  # failures wait for their time, and the timer is set
            if queued.since + PAUSE_SECONDS > self._clock.monotonic():
                self._arm(queued.since + PAUSE_SECONDS)
                return None
            heapq.heappop(self._later)
            if self._admitted(queued):
                return queued
        return None

    def done(self, queued: QueuedPod) -> None:
        """The pod has got a node."""
        if self._pods.get(queued.pod.uid) is queued:
            del self._pods[queued.pod.uid]
        self._landed(queued)

    def _landed(self, queued: QueuedPod) -> None:
        """Forget the events that were remembered for this pod alone."""
        if self._in_flight.get(queued.pod.uid) is queued:
            del self._in_flight[queued.pod.uid]
            oldest = next(iter(self._in_flight.values()), None)
            self._remembered.forget(self._remembered.count if oldest is None else oldest.taken_at)

    def fail(self, queued: QueuedPod, rejected_by: Iterable[str] | None) -> None:
        """The pod did not fit (or, with None, something went wrong): park or retry it."""
        uid = queued.pod.uid
        if self._pods.get(uid) is not queued:
            self._landed(queued)
            return  # deleted meanwhile
        events = self._remembered.since(queued.taken_at)
        self._landed(queued)
        now = self._clock.monotonic()
        queued.since = now
        if rejected_by is None:
            queued.errors += 1
            queued.not_before = now + self._backoff.wait_seconds(queued.errors)
            self._back_off(queued, Place.FAILED)
            return
        queued.errors = 0
        queued.rejections += 1
        queued.not_before = now + self._backoff.wait_seconds(queued.rejections)
        queued.rejected_by = frozenset(rejected_by)
        others = (event for event in events or () if not _is_its_end(event, uid))
        if events is None or any(self._helps(queued, event) for event in others):
            self._retry(queued)
        else:
            self._block(queued)

    def activate(self, uid: str) -> None:
        """Try a pod at once that waits for an event or for its time."""
        queued = self._pods.get(uid)
        if queued is not None and queued.place not in {Place.ACTIVE, Place.IN_FLIGHT}:
            self._unblock(queued)
            self._activate(queued)

    def happened(self, event: ClusterEvent) -> None:
        """Try the pods again that an event may help."""
        if self._in_flight:
            self._remembered.add(event)
        if not self._blocked:
            return
        waiting = [
            (uid, hints)
            for blocker, hints in self._hints.get((event.resource.path(), event.action), {}).items()
            for uid in self._blocked.get(blocker, ())
        ]
        if waiting:
            self._ask_hints(event, waiting)

    def _ask_hints(self, event: ClusterEvent, waiting: Sequence[tuple[str, Hints]]) -> None:
        """Try those of the waiting pods again that an event may help, some thousand at once."""
        for uid, hints in waiting[:HINTS_AT_ONCE]:
            queued = self._pods.get(uid)
            if queued is None or queued.place is not Place.UNSCHEDULABLE:
                continue  # another plugin's hint, or another event, was enough
            if any(hint is None or hint(queued.pod, event) for hint in hints):
                self._retry(queued)
        rest = waiting[HINTS_AT_ONCE:]
        if rest:
            self._clock.call_later(0.0, lambda: self._ask_hints(event, rest))

    def _helps(self, queued: QueuedPod, event: ClusterEvent) -> bool:
        hints = self._hints.get((event.resource.path(), event.action), {})
        return any(
            hint is None or hint(queued.pod, event)
            for plugin in queued.rejected_by
            for hint in hints.get((queued.profile.name, plugin), ())
        )

    def _retry(self, queued: QueuedPod) -> None:
        """Try a pod when its back-off is over."""
        self._unblock(queued)
        if queued.not_before <= self._clock.monotonic():
            self._activate(queued)
        else:
            self._back_off(queued, Place.BACKING_OFF)

    def _back_off(self, queued: QueuedPod, place: Place) -> None:
        queued.place = place
        self._entries += 1
        queued.entry = self._entries
        heapq.heappush(self._later, (queued.not_before, queued.entry, queued.pod.uid))
        self._arm(queued.not_before)
        self._wake.set()

    def _activate(self, queued: QueuedPod) -> None:
        if not self._admitted(queued):
            return
        queued.place = Place.ACTIVE
        self._entries += 1
        queued.entry = self._entries
        key = queued.profile.queue_sort.sort_key(queued.pod, queued.since)
        heapq.heappush(self._active, (key, queued.entry, queued.pod.uid))
        self._wake.set()

    def _admitted(self, queued: QueuedPod) -> bool:
        """Ask the pre-enqueue plugins; a pod that one of them holds back waits for events."""
        queued.gated_by = ""
        for plugin in queued.profile.pre_enqueue:
            if plugin.pre_enqueue(queued.pod) is not None:
                queued.gated_by = plugin.name
                queued.rejected_by |= {plugin.name}
                self._block(queued)
                return False
        return True

    def _block(self, queued: QueuedPod) -> None:
        uid = queued.pod.uid
        queued.place = Place.UNSCHEDULABLE
        for plugin in queued.rejected_by:
            self._blocked.setdefault((queued.profile.name, plugin), {})[uid] = queued
        if queued.gated_by:
            self._gated[uid] = queued
        else:
            self._unschedulable[uid] = queued
            self._arm(queued.since + STUCK_SECONDS)

    def _unblock(self, queued: QueuedPod) -> None:
        uid = queued.pod.uid
        if (self._unschedulable.pop(uid, None) or self._gated.pop(uid, None)) is None:
            return
        for plugin in queued.rejected_by:
            blocker = (queued.profile.name, plugin)
            pods = self._blocked.get(blocker)
            if pods is not None:
                pods.pop(uid, None)
                if not pods:
                    del self._blocked[blocker]

    def _arm(self, due: float) -> None:
        """Have one timer, for the earliest time that is waited for."""
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        wait = max(due - self._clock.monotonic(), 0.0)
        self._timer = self._clock.call_later(wait, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            _, entry, uid = heapq.heappop(self._later)
            queued = self._pods.get(uid)
            if queued is not None and queued.entry == entry:
                self._activate(queued)
        while (oldest := self._oldest()) is not None and oldest.since + STUCK_SECONDS <= now:
            self._unblock(oldest)
            self._activate(oldest)
        self._arm_next()
        if self._later:
            self._wake.set()  # what backs off may have paused long enough

    def _oldest(self) -> QueuedPod | None:
        return next(iter(self._unschedulable.values()), None)

    def _arm_next(self) -> None:
        oldest = self._oldest()
        times = [oldest.since + STUCK_SECONDS] if oldest is not None else []
        if self._later:
            times.append(self._later[0][0])
        if times:
            self._arm(min(times))

    def close(self) -> None:
        """Call off the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_its_end(event: ClusterEvent, uid: str) -> bool:
    """Tell whether an event is that the pod itself lost the node it was to have."""
    return event.action is Action.DELETE and event.old is not None and event.old.uid == uid


HintTable = Mapping[tuple[str, Action], Mapping[tuple[str, str], Hints]]
"""By the path of a kind and a single action: the hints, by profile and plugin."""


def hints_of(profiles: Iterable[Profile]) -> HintTable:
    """Gather what the plugins of all profiles have registered for."""
    table: dict[tuple[str, Action], dict[tuple[str, str], list[Hint | None]]] = {}
    for profile in profiles:
        nodes = (NO_NODES, (Registered(NODES, Action.ADD),))
        extenders = (EXTENDER, EVERYTHING)
        for name, registered in (
            nodes,
            extenders,
            *((one.name, events_of(one)) for one in profile.plugins),
        ):
            for one in registered:
                for action in (each for each in SINGLE if each in one.actions):
                    at = table.setdefault((one.resource.path(), action), {})
                    at.setdefault((profile.name, name), []).append(one.hint)
    return table


REJECTING = ("pre_enqueue", "pre_filter", "filter", "reserve", "permit", "pre_bind")
"""Methods of plugins that may keep a pod from being placed."""


def events_of(plugin: Any) -> Sequence[Registered]:
    """Return the events that may help pods which a plugin rejected; by default all there are."""
    if not any(hasattr(plugin, method) for method in REJECTING):
        return ()
    if hasattr(plugin, "events_to_register"):
        return tuple(plugin.events_to_register())
    return EVERYTHING
