"""A node that is short of something: thresholds, who goes first, what is told, what images go."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.cri.images import Image, Images
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.admit import admit
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.eviction.manager import (
    EvictionManager,
    EvictionPolicy,
    Surroundings,
    levels_of,
)
from minikube_py.agent.kubelet.eviction.ranking import (
    PodUse,
    containers_message,
    has_disk_limits,
    over_limits,
    ranked,
)
from minikube_py.agent.kubelet.eviction.thresholds import (
    DEFAULT_HARD,
    MEMORY,
    NODE_FS,
    PIDS,
    Level,
    Levels,
    Seen,
    look,
    low_message,
    parse,
)
from minikube_py.agent.kubelet.image_garbage import ImageGarbage, ImagePolicy, bytes_to_free
from minikube_py.agent.kubelet.stats.disk import Space, Used
from minikube_py.agent.kubelet.stats.provider import Provider
from minikube_py.agent.kubelet.stats.sample import ContainerSample, PodFacts, PodSample, Sample
from minikube_py.agent.kubelet.stats.summary import Disks
from minikube_py.agent.kubelet.stats.usage import Memory, Usage
from minikube_py.api.object import Obj
from minikube_py.lib.tallies import Tallies
from tests.frozen import freeze
from tests.unit.agent.kubelet.builders import container, pod
from tests.virtual_time import VirtualClock, virtual

MI = 1 << 20
PLENTY = Level(1000 * MI, 2000 * MI)


def limited(**amounts: str) -> dict[str, Any]:
    return container(resources={"limits": {k.replace("_", "-"): v for k, v in amounts.items()}})


def requesting(**amounts: str) -> dict[str, Any]:
    return container(resources={"requests": amounts})


def named(name: str, containers: Any = (), **spec: Any) -> Any:
    return pod(containers or (container(),), metadata={"name": name, "uid": name}, **spec)


# --- thresholds -----------------------------------------------------------------------------------


def test_upstreams_thresholds_are_the_usual_ones() -> None:
    found = {one.signal: one.text for one in parse(DEFAULT_HARD)}
    assert found == {
        "memory.available": "100Mi",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "15%",
        "imagefs.inodesFree": "5%",
    }
    assert all(one.hard for one in parse(DEFAULT_HARD))


@pytest.mark.parametrize(
    "flags",
    [
        ("memory<1",),
        ("memory.available=1Mi",),
        ("memory.available<nonsense",),
        ("memory.available<120%",),
        ("", "memory.available<1Mi"),
        ("", "memory.available<1Mi", "memory.available=soon"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(*flags)


def test_a_hard_threshold_counts_at_once_and_a_soft_one_after_its_time() -> None:
    both = parse("memory.available<100Mi", "memory.available<200Mi", "memory.available=30s")
    seen = look(both, {MEMORY: Level(150 * MI, 2000 * MI)}, Seen(), 0.0)
    assert (seen.crossed, seen.conditions) == ([], {"MemoryPressure"})
    later = look(both, {MEMORY: Level(150 * MI, 2000 * MI)}, seen.seen, 30.0)
    assert [one.text for one in later.crossed] == ["200Mi"]
    at_once = look(both, {MEMORY: Level(50 * MI, 2000 * MI)}, Seen(), 0.0)
    assert [one.text for one in at_once.crossed] == ["100Mi"]


def test_a_node_says_for_a_while_that_it_was_short() -> None:
    hard = parse("memory.available<100Mi")
    short = look(hard, {MEMORY: Level(1, 2000 * MI)}, Seen(), 0.0)
    well = look(hard, {MEMORY: PLENTY}, short.seen, 299.0)
    assert (well.crossed, well.conditions) == ([], {"MemoryPressure"})
    assert look(hard, {MEMORY: PLENTY}, well.seen, 300.0).conditions == frozenset()


def test_what_was_short_must_be_won_back_by_more_than_the_threshold() -> None:
    hard = parse("nodefs.available<10%", reclaims="nodefs.available=5%")
    short = look(hard, {NODE_FS: Level(9, 100)}, Seen(), 0.0)
    assert look(hard, {NODE_FS: Level(12, 100)}, short.seen, 10.0).crossed
    assert not look(hard, {NODE_FS: Level(15, 100)}, short.seen, 10.0).crossed
    assert not look(hard, {NODE_FS: Level(12, 100)}, Seen(), 10.0).crossed


def test_memory_is_met_before_disk_and_processes() -> None:
    hard = parse("pid.available<10%,nodefs.available<10%,memory.available<10%")
    empty = Level(0, 100)
    verdict = look(hard, {PIDS: empty, NODE_FS: empty, MEMORY: empty}, Seen(), 0.0)
    assert [one.signal for one in verdict.crossed] == [MEMORY, NODE_FS, PIDS]
    assert verdict.conditions == {"MemoryPressure", "DiskPressure", "PIDPressure"}


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 100))
def test_a_share_is_crossed_exactly_below_it(available: int, capacity: int, share: float) -> None:
    hard = parse(f"memory.available<{share:.3f}%")
    crossed = bool(look(hard, {MEMORY: Level(available, capacity)}, Seen(), 0.0).crossed)
    assert crossed == bool(hard and available < int(capacity * float(f"{share:.3f}") / 100))


def test_what_a_node_has_left_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text("inactive_file 300\n")
    (tmp_path / "memory.current").write_text("1000\n")
    found = levels_of(Cgroups(unified=tmp_path), 10_000, tmp_path, None)
    assert found[MEMORY] == Level(10_000 - 700, 10_000)
    assert {NODE_FS, PIDS} <= set(found)


# --- ranking --------------------------------------------------------------------------------------


def test_who_uses_more_than_asked_for_goes_first_then_who_matters_less() -> None:
    asked = (requesting(memory="100Mi"),)
    uses = [
        PodUse(pod=named("within", asked), memory=90 * MI),
        PodUse(pod=named("important", asked, priority=10), memory=500 * MI),
        PodUse(pod=named("little-over", asked), memory=110 * MI),
        PodUse(pod=named("far-over", asked), memory=300 * MI),
        PodUse(pod=named("static"), memory=900 * MI),
        PodUse(pod=named("critical", priority=2_000_000_000), memory=900 * MI),
    ]
    uses[4] = PodUse(
        pod=freeze(
            {**uses[4].pod, "metadata": {"name": "static", "uid": "s", "namespace": "n",
                                         "annotations": {"kubernetes.io/config.source": "file"}}}
        ),
        memory=900 * MI,
    )  # fmt: skip
    order = [one.pod["metadata"]["name"] for one in ranked(MEMORY, uses)]
    assert order == ["far-over", "little-over", "important", "within"]


def test_processes_and_inodes_rank_by_priority_and_number() -> None:
    uses = [PodUse(pod=named("few"), processes=1, inodes=9),
            PodUse(pod=named("many"), processes=9, inodes=1),
            PodUse(pod=named("important", priority=1), processes=99, inodes=99)]  # fmt: skip
    assert [u.pod["metadata"]["name"] for u in ranked(PIDS, uses)] == ["many", "few", "important"]
    by_inodes = [u.pod["metadata"]["name"] for u in ranked("nodefs.inodesFree", uses)]
    assert by_inodes == ["few", "many", "important"]


def test_a_message_names_the_containers_that_use_more_than_they_ask_for() -> None:
    one = PodUse(
        pod=named("a", (requesting(memory="1Mi"), container("d"))),
        container_memory={"c": 5 * MI, "d": 2048},
    )
    assert containers_message(one, "memory") == (
        "Container c was using 5120Ki, request is 1Mi, has larger consumption of memory. "
        "Container d was using 2Ki, request is 0, has larger consumption of memory. "
    )
    (threshold,) = parse("memory.available<100Mi")
    assert low_message(threshold, Level(93 * MI, 2000 * MI)) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 95232Ki. "
    )


@pytest.mark.parametrize(
    ("spec", "use", "message"),
    [
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]},
         {"volumes": {"v": 2 * MI}}, 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
        ({"containers": [limited(ephemeral_storage="1Mi")]}, {"container_disk": {"c": 2 * MI}},
         'Container c exceeded its local ephemeral storage limit "1Mi". '),
        ({"containers": [limited(ephemeral_storage="1Mi")]}, {"disk": 2 * MI},
         "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
    ],
)  # fmt: skip
def test_who_takes_more_of_the_disk_than_it_may_is_told(
    spec: dict[str, Any], use: dict[str, Any], message: str
) -> None:
    containers = spec.pop("containers", (container(),))
    one = pod(containers, **spec)
    assert has_disk_limits(one)
    assert not has_disk_limits(pod())
    ((_, _, told),) = over_limits([PodUse(pod=one, **use)])
    assert told == message
    assert not list(over_limits([PodUse(pod=one)]))


# --- admission ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pressed", "extra", "refused"),
    [
        ("MemoryPressure", {}, True),
        ("MemoryPressure", {"containers": (requesting(cpu="1m"),)}, False),
        ("MemoryPressure", {"tolerations": [{"operator": "Exists"}]}, False),
        ("DiskPressure", {"containers": (requesting(cpu="1m"),)}, True),
        ("PIDPressure", {"priority": 2_000_000_000}, False),
        ("Ready", {}, False),
    ],
)
def test_a_node_that_is_short_lets_in_only_what_it_would_not_end_again(
    pressed: str,
    extra: dict[str, Any],
    refused: bool,  # noqa: FBT001
) -> None:
    containers = extra.pop("containers", (container(),))
    node = {"metadata": {}, "status": {"conditions": [{"type": pressed, "status": "True"}]}}
    failure = admit(pod(containers, **extra), [], {"cpu": "1", "pods": "10"}, node)
    told = f"Pod was rejected: The node had condition: [{pressed}]. "
    wanted = Failure("Evicted", told) if refused else None
    assert failure == wanted


# --- the manager ----------------------------------------------------------------------------------


@dataclass
class NodeModel:
    """A node of which a test says what it has left."""

    clock: VirtualClock
    levels: dict[str, Level] = field(default_factory=lambda: {MEMORY: PLENTY})
    pods: list[PodSample] = field(default_factory=list)
    disks: Disks = field(default_factory=Disks)
    evicted: list[tuple[str, str, int]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    conditions: list[frozenset[str]] = field(default_factory=list)
    ending: set[str] = field(default_factory=set)
    sampled: int = 0
    freed: int = 0
    tallies: Tallies = field(default_factory=Tallies)

    def add(self, one: Obj, memory: int) -> None:
        name = one["metadata"]["name"]
        used = Usage(memory=Memory(usage=memory, working_set=memory))
        inside = ContainerSample(container=Container(id=name, name="c"), group="", usage=used, at=0)
        facts = PodFacts(pod=one)
        self.pods.append(PodSample(facts=facts, group="", usage=used, at=0, containers=[inside]))

    def facts(self) -> list[PodFacts]:
        return [one.facts for one in self.pods]

    async def sample(self) -> Sample:
        self.sampled += 1
        return Sample(usage=Usage(), at=0, pods=self.pods)

    async def sample_of(self, facts: list[PodFacts]) -> Sample:
        return Sample(usage=Usage(), at=0, pods=[p for p in self.pods if p.facts in facts])

    async def measure(self, *_: Any) -> Disks:
        return self.disks

    def evict(self, uid: str, failure: Failure, grace: int) -> bool:
        if any(name == uid for name, _, _ in self.evicted):
            return False
        self.evicted.append((uid, failure.message, grace))
        return True

    def is_ending(self, uid: str) -> bool:
        return uid in self.ending

    async def free_disk(self) -> None:
        self.freed += 1

    def manager(self, *flags: str, **policy: Any) -> EvictionManager:
        stats: Any = self
        stats_with_disks = _Stats(stats)
        return EvictionManager(
            EvictionPolicy(thresholds=parse(*flags), **policy),
            Surroundings(
                stats=cast("Provider", stats_with_disks),
                pods=self,
                tell=lambda one, message: self.told.append(f"{one['metadata']['name']} {message}"),
                tell_node=lambda reason, message: self.told.append(f"{reason} {message}"),
                conditions=self.conditions.append,
                free_disk=self.free_disk,
                levels=self._levels,
                clock=self.clock,
                tallies=self.tallies,
            ),
        )

    async def _levels(self) -> Levels:
        return self.levels


class _Stats:
    """What the manager asks of the measurements."""

    def __init__(self, node: NodeModel) -> None:
        self.facts, self.sample, self.sample_of = node.facts, node.sample, node.sample_of
        self.disks = node.measure


@virtual
async def test_one_pod_at_a_time_is_ended_while_memory_is_short() -> None:
    node = NodeModel(VirtualClock())
    node.add(named("small"), 10 * MI)
    node.add(named("large"), 500 * MI)
    manager = node.manager("memory.available<100Mi")
    await manager.step()
    assert (node.evicted, node.sampled, node.conditions) == ([], 0, [])
    node.levels[MEMORY] = Level(50 * MI, 2000 * MI)
    await manager.step()
    ((uid, message, grace),) = node.evicted
    assert (uid, grace) == ("large", 1)
    assert message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. "
        "Container c was using 512000Ki, request is 0, has larger consumption of memory. "
    )
    assert node.told == ["EvictionThresholdMet Attempting to reclaim memory", f"large {message}"]
    assert node.conditions == [frozenset({"MemoryPressure"})]
    node.ending = {"large"}
    await manager.step()
    assert len(node.evicted) == 1  # it has yet to give back what it used
    await node.clock.sleep(30)
    await manager.step()
    assert [uid for uid, _, _ in node.evicted] == ["large", "small"]
    node.levels[MEMORY] = PLENTY
    await manager.step()
    assert len(node.evicted) == 2
    counted = [line for line in node.tallies.lines() if not line.startswith("#")]
    assert counted == [
        f'kubelet_evictions{{eviction_signal="memory.available"}} {len(node.evicted)}'
    ]


@virtual
async def test_a_soft_threshold_leaves_pods_their_grace_period() -> None:
    node = NodeModel(VirtualClock(), {MEMORY: Level(1, 2000 * MI)})
    node.add(named("a", terminationGracePeriodSeconds=7), MI)
    flags = ("", "memory.available<100Mi", "memory.available=10s")
    manager = node.manager(*flags, soft_grace_seconds=60)
    await manager.step()
    assert node.evicted == []
    await node.clock.sleep(10)
    await manager.step()
    assert node.evicted[0][2] == 7


@virtual
async def test_what_nobody_uses_goes_before_pods_when_the_disk_is_short() -> None:
    node = NodeModel(VirtualClock(), {NODE_FS: Level(5, 100)})
    node.add(named("a"), MI)
    manager = node.manager("nodefs.available<10%")
    await manager.step()
    assert node.freed == 1
    assert [uid for uid, _, _ in node.evicted] == ["a"]  # that had won nothing back


@virtual
async def test_a_volume_over_its_size_ends_its_pod_and_only_limited_pods_are_measured() -> None:
    node = NodeModel(VirtualClock())
    node.add(named("free"), MI)
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
    node.add(named("over", volumes=[volume]), MI)
    node.disks = Disks(volumes={("over", "v"): (Space(9, 9, 9, 9), Used(2 * MI, 1))})
    await node.manager("memory.available<100Mi").step()
    assert node.evicted == [("over", 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ', 1)]
    assert node.sampled == 0


# --- images ---------------------------------------------------------------------------------------


class ImageStore:
    def __init__(self, *images: Image) -> None:
        self.images = {one.id: one for one in images}
        self.removed: list[str] = []

    async def list_all(self) -> list[Image]:
        return list(self.images.values())

    async def remove(self, image: str) -> None:
        del self.images[image]
        self.removed.append(image)


def image(name: str, size: int = 10, **more: Any) -> Image:
    return Image(id=name, tags=(f"{name}:1",), size_bytes=size, **more)


FULL = Space(capacity=100, available=5, inodes=1, inodes_free=1)


def garbage(store: ImageStore, **policy: Any) -> tuple[ImageGarbage, VirtualClock]:
    clock = VirtualClock()
    return ImageGarbage(cast("Images", store), clock, ImagePolicy(**policy)), clock


def test_images_go_from_the_high_mark_down_to_the_low_one() -> None:
    policy = ImagePolicy()
    assert bytes_to_free(Space(100, 16, 1, 1), policy) == 0
    assert bytes_to_free(Space(100, 15, 1, 1), policy) == 5
    assert bytes_to_free(Space(0, 0, 0, 0), policy) == 0


@virtual
async def test_the_longest_unused_images_go_first_and_no_more_than_needed() -> None:
    store = ImageStore(image("old"), image("used"), image("recent"), image("pause"))
    made, clock = garbage(store, kept=frozenset({"pause:1"}))
    used = [Container(id="1", image="used:1")]
    await made.collect([*used, Container(id="2", image="recent:1")], None)
    await clock.sleep(200)
    assert await made.collect(used, FULL) == ""
    assert store.removed == ["old", "recent"]


@virtual
async def test_images_that_are_young_pinned_or_used_stay() -> None:
    store = ImageStore(image("young"), image("pinned", pinned=True), image("used"))
    made, clock = garbage(store)
    used = [Container(id="1", image_ref="used")]
    trouble = await made.collect(used, FULL)
    assert trouble == (
        "Failed to garbage collect required amount of images. Attempted to free 15 bytes, but "
        "only found 0 bytes eligible to free."
    )
    assert store.removed == []
    await clock.sleep(121)
    await made.collect(used, FULL)
    assert store.removed == ["young"]


@virtual
async def test_a_node_that_needs_the_disk_removes_all_that_is_unused() -> None:
    store = ImageStore(image("a"), image("b"), image("used"))
    made, clock = garbage(store)
    assert await made.remove_unused([]) == 0  # all have only just come
    await clock.sleep(121)
    assert await made.remove_unused([Container(id="1", image="used:1")]) == 20
    assert set(store.images) == {"used"}
