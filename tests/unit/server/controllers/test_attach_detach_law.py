"""The law of attachments: a disk for one node is never on two, and what is used is never taken.

Pods with disks come, go and are placed at random while writes fail; a driver attaches and detaches,
kubelets say what they use. At rest exactly the wanted disks are attached.
"""

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    ServiceUnavailableError,
)
from minikube_py.api.item import Item
from minikube_py.api.object import Key, evolve, get
from minikube_py.api.storage import VOLUMEATTACHMENTS
from minikube_py.server.controllers import attach_detach
from minikube_py.server.controllers.attachments import attachment_name, unique_name
from tests.harness import World, harness
from tests.unit.server.controllers.volumes import claim, ref, volume
from tests.virtual_time import run, settle

NAMES, DISKS = ("a", "b"), 2
FINALIZER = "external-attacher/example-com"
COMPLETED = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
MANAGED = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
STEPS = st.one_of(
    st.tuples(
        st.just("create"), st.integers(0, 3), st.sampled_from(NAMES), st.integers(0, DISKS - 1)
    ),
    st.tuples(st.just("delete"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.integers(1, 5)),
)


def disk(at: int, **more: Any) -> Any:
    source = {"driver": "example.com", "volumeHandle": f"h{at}"}
    made = volume(f"v{at}", csi=source, **more)
    return {**made, "spec": {k: v for k, v in made["spec"].items() if k != "hostPath"}}


class Drivers:
    """What an external attacher and the kubelets do, in the eyes of the controller."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.cluster.client("drivers")

    async def start(self) -> None:
        for kind, handler in ((VOLUMEATTACHMENTS, self._changed), (PODS, self._pod_changed)):
            informer = self.world.informers.get(kind)
            await informer.wait_synced()
            informer.subscribe(handler)

    def _changed(self, _old: Item | None, new: Item | None) -> None:
        if new is not None:
            self.world.nursery.start("driver", self._carry_out(new.key.name))

    async def _carry_out(self, name: str) -> None:
        await settle(0.3)
        item = self.world.cluster.table(VOLUMEATTACHMENTS).get(Key("", name))
        if item is None:
            return
        if item.deleting:
            assert not self._in_use(item.obj)
            bare = evolve(item.obj, "metadata.finalizers", [])
            await self.client.update(VOLUMEATTACHMENTS, bare)
        elif FINALIZER not in item.finalizers:
            held = evolve(item.obj, "metadata.finalizers", [FINALIZER])
            held = dict(await self.client.update(VOLUMEATTACHMENTS, held))
            attached = {**held, "status": {"attached": True}}
            await self.client.update(VOLUMEATTACHMENTS, attached, subresource="status")

    def _in_use(self, attachment: Any) -> bool:
        node = self.world.cluster.table(NODES)[Key("", attachment["spec"]["nodeName"])].obj
        at = int(attachment["spec"]["source"]["persistentVolumeName"][1:])
        return unique_name(disk(at)) in get(node, "status.volumesInUse", ())

    def _pod_changed(self, _old: Item | None, _new: Item | None) -> None:
        self.world.nursery.start("kubelets", self._say())

    async def _say(self) -> None:
        """Say what pods use, with the delay that unmounting takes."""
        await settle(0.7)
        for name in NAMES:
            used = sorted({unique_name(disk(at)) for at, node in users(self.world) if node == name})
            patch = {"status": {"volumesInUse": used}}
            await self.client.patch(NODES, name, patch, subresource="status")


def users(world: World) -> set[tuple[int, str]]:
    """Return which disks pods want where."""
    return {
        (int(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"][1:]), get(pod, path))
        for pod in world.cluster.objects(PODS)
        for path in ("spec.nodeName",)
    }


def check(world: World) -> None:
    names = [
        a["spec"]["source"]["persistentVolumeName"]
        for a in world.cluster.objects(VOLUMEATTACHMENTS)
    ]
    assert len(names) == len(set(names)), "a disk is on two nodes"


async def begin(world: World) -> None:
    for name in NAMES:
        conditions = [{"type": "Ready", "status": "True"}]
        metadata = {"name": name, "annotations": MANAGED}
        await world.client.create(
            NODES, {"metadata": metadata, "status": {"conditions": conditions}}
        )
    for at in range(DISKS):
        wanted = claim(f"c{at}", volumeName=f"v{at}", metadata=COMPLETED)
        made = await world.client.create(PERSISTENTVOLUMECLAIMS, wanted)
        await world.client.create(PERSISTENTVOLUMES, disk(at, claimRef=ref(made)))


async def act(world: World, step: Any) -> None:
    kind, *more = step
    if kind == "wait":
        await settle(float(more[0]))
    elif kind == "delete":
        await world.client.delete(PODS, f"p{more[0]}", "d", options={"gracePeriodSeconds": 0})
    else:
        at, node, of = more
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": f"c{of}"}}]
        spec = {"nodeName": node, "containers": [], "volumes": volumes}
        metadata = {"name": f"p{at}", "namespace": "d"}
        await world.client.create(PODS, {"metadata": metadata, "spec": spec})


async def live(steps: Any, faults: frozenset[int]) -> None:
    async with harness() as world:
        count = itertools.count()

        def refuse(user: str, _verb: str, resource: Any, _obj: Any) -> None:
            ours = user == "attachdetach-controller" and resource.plural != "events"
            if ours and next(count) in faults:
                raise ServiceUnavailableError("the datastore is away")

        world.cluster.refuse = refuse
        await begin(world)
        await Drivers(world).start()
        world.run(attach_detach.CONTROLLER)
        for step in steps:
            try:
                await act(world, step)
            except (AlreadyExistsError, ConflictError, NotFoundError):
                continue
            await settle(0.05)
            check(world)
        await settle(900)
        check(world)
        there = {
            a["metadata"]["name"]: get(a, "status.attached")
            for a in world.cluster.objects(VOLUMEATTACHMENTS)
        }
        wanted = users(world)
        assert {name for name, attached in there.items() if attached} == there.keys()
        assert there.keys() <= {attachment_name(disk(at), node) for at, node in wanted}
        assert len(there) == len({at for at, _ in wanted})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEPS, max_size=14),
    faults=st.frozensets(st.integers(0, 20), max_size=6),
)
def test_a_disk_is_never_on_two_nodes_and_all_that_is_wanted_is_attached(
    steps: Any, faults: frozenset[int]
) -> None:
    run(live(steps, faults))
