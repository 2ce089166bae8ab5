"""What wakes a pod: a relist wakes those of which the runtime says something else than was seen."""

from typing import Any

from minikube_py.agent.kubelet.observed import POD_UID
from minikube_py.agent.kubelet.pleg import Pleg
from minikube_py.lib.tallies import Tallies
from tests.virtual_time import VirtualClock, virtual

LISTED = {
    "ListPodSandbox": {
        "items": [
            {"id": "s1", "labels": {POD_UID: "p"}},
            {"id": "s2", "labels": {POD_UID: "q"}, "state": "SANDBOX_NOTREADY"},
        ]
    },
    "ListContainers": {
        "containers": [
            {"id": "c1", "labels": {POD_UID: "p"}, "state": "CONTAINER_RUNNING"},
            {"id": "c2", "labels": {POD_UID: "q"}, "state": "CONTAINER_EXITED"},
        ]
    },
}
SEEN = {
    "s1": ("p", "ready"),
    "c1": ("p", "running"),
    "s2": ("q", "notready"),
    "c2": ("q", "exited"),
}


class Listing:
    """A connection that knows how to list."""

    async def call(self, _service: str, method: str, _request: Any, **_: Any) -> Any:
        return LISTED[method]


async def relisted(seen: dict[str, tuple[str, str]]) -> list[str]:
    woken: list[str] = []
    pleg = Pleg(Listing(), VirtualClock(), lambda: seen, woken.append, lambda _: None, Tallies())  # type: ignore[arg-type]
    await pleg.relist()
    assert pleg.healthy
    return sorted(woken)


@virtual
async def test_a_relist_wakes_nobody_where_the_workers_have_seen_it_all():
    assert await relisted(SEEN) == []


@virtual
async def test_a_relist_wakes_the_pods_whose_workers_have_missed_something():
    assert await relisted({}) == ["p", "q"]
    assert await relisted({**SEEN, "c2": ("q", "running")}) == ["q"]
    assert await relisted({**SEEN, "c0": ("p", "exited")}) == ["p"]
