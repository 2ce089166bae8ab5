"""DRA on a node: drivers register over real gRPC, claims are prepared, given back, and survive."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.dra.claims import DraClaims, container_claims
from minikube_py.agent.kubelet.dra.drivers import KIND, ClaimError, DraDrivers
from minikube_py.agent.kubelet.dra.records import Record, dump, load
from minikube_py.agent.kubelet.plugins.messages import TABLE
from minikube_py.agent.kubelet.plugins.registration import Registration
from minikube_py.api.object import Key
from minikube_py.api.resource_k8s import RESOURCECLAIMS, RESOURCESLICES
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.message_table import parse
from minikube_py.lib.tasks import Nursery
from tests.harness import World, harness
from tests.node_plugins import CDI_KIND, DRIVER, DraDriverDouble

FACTS = Path(__file__).resolve().parents[5] / "shared" / "reference" / "wire"


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a folder with a short name: the path of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="dra") as made:
        yield Path(made)


async def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


def devices(uid: str) -> list[Any]:
    named = {"pool_name": "p", "request_names": ["r"]}
    first = {**named, "device_name": uid, "cdi_device_ids": [f"{CDI_KIND}={uid}"]}
    other = {"pool_name": "p", "device_name": "all", "cdi_device_ids": [f"{CDI_KIND}=all"]}
    return [first, {**other, "request_names": ["s"]}]


@dataclass
class Here:
    """The claims of one node, and a driver beside it."""

    world: World
    root: Path
    driver: DraDriverDouble
    drivers: DraDrivers
    claims: DraClaims

    async def add_claim(self, name: str, *users: str, **status: Any) -> None:
        result = {"driver": DRIVER, "pool": "p", "device": "one", "request": "r"}
        claim = {
            "metadata": {"name": name, "namespace": "d"},
            "spec": {},
            "status": {
                "allocation": {"devices": {"results": [result]}},
                "reservedFor": [{"resource": "pods", "name": uid, "uid": uid} for uid in users],
                **status,
            },
        }
        await self.world.client.create(RESOURCECLAIMS, claim)
        await self.world.client.update(RESOURCECLAIMS, claim, subresource="status")


def pod(uid: str = "u", claim: str = "c", request: str = "") -> Any:
    used = {"name": "entry"} | ({"request": request} if request else {})
    return {
        "metadata": {"name": uid, "namespace": "d", "uid": uid},
        "spec": {
            "containers": [{"name": "c", "resources": {"claims": [used]}}],
            "resourceClaims": [{"name": "entry", "resourceClaimName": claim}],
        },
    }


@contextlib.asynccontextmanager
async def node(root: Path, **health: Any) -> AsyncIterator[Here]:
    async with harness() as world, Nursery("node") as nursery:
        clock = SystemClock()
        drivers = DraDrivers("n", world.client, clock)
        registry = root / "plugins_registry"
        claims = DraClaims(root, drivers, world.client, clock)
        driver = DraDriverDouble(root / "driver.sock", devices)
        driver.health = health or None
        nursery.start("drivers", drivers.run())
        nursery.start("plugins", Registration(registry, {KIND: drivers}, clock).run())
        await until(registry.is_dir)
        async with driver.serving(registry):
            await until(lambda: driver.registered)
            yield Here(world, root, driver, drivers, claims)


async def test_a_claim_is_prepared_once_for_all_its_pods_and_given_back_after_the_last(
    root: Path,
) -> None:
    async with node(root) as here:
        await here.add_claim("c", "u", "v")
        await here.claims.prepare(pod("u"))
        await here.claims.prepare(pod("v"))
        await here.claims.prepare(pod("v"))
        assert here.driver.calls() == ["NodePrepareResources"]
        [container] = pod()["spec"]["containers"]
        found = here.claims.cdi_devices(pod(), container)
        assert found[1:] == [f"{CDI_KIND}=all"]
        [container] = pod(request="r")["spec"]["containers"]
        assert here.claims.cdi_devices(pod(), container) == found[:1]
        await here.claims.unprepare("u")
        assert here.driver.calls() == ["NodePrepareResources"]
        await here.claims.unprepare("v")
        await here.claims.unprepare("v")
        assert here.driver.calls() == ["NodePrepareResources", "NodeUnprepareResources"]


async def test_after_a_restart_what_pods_left_behind_is_given_back(root: Path) -> None:
    async with node(root) as here:
        await here.add_claim("c", "u", "v")
        await here.add_claim("e", "w")
        await here.claims.prepare(pod("u"))
        await here.claims.prepare(pod("w", "e"))
        again = DraClaims(root, here.drivers, here.world.client, SystemClock())
        [container] = pod()["spec"]["containers"]
        assert again.cdi_devices(pod(), container) == here.claims.cdi_devices(pod(), container)
        async with Nursery("again") as nursery:
            nursery.start("claims", again.run(lambda uid: uid == "u"))
            await until(lambda: ("NodeUnprepareResources", ["e"]) in here.driver.log)
            file = root / "dra_manager_state"
            await until(lambda: list(load(file.read_bytes())) == [Key("d", "c")])
        assert ("NodeUnprepareResources", ["c"]) not in here.driver.log


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reservedFor": []}, r"pod u \(u\) is not allowed to use ResourceClaim c \(.+\)"),
        ({"allocation": None}, "ResourceClaim c: not allocated"),
    ],
)
async def test_a_claim_that_is_not_for_the_pod_is_not_prepared(
    root: Path, change: dict[str, Any], message: str
) -> None:
    async with node(root) as here:
        await here.add_claim("c", "u", **change)
        with pytest.raises(ClaimError, match=f"^prepare dynamic resources: {message}$"):
            await here.claims.prepare(pod())
        assert here.driver.calls() == []
        assert not (root / "dra_manager_state").exists()


async def test_a_driver_that_is_not_there_or_fails_is_named(root: Path) -> None:
    async with node(root) as here:
        await here.add_claim("c", "u")
        here.driver.failures["NodePrepareResources"] = "broken"
        words = "prepare dynamic resources: NodePrepareResources failed for ResourceClaim c: broken"
        with pytest.raises(ClaimError, match=words):
            await here.claims.prepare(pod())
        with pytest.raises(ClaimError, match="fetch ResourceClaim x: "):
            await here.claims.prepare(pod(claim="x"))
        here.driver.failures.clear()
        await here.claims.prepare(pod())
    with pytest.raises(ClaimError, match=f"DRA driver {DRIVER} is not registered"):
        await here.claims.unprepare("u")


async def test_a_claim_of_a_template_that_was_not_made_yet_is_waited_for(root: Path) -> None:
    async with node(root) as here:
        of = pod()
        of["spec"]["resourceClaims"] = [{"name": "entry", "resourceClaimTemplateName": "t"}]
        with pytest.raises(ClaimError, match='pod "d/u": ResourceClaim not created yet'):
            await here.claims.prepare(of)
        of["status"] = {"resourceClaimStatuses": [{"name": "entry"}]}
        await here.claims.prepare(of)  # it turned out that none is needed
        assert here.driver.calls() == []


async def test_how_well_devices_are_stands_in_the_pods_status(root: Path) -> None:
    claim_uid = ""

    def told(health: str, message: str = "") -> dict[str, Any]:
        seconds = int(SystemClock().now().timestamp())
        device = {"pool_name": "p", "device_name": claim_uid}
        return {
            "device": device,
            "health": health,
            "last_updated_time": seconds,
            "message": message,
        }

    async with node(root, **told("HEALTHY")) as here:
        await here.add_claim("c", "u")
        await here.claims.prepare(pod())
        claim_uid = next(iter(here.claims.records)).uid
        woken: list[str] = []
        here.claims.on_health = woken.append
        [container] = pod(request="r")["spec"]["containers"]

        def shown() -> Any:
            return dict(here.claims.health(pod(request="r"), container))

        unknown = {"resourceID": f"{CDI_KIND}={claim_uid}", "health": "Unknown"}
        assert shown() == {"claim:entry/r": [unknown]}
        here.driver.tell_health(**told("UNHEALTHY", "hot" * 400))
        await until(lambda: woken == ["u"])
        [found] = shown()["claim:entry/r"]
        assert (found["health"], len(found["message"])) == ("Unhealthy", 1024)
        here.driver.tell_health(**told("HEALTHY"))
        await until(lambda: woken == ["u", "u"])
        assert shown()["claim:entry/r"][0]["health"] == "Healthy"
        here.driver.tell_health(**{**told("HEALTHY"), "last_updated_time": 1})
        await until(lambda: shown()["claim:entry/r"][0]["health"] == "Unknown")


async def test_a_driver_that_speaks_nothing_known_is_refused(root: Path) -> None:
    async with harness() as world, Nursery("node") as nursery:
        drivers = DraDrivers("n", world.client, SystemClock())
        registry = root / "plugins_registry"
        nursery.start("drivers", drivers.run())
        registry.mkdir()
        driver = DraDriverDouble(root / "driver.sock", devices)
        driver.versions = ["v1alpha3"]
        async with driver.serving(registry):
            await Registration(registry, {KIND: drivers}, SystemClock()).look()
        [told] = driver.registered
        assert "none of the DRA gRPC services are supported" in told["error"]
        assert drivers.get(DRIVER) is None


async def test_the_slices_of_the_node_go_at_its_start(root: Path) -> None:
    async with harness() as world, Nursery("node") as nursery:
        await world.client.create(
            RESOURCESLICES,
            {"metadata": {"name": "mine"}, "spec": {"nodeName": "n", "driver": DRIVER}},
        )
        await world.client.create(
            RESOURCESLICES,
            {"metadata": {"name": "other"}, "spec": {"nodeName": "m", "driver": DRIVER}},
        )
        nursery.start("drivers", DraDrivers("n", world.client, world.clock).run())
        slices = world.cluster.table(RESOURCESLICES)
        await until(lambda: {key.name for key in slices} == {"other"})


def test_the_numbers_are_those_of_plugin_registration() -> None:
    facts = json.loads((FACTS / "kubelet-pluginregistration-v1.json").read_bytes())["messages"]
    for message, fields in parse(TABLE).items():
        known = facts[f"pluginregistration.{message}"]
        assert {name: one[0] for name, one in fields.items()} == {
            name: one[0] for name, one in known.items()
        }


texts = st.text("abc-./=", min_size=1, max_size=5)
told = st.builds(
    lambda pool, name, cdi: {"pool_name": pool, "device_name": name, "cdi_device_ids": cdi},
    texts,
    texts,
    st.lists(texts, min_size=1, max_size=2),
)
records = st.builds(
    lambda key, uid, pods, drivers: Record(key=key, uid=uid, pods=pods, drivers=drivers),
    st.builds(Key, texts, texts),
    texts,
    st.frozensets(texts, max_size=2),
    st.dictionaries(texts, st.lists(told, max_size=2), max_size=2),
)


@given(st.lists(records, max_size=3))
def test_what_is_written_down_is_read_again(found: list[Record]) -> None:
    kept = {record.key: record for record in found}
    assert load(dump(kept)) == kept


def test_extended_resources_that_claims_stand_for_are_claims_of_the_container() -> None:
    mapping = {"containerName": "c", "requestName": "r0", "resourceName": "example.com/x"}
    status = {"resourceClaimName": "special", "requestMappings": [mapping]}
    of = pod() | {"status": {"extendedResourceClaimStatus": status}}
    assert [tuple(use) for use in container_claims(of, {"name": "c"})] == [("special", ("r0",))]
    assert list(container_claims(of, {"name": "other"})) == []
