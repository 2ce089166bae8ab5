"""How simulated nodes and pods behave, as data: from a file, and from annotations of the objects.

    nodes:
    - name: small                 # sim where it is left out: nodes small-00000, small-00001, ...
      share: 3                    # of --simulate-nodes, beside the other groups
      capacity: {cpu: "4", memory: 8Gi, pods: "110"}
      zones: [a, b, c]            # topology.kubernetes.io/zone, in turn
      labels: {disk: ssd}
      taints: [{key: gpu, effect: NoSchedule}]
      downEvery: 3600             # seconds: each node fails once in so long ...
      downFor: 120                # ... and is silent for so long
    pods:                         # the first rule that fits counts
    - selector: app=web,tier!=db
      start: [1, 3]               # seconds until the containers run: a number or a range
      ready: 2                    # from then on until they are ready; never for never
      run: 30                     # after so long they end; for ever where it is left out
      exitCode: 1
      stop: 1                     # from its deletion until a pod is gone

What a rule says of a pod, an annotation `simulate.kpy.dev/start` and so on says of that one pod.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from minikube_py.api import quantity, selectors
from minikube_py.lib.errors import StartError

PREFIX = "simulate.kpy.dev/"
"""Of the annotations that override a rule."""
NEVER = float("inf")
CAPACITY: Mapping[str, str] = {
    "cpu": "32",
    "memory": "256Gi",
    "ephemeral-storage": "1Ti",
    "pods": "110",
}
"""As kwok's nodes have it."""


@dataclass(frozen=True)
class Span:
    """A time in seconds, anywhere within its bounds; which one depends on the object's uid."""

    low: float
    high: float

    def of(self, uid: str, what: str) -> float:
        """Return the seconds for one object; the same ones each time."""
        if self.low == self.high:
            return self.low
        part = zlib.crc32(f"{uid}/{what}".encode()) / 2**32
        return self.low + (self.high - self.low) * part


def span(seconds: float) -> Span:
    """Return a time without play."""
    return Span(seconds, seconds)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What becomes of a pod that is bound to a simulated node; all times in seconds."""

    start: Span = field(default_factory=lambda: span(1.0))
    ready: Span = field(default_factory=lambda: span(0.0))
    run: Span = field(default_factory=lambda: span(NEVER))
    exitCode: int = 0  # noqa: N815 -- as it stands in the file
    stop: Span = field(default_factory=lambda: span(1.0))


@dataclass(frozen=True)
class PodRule:
    """The behaviour of the pods that a label selector finds."""

    selector: selectors.LabelSelector
    behaviour: Behaviour


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """Nodes that are alike."""

    name: str = "sim"
    share: int = 1
    capacity: Mapping[str, str] = field(default_factory=lambda: CAPACITY)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    zones: Sequence[str] = ()
    downEvery: float = 0.0  # noqa: N815 -- as it stands in the file
    downFor: float = 60.0  # noqa: N815


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All that a simulation is told."""

    nodes: Sequence[NodeGroup] = (NodeGroup(),)
    pods: Sequence[PodRule] = ()
    usual: Behaviour = field(default_factory=Behaviour)

    def behaviour(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Behaviour:
        """Return the behaviour of a pod; a mistake in an annotation counts as not written."""
        found = next((r.behaviour for r in self.pods if r.selector.matches(labels)), self.usual)
        given = {
            key.removeprefix(PREFIX): value
            for key, value in annotations.items()
            if key.startswith(PREFIX)
        }
        for name, text in given.items():
            try:
                found = replace(found, **_pod_fields({name: _of_annotation(text)}))
            except (StartError, ValueError):
                continue
        return found

    def shares(self, count: int) -> list[tuple[NodeGroup, int]]:
        """Share so many nodes out among the groups; what is left over goes to the first ones."""
        total = sum(group.share for group in self.nodes)
        numbers = [count * group.share // total for group in self.nodes]
        for at in range(count - sum(numbers)):
            numbers[at % len(numbers)] += 1
        return list(zip(self.nodes, numbers, strict=True))


def load(path: str) -> Rules:
    """Read the rules of a file; the usual ones where it is "".

    Raises:
        StartError: the file cannot be read, or says what is not known.

    """
    if not path:
        return Rules()
    import yaml  # noqa: PLC0415 -- a simulation without a file is spared it

    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"cannot read --simulate-config {path}: {error}") from error
    try:
        return parse(document or {})
    except StartError as error:
        raise StartError(f"--simulate-config {path}: {error}") from None


def parse(document: Any) -> Rules:
    """Make rules of a document; raises StartError."""
    _check(document, {"nodes", "pods"}, "the file")
    empty: dict[str, Any] = {}
    groups = tuple(_group(entry) for entry in document.get("nodes") or (empty,))
    if len({group.name for group in groups}) < len(groups):
        raise StartError("two groups of nodes have the same name; give each its own")
    return Rules(nodes=groups, pods=tuple(_rule(entry) for entry in document.get("pods") or ()))


def _group(entry: Any) -> NodeGroup:
    _check(entry, {f.name for f in fields(NodeGroup)}, "a group of nodes")
    try:
        group = NodeGroup(**entry)
        for value in group.capacity.values():
            quantity.parse(value)
    except (ValueError, AttributeError) as error:
        raise StartError(f"capacity of nodes: {error}") from None
    if not isinstance(group.share, int) or group.share < 1:
        raise StartError(f"share of nodes is {group.share!r}; give a whole number above 0")
    for name in ("downEvery", "downFor"):
        _seconds(name, getattr(group, name))
    return group


def _rule(entry: Any) -> PodRule:
    _check(entry, {"selector", *(f.name for f in fields(Behaviour))}, "a rule of pods")
    try:
        selector = selectors.parse(entry.get("selector", ""))
    except ValueError as error:
        raise StartError(f"selector of pods: {error}") from None
    given = {key: value for key, value in entry.items() if key != "selector"}
    return PodRule(selector, Behaviour(**_pod_fields(given)))


def _check(entry: Any, known: set[str], what: str) -> None:
    if not isinstance(entry, Mapping):
        raise StartError(f"{what} is {entry!r}; give a mapping")
    for key in entry:
        if key not in known:
            raise StartError(f"{what} has the unknown key {key!r}; known are {sorted(known)}")


def _pod_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    times = {f.name for f in fields(Behaviour)} - {"exitCode"}
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key in times:
            found[key] = _span(key, value)
        elif key != "exitCode":
            raise StartError(f"unknown key {key!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise StartError(f"exitCode is {value!r}; give a number")
        else:
            found[key] = int(value)
    return found


def _span(name: str, value: Any) -> Span:
    if isinstance(value, list) and len(value) == 2:
        low, high = (_seconds(name, one) for one in value)
        if low <= high:
            return Span(low, high)
    return span(_seconds(name, value))


def _seconds(name: str, value: Any) -> float:
    if value == "never":
        return NEVER
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise StartError(f"{name} is {value!r}; give seconds, a range [low, high], or never")
    return float(value)


def _of_annotation(text: str) -> Any:
    """Make of `3`, `1-3` or `never` what would stand in the file."""
    low, dash, high = text.partition("-")
    if text == "never":
        return text
    return [float(low), float(high)] if dash else float(text)
