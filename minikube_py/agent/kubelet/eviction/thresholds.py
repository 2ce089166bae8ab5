"""When a node is short of something: what was seen against thresholds, over time; all pure.

A hard threshold counts at once, a soft one when it has held for its grace period. What was crossed
counts as crossed until there is more than the threshold by the amount that is to be won back. A
node's condition outlives its cause by a while, so that pods do not come and go. Names, numbers and
texts are upstream's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from minikube_py.api import quantity, times

MEMORY, PIDS = "memory.available", "pid.available"
PODS_MEMORY = "allocatableMemory.available"
"""What all pods together have left of what they may have."""
NODE_FS, NODE_INODES = "nodefs.available", "nodefs.inodesFree"
IMAGE_FS, IMAGE_INODES = "imagefs.available", "imagefs.inodesFree"
RESOURCES = {
    MEMORY: "memory",
    PODS_MEMORY: "memory",
    NODE_FS: "ephemeral-storage",
    IMAGE_FS: "ephemeral-storage",
    NODE_INODES: "inodes",
    IMAGE_INODES: "inodes",
    PIDS: "pids",
}
"""Signal -> what pods are told the node is low on; in the order in which shortages are met."""
CONDITIONS = {
    MEMORY: "MemoryPressure",
    PODS_MEMORY: "MemoryPressure",
    NODE_FS: "DiskPressure",
    IMAGE_FS: "DiskPressure",
    NODE_INODES: "DiskPressure",
    IMAGE_INODES: "DiskPressure",
    PIDS: "PIDPressure",
}
DEFAULT_HARD = (
    "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,"
    "imagefs.inodesFree<5%"
)
TRANSITION_SECONDS = 300.0


class Level(NamedTuple):
    """How much of something there is."""

    available: int
    capacity: int


Levels = Mapping[str, Level]
"""By signal; what cannot be told is left out."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A level that something must not fall below."""

    signal: str
    text: str
    """`100Mi` or `10%`."""
    grace_seconds: float = 0.0
    """How long it may be below; 0 for a hard threshold."""
    reclaim: str = ""
    """How much more than the threshold there must be for all to be well again."""

    @property
    def hard(self) -> bool:
        """Whether it counts at once."""
        return self.grace_seconds == 0

    def amount(self, capacity: int) -> int:
        """Return the threshold in bytes or numbers."""
        return amount(self.text, capacity)


def amount(text: str, capacity: int) -> int:
    """Return an amount or a share of a capacity."""
    if text.endswith("%"):
        return int(capacity * float(text[:-1]) / 100)
    return quantity.value(text)


def parse(
    hard: str, soft: str = "", grace_periods: str = "", reclaims: str = ""
) -> tuple[Threshold, ...]:
    """Read the thresholds of the kubelet's flags.

    Raises:
        ValueError: they make no sense; says which.

    """
    waits = {signal: times.parse_duration(text) for signal, text in _pairs(grace_periods, "=")}
    won = dict(_pairs(reclaims, "="))
    found = []
    for signal, text in _pairs(hard, "<"):
        found.append(Threshold(signal=signal, text=text, reclaim=won.get(signal, "")))
    for signal, text in _pairs(soft, "<"):
        if waits.get(signal, 0.0) <= 0:
            raise ValueError(
                f"grace period must be specified for the soft eviction threshold {signal}"
            )
        found.append(
            Threshold(
                signal=signal,
                text=text,
                grace_seconds=waits[signal],
                reclaim=won.get(signal, ""),
            )
        )
    return tuple(one for one in found if one.text not in ("0%", "100%"))


def with_pods(thresholds: Iterable[Threshold]) -> tuple[Threshold, ...]:
    """Return thresholds, the hard one of memory also for what the pods together may have."""
    listed = tuple(thresholds)
    pods = (replace(one, signal=PODS_MEMORY) for one in listed if one.hard and one.signal == MEMORY)
    return (*listed, *pods)


def _pairs(text: str, separator: str) -> Iterable[tuple[str, str]]:
    for part in text.split(","):
        if not part.strip():
            continue
        signal, found, value = (piece.strip() for piece in part.partition(separator))
        if not found or signal not in RESOURCES:
            raise ValueError(f"{part!r} is no eviction threshold such as memory.available<100Mi")
        if separator == "<":
            _check_amount(value)
        yield signal, value


def _check_amount(text: str) -> None:
    if text.endswith("%"):
        if not 0 <= float(text[:-1]) <= 100:
            raise ValueError(f"eviction threshold {text} must be between 0% and 100%")
    elif quantity.value(text) < 0:
        raise ValueError(f"eviction threshold {text} must be positive")


@dataclass(frozen=True)
class Seen:
    """What is remembered from one look to the next."""

    since: Mapping[Threshold, float] = field(default_factory=dict)
    """When each crossed threshold was first seen crossed."""
    pressed: Mapping[str, float] = field(default_factory=dict)
    """When each condition of the node was last seen to have a cause."""


class Verdict(NamedTuple):
    """What a look comes to."""

    seen: Seen
    conditions: frozenset[str]
    """MemoryPressure and so on."""
    crossed: Sequence[Threshold]
    """Those that are to be acted upon, the first first."""


def look(
    thresholds: Iterable[Threshold],
    levels: Levels,
    seen: Seen,
    now: float,
    transition_seconds: float = TRANSITION_SECONDS,
) -> Verdict:
    """Hold what there is against the thresholds."""
    known = [one for one in thresholds if one.signal in levels]
    crossed = [one for one in known if is_crossed(one, levels[one.signal], again=one in seen.since)]
    since = {one: seen.since.get(one, now) for one in crossed}
    pressed = {**seen.pressed, **{CONDITIONS[one.signal]: now for one in crossed}}
    pressed = {
        kind: at for kind, at in pressed.items() if now - at < transition_seconds or at == now
    }
    due = [one for one in crossed if now - since[one] >= one.grace_seconds]
    order = list(RESOURCES)
    due.sort(key=lambda one: order.index(one.signal))
    return Verdict(Seen(since, pressed), frozenset(pressed), due)


def is_crossed(threshold: Threshold, level: Level, *, again: bool) -> bool:
    """Tell whether there is too little; where there was, a little more than enough is needed."""
    wanted = threshold.amount(level.capacity)
    if again and threshold.reclaim:
        wanted += amount(threshold.reclaim, level.capacity)
    return level.available < wanted


def low_message(threshold: Threshold, level: Level) -> str:
    """Return what an evicted pod is told of the node."""
    resource = RESOURCES[threshold.signal]
    wanted, available = threshold_text(threshold, level), _text(level.available, threshold.signal)
    return (
        f"The node was low on resource: {resource}. Threshold quantity: {wanted}, "
        f"available: {available}. "
    )


def threshold_text(threshold: Threshold, level: Level) -> str:
    """Return a threshold as an amount."""
    if not threshold.text.endswith("%"):
        return threshold.text
    return _text(threshold.amount(level.capacity), threshold.signal)


def _text(number: int, signal: str) -> str:
    """Return an amount as upstream prints it: memory in Ki, disks and numbers as they are."""
    if signal in (MEMORY, PODS_MEMORY):
        return f"{number // 1024}Ki"
    if signal in (NODE_FS, IMAGE_FS):
        return str(quantity.of(number, "BinarySI"))
    return str(quantity.of(number))
