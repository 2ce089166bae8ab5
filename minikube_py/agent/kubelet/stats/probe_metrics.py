"""The page /metrics/probes: how often each probe was made and what came of it."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from minikube_py.api.object import Obj, uid_of
from minikube_py.lib.prometheus import metric


class _Probe(NamedTuple):
    uid: str
    pod: str
    namespace: str
    container: str
    kind: str
    result: str


class ProbeCounts:
    """Counts for as long as a pod is on this node."""

    def __init__(self) -> None:
        self._counts: Counter[_Probe] = Counter()

    def add(self, pod: Obj, container: str, kind: str, ok: bool | None) -> None:  # noqa: FBT001
        """Count one probe; `ok` is None where it could not be made."""
        metadata = pod["metadata"]
        result = {True: "successful", False: "failed", None: "unknown"}[ok]
        self._counts[
            _Probe(
                uid_of(pod),
                metadata["name"],
                metadata.get("namespace", ""),
                container,
                kind.capitalize(),
                result,
            )
        ] += 1

    def forget(self, uid: str) -> None:
        """Drop the counts of a pod that is gone."""
        for probe in [one for one in self._counts if one.uid == uid]:
            del self._counts[probe]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the page."""
        yield from metric(
            "prober_probe_total",
            "counter",
            "[BETA] Cumulative number of a liveness, readiness or startup probe for a container "
            "by result.",
            (
                (
                    {
                        "container": probe.container,
                        "namespace": probe.namespace,
                        "pod": probe.pod,
                        "pod_uid": probe.uid,
                        "probe_type": probe.kind,
                        "result": probe.result,
                    },
                    count,
                )
                for probe, count in sorted(self._counts.items())
            ),
        )
