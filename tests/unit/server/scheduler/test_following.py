"""What informers tell becomes facts and events, read anew only where it can have changed."""

from typing import Any

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent
from minikube_py.server.scheduler.following import Follower
from minikube_py.server.scheduler.pod_info import PodInfo
from tests.unit.server.scheduler import builders
from tests.unit.server.scheduler.builders import item

BOUND: dict[str, Any] = {"uid": "u", "node": "n", "requests": {"cpu": "1"}}


class Told:
    """Stands for the queue and for the deadlines: keeps what happened."""

    def __init__(self) -> None:
        self.events: list[ClusterEvent] = []

    def happened(self, event: ClusterEvent) -> None:
        self.events.append(event)

    def remove(self, _: str) -> None: ...

    forget = remove


def following() -> tuple[Follower, Cache, Told]:
    cache, told = builders.cache(), Told()
    stand_in: Any = told
    return Follower(cache, stand_in, stand_in, {"default-scheduler"}), cache, told


def test_a_pod_that_is_on_its_way_out_is_not_read_again():
    follower, cache, told = following()
    running, leaving = item(**BOUND), item(**BOUND, deleting=True)
    follower.pod_changed(None, running)
    before = cache.pod("u")
    follower.pod_changed(running, leaving)
    after = cache.pod("u")
    assert before is not None
    assert after is not None
    assert after.deleting
    assert after.requests is before.requests
    assert [event.action for event in told.events] == [Action.ADD, Action.OTHER]


def test_new_labels_of_a_pod_that_runs_are_an_event_of_their_own():
    follower, cache, told = following()
    running, labelled = item(**BOUND), item(**BOUND, labels={"app": "web"})
    follower.pod_changed(None, running)
    follower.pod_changed(running, labelled)
    known = cache.pod("u")
    assert known is not None
    assert known.labels == {"app": "web"}
    assert [event.action for event in told.events] == [Action.ADD, Action.POD_LABEL]


def test_a_pod_that_is_resized_takes_less_from_then_on():
    follower, cache, told = following()
    pending = {"conditions": [{"type": "PodResizeInProgress", "status": "True"}]}
    running = item(**BOUND, status=pending)
    smaller = item(**{**BOUND, "requests": {"cpu": "500m"}})
    follower.pod_changed(None, running)
    follower.pod_changed(running, smaller)
    known = cache.pod("u")
    assert known is not None
    assert known.requests == {"cpu": 500}
    assert [event.action for event in told.events] == [Action.ADD, Action.POD_SCALE_DOWN]


def test_a_pod_that_got_the_labels_of_its_zone_with_its_node_is_not_read_again():
    follower, cache, told = following()
    assumed = PodInfo(item(**{**BOUND, "node": ""}))
    cache.set_pod(assumed.on("n"))
    zoned = item(**BOUND, labels={"topology.kubernetes.io/zone": "z"})
    follower.pod_changed(item(**{**BOUND, "node": ""}), zoned)
    known = cache.pod("u")
    assert known is not None
    assert known.labels == {"topology.kubernetes.io/zone": "z"}
    assert known.requests is assumed.requests
    assert [event.action for event in told.events] == [Action.ADD]
