"""How full the volumes of claims are: lines of the page /metrics, as upstream's volume_stats.go."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from minikube_py.agent.kubelet.stats.disk import Space, Used
from minikube_py.api.core.volume_matching import claims_of
from minikube_py.api.object import Key, Obj, uid_of
from minikube_py.lib.prometheus import metric

FIGURES = (
    ("capacity_bytes", "Capacity in bytes of the volume"),
    ("available_bytes", "Number of available bytes in the volume"),
    ("used_bytes", "Number of used bytes in the volume"),
    ("inodes", "Maximum number of inodes in the volume"),
    ("inodes_free", "Number of free inodes in the volume"),
    ("inodes_used", "Number of used inodes in the volume"),
)


class VolumeUse(NamedTuple):
    """A volume as a whole, and how much of it is taken."""

    space: Space
    used: Used

    @property
    def figures(self) -> tuple[int, ...]:
        """The values of FIGURES."""
        space, used = self.space, self.used
        return (
            *(space.capacity, space.available, used.bytes),
            *(space.inodes, space.inodes_free, used.inodes),
        )


def of_claims(
    pods: Sequence[Obj], volumes: Mapping[tuple[str, str], VolumeUse]
) -> dict[Key, VolumeUse]:
    """Return the volumes that belong to claims; pods may share one."""
    found = {}
    for pod in pods:
        for volume, claim in claims_of(pod):
            use = volumes.get((uid_of(pod), volume["name"]))
            if use is not None:
                found[claim] = use
    return found


def lines(claims: Mapping[Key, VolumeUse]) -> Iterator[str]:
    """Yield the lines."""
    ordered = sorted(claims.items())
    for number, (name, what) in enumerate(FIGURES):
        samples = (
            (
                {"namespace": claim.namespace, "persistentvolumeclaim": claim.name},
                use.figures[number],
            )
            for claim, use in ordered
        )
        yield from metric(f"kubelet_volume_stats_{name}", "gauge", f"[ALPHA] {what}", samples)
