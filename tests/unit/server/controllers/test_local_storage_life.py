"""The law of local volumes: data lives exactly as long as its volume, and room is never sold twice.

Users make and delete claims and pods while writes fail; scheduler, binder, provisioner and two
nodes with small disks do their work. What a node is told to remove is never in use, and when all
claims are gone nothing is left on any disk.
"""

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api import quantity
from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    ServiceUnavailableError,
)
from minikube_py.api.item import Item
from minikube_py.api.local_storage import OFFER, ON_NODE, PROVISIONER, Offer, unwanted_of
from minikube_py.api.object import Key, annotations_of, get
from minikube_py.api.storage import CSIDRIVERS, STORAGECLASSES
from minikube_py.server.controllers import local_storage, persistent_volumes, storage_protection
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import World, harness
from tests.kubelet_model import Kubelets, node
from tests.unit.server.controllers.volumes import claim, storage_class
from tests.virtual_time import run, settle

GI = 1 << 30
TOTAL = 4 * GI
PARTS = (
    local_storage.CONTROLLER,
    persistent_volumes.CONTROLLER,
    storage_protection.PVC_PROTECTION,
    storage_protection.PV_PROTECTION,
)
NAMES = ("a", "b")
CLASS = storage_class("local-path", PROVISIONER, volumeBindingMode="WaitForFirstConsumer")

number = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("claim"), number, st.sampled_from(["1Gi", "2Gi", "3Gi", "5Gi"])),
    st.tuples(st.just("pod"), number, number),
    st.tuples(st.just("delete_claim"), number),
    st.tuples(st.just("delete_pod"), number),
    st.tuples(st.just("wait"), st.integers(1, 20)),
)


class Disks:
    """What agents do on the nodes, with sets of names for disks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.cluster.client("agents")
        self.data: dict[str, set[str]] = {name: set() for name in NAMES}

    async def start(self) -> None:
        await Kubelets(self.world).add(
            *({**node(n), "metadata": {**node(n)["metadata"], **noted(())}} for n in NAMES)
        )
        for kind, handler in ((NODES, self._node_changed), (PODS, self._pod_changed)):
            informer = self.world.informers.get(kind)
            await informer.wait_synced()
            informer.subscribe(handler)

    def _volumes(self) -> dict[str, Any]:
        return {v["metadata"]["name"]: v for v in self.world.cluster.objects(PERSISTENTVOLUMES)}

    def _node_changed(self, old: Item | None, new: Item | None) -> None:
        before = unwanted_of(old.obj) if old is not None else frozenset()
        if new is not None and unwanted_of(new.obj) != before:
            self.world.nursery.start("remove", self._remove(new.key.name, unwanted_of(new.obj)))

    async def _remove(self, name: str, unwanted: frozenset[str]) -> None:
        volumes = self._volumes()
        for one in unwanted & volumes.keys():
            assert "deletionTimestamp" in volumes[one]["metadata"]
            assert volumes[one]["status"]["phase"] != "Bound"
        await settle(0.5)
        self.data[name] -= unwanted
        await self.client.patch(NODES, name, {"metadata": noted(sorted(unwanted))})

    def _pod_changed(self, _old: Item | None, new: Item | None) -> None:
        if new is None or not new.fields.get("spec.nodeName") or new.deleting:
            return
        claim_name = new.obj["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
        item = self.world.cluster.table(PERSISTENTVOLUMECLAIMS).get(Key("d", claim_name))
        found = None if item is None or item.deleting else item.obj
        if found is None or get(found, "status.phase") != "Bound":
            return  # the claim went, and maybe came again, while the pod was on its way
        its = self._volumes()[found["spec"]["volumeName"]]
        assert annotations_of(its)[ON_NODE] == new.fields["spec.nodeName"]
        self.data[new.fields["spec.nodeName"]].add(its["metadata"]["name"])

    def check(self) -> None:
        """See that nobody has more than there is, and that no data is there without a volume."""
        volumes = self._volumes()
        for name in NAMES:
            mine = [v for v in volumes.values() if annotations_of(v)[ON_NODE] == name]
            assert sum(quantity.value(v["spec"]["capacity"]["storage"]) for v in mine) <= TOTAL
            assert self.data[name] <= {v["metadata"]["name"] for v in mine}


def noted(removed: Any) -> dict[str, Any]:
    offer = Offer(path="/s", total=TOTAL, available=TOTAL, removed=tuple(removed))
    return {"annotations": {OFFER: offer.text()}}


class Users:
    """Make and delete claims and pods; what cannot be done is let be."""

    def __init__(self, world: World) -> None:
        self.client = world.client

    async def do(self, step: Any) -> None:
        try:
            await getattr(self, step[0])(*step[1:])
        except (AlreadyExistsError, ConflictError, NotFoundError):
            return

    async def claim(self, at: int, size: str) -> None:
        protected = {"finalizers": ["kubernetes.io/pvc-protection"]}
        made = claim(f"c{at}", size, storageClassName="local-path", metadata=protected)
        await self.client.create(PERSISTENTVOLUMECLAIMS, made)

    async def pod(self, at: int, of: int) -> None:
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": f"c{of}"}}]
        spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
        metadata = {"name": f"p{at}", "namespace": "d"}
        await self.client.create(PODS, {"metadata": metadata, "spec": spec})

    async def delete_claim(self, at: int) -> None:
        await self.client.delete(PERSISTENTVOLUMECLAIMS, f"c{at}", "d")

    async def delete_pod(self, at: int) -> None:
        await self.client.delete(PODS, f"p{at}", "d", options={"gracePeriodSeconds": 0})

    async def wait(self, seconds: int) -> None:
        await settle(float(seconds))


def disturb(world: World, faults: frozenset[int]) -> None:
    count = itertools.count()
    ours = {"scheduler", *(part.name for part in PARTS)}

    def refuse(user: str, _verb: str, resource: Any, _obj: Any) -> None:
        if user in ours and resource.plural != "events" and next(count) in faults:
            raise ServiceUnavailableError("the datastore is away")

    world.cluster.refuse = refuse


async def live(steps: Any, faults: frozenset[int]) -> None:
    async with harness() as world:
        driver = {"metadata": {"name": PROVISIONER}, "spec": {"storageCapacity": True}}
        await world.client.create(CSIDRIVERS, driver)
        await world.client.create(STORAGECLASSES, CLASS)
        disks, users = Disks(world), Users(world)
        await disks.start()
        disturb(world, faults)
        world.run(*PARTS)
        scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
        world.nursery.start("scheduler", scheduler.run())
        for step in steps:
            await users.do(step)
            await settle(0.01)
            disks.check()
        await settle(2000)
        disks.check()
        for at in range(4):
            await users.do(("delete_pod", at))
            await users.do(("delete_claim", at))
        await settle(2000)
        assert world.cluster.objects(PERSISTENTVOLUMECLAIMS) == []
        assert world.cluster.objects(PERSISTENTVOLUMES) == []
        assert disks.data == {name: set() for name in NAMES}
        assert all(not unwanted_of(one) for one in world.cluster.objects(NODES))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEPS, max_size=14),
    faults=st.frozensets(st.integers(0, 40), max_size=10),
)
def test_data_lives_as_long_as_its_volume_and_no_room_is_promised_twice(
    steps: Any, faults: frozenset[int]
) -> None:
    run(live(steps, faults))
