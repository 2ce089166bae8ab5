"""The metrics API: kubelets' pages become rates, and nobody is asked without need."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import quantity, times
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.client.protocol import Lister
from minikube_py.server.metrics_api.page import Page, Point, parse
from minikube_py.server.metrics_api.scraper import AT_ONCE_MAX, WAIT_SECONDS, Scraper
from minikube_py.server.metrics_api.usage import Looks, nanos, node_metrics, pod_metrics, use
from tests.virtual_time import VirtualClock, virtual

PAGE = """# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 12.5 1767225600500
node_memory_working_set_bytes 4.096e+06 1767225600500
container_cpu_usage_seconds_total{container="c",namespace="n",pod="p"} 2.5 1767225600250
container_memory_working_set_bytes{container="c",namespace="n",pod="p"} 2048 1767225600250
container_start_time_seconds{container="c",namespace="n",pod="p"} 1.7672255e+09
container_cpu_usage_seconds_total{container="half",namespace="n",pod="q"} 2.5 1767225600250
container_memory_working_set_bytes{container="bad",namespace="n",pod="q"} what 1767225600250
pod_cpu_usage_seconds_total{namespace="n",pod="p"} 2.5 1767225600250
resource_scrape_error 0
nonsense{
"""


def test_a_page_is_read_and_half_known_pods_are_left_out() -> None:
    page = parse(PAGE, 0.0)
    assert page.node == Point(12_500_000_000, 4_096_000, 1767225600.5)
    assert page.pods == {("n", "p"): {"c": Point(2_500_000_000, 2048, 1767225600.25, 1767225500.0)}}


@given(st.text())
def test_nothing_that_a_kubelet_says_breaks_the_reader(text: str) -> None:
    assert parse(text, 1.0).pods.keys() <= {()}


@given(begin=st.integers(0, 10**15), spent=st.integers(0, 10**12), seconds=st.floats(0.5, 300.0))
def test_what_is_used_is_what_was_spent_between_two_looks(
    begin: int, spent: int, seconds: float
) -> None:
    found = use(Point(begin, 1, 1000.0, 5.0), Point(begin + spent, 2, 1000.0 + seconds, 5.0))
    assert found is not None
    assert found.cpu_nanocores * seconds == pytest.approx(spent, abs=2 * seconds)
    assert (found.memory_bytes, found.window) == (2, pytest.approx(seconds))


@pytest.mark.parametrize(
    ("earlier", "ran", "nanocores"),
    [
        (None, 5.0, None),
        (None, 20.0, 50),
        (Point(2000, 1, 990.0, 970.0), 20.0, 50),
        (Point(2000, 1, 1000.0, 980.0), 20.0, None),
    ],
    ids=["young", "begun between the looks", "begun anew", "the same look twice"],
)
def test_a_container_counts_from_its_start_where_it_has_no_earlier_look(
    earlier: Point | None, ran: float, nanocores: int | None
) -> None:
    found = use(earlier, Point(2000 if nanocores is None else 1000, 7, 1000.0, 1000.0 - ran))
    assert (None if found is None else found.cpu_nanocores) == nanocores


@given(st.integers(0, 10**15))
def test_billionths_are_written_whole(amount: int) -> None:
    assert quantity.parse(nanos(amount)) == quantity.parse(f"{amount}n")


def looks(**containers: tuple[int, int]) -> Looks:
    def page(number: int, at: float) -> Page:
        points = {name: Point(used[number], 2048, at, 1.0) for name, used in containers.items()}
        return Page(Point(number * 10**9, 4096, at), {("n", "p"): points})

    return Looks(page(1, 1010.0), page(0, 1000.0))


def test_a_pods_metrics_are_those_of_its_containers() -> None:
    document = pod_metrics("n", "p", {"app": "x"}, looks(a=(0, 10**9), b=(5, 5)))
    assert document["containers"] == [
        {"name": "a", "usage": {"cpu": "100m", "memory": "2Ki"}},
        {"name": "b", "usage": {"cpu": "0", "memory": "2Ki"}},
    ]
    assert document["metadata"]["labels"] == {"app": "x"}
    assert (document["timestamp"], document["window"]) == ("1970-01-01T00:16:50Z", "10s")
    assert pod_metrics("n", "other", {}, looks(a=(0, 1))) is None
    assert pod_metrics("n", "p", {}, None) is None


def test_a_nodes_metrics_need_two_looks() -> None:
    both = looks()
    assert node_metrics("one", {}, both)["usage"] == {"cpu": "100m", "memory": "4Ki"}
    assert node_metrics("one", {}, Looks(both.latest)) is None


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1_500, "1.5\u00b5s"), (250_000_000, "250ms"), (60_000_000_000, "1m0s"),
     (15_100_000_000, "15.1s"), (3_661_000_000_000, "1h1m1s"), (-1_000_000_000, "-1s")],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert times.format_duration(nanoseconds) == text
    assert times.parse_duration(text) == pytest.approx(nanoseconds / 1e9)


class Kubelets:
    """Some nodes whose kubelets count how often they are asked."""

    def __init__(self, clock: VirtualClock, *names: str) -> None:
        self.clock = clock
        self.names = list(names)
        self.asked: list[str] = []
        self.slow: Mapping[str, float] = {}
        self.down: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.scraper = Scraper(cast("Lister", self), self.fetch, cast("Any", clock))

    def items(self, namespace: str = "") -> Iterable[Item]:
        del namespace
        return [Item.from_object({"kind": "Node", "metadata": {"name": n}}) for n in self.names]

    async def fetch(self, node: Obj) -> str:
        name = node["metadata"]["name"]
        self.asked.append(name)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.clock.sleep(self.slow.get(name, 0.01))
        finally:
            self.at_once -= 1
        if name in self.down:
            raise ServiceUnavailableError("connection refused")
        millis = int(self.clock.now().timestamp() * 1000)
        cpu = self.clock.monotonic() / 4
        return (
            f"node_cpu_usage_seconds_total {cpu} {millis}\n"
            f"node_memory_working_set_bytes 1024 {millis}\n"
        )

    async def use(self) -> dict[str, str]:
        found = await self.scraper.looks()
        made = {name: node_metrics(name, {}, found.get(name)) for name in self.names}
        return {name: one["usage"]["cpu"] for name, one in made.items() if one is not None}


@virtual
async def test_who_asks_first_waits_for_two_looks_and_who_asks_again_for_none() -> None:
    kubelets = Kubelets(VirtualClock(), "a", "b")
    first = await kubelets.use()
    assert {name: round(quantity.milli_value(cpu), -1) for name, cpu in first.items()} == {
        "a": 250,
        "b": 250,
    }
    assert sorted(kubelets.asked) == ["a", "a", "b", "b"]
    assert await kubelets.use() == first
    assert len(kubelets.asked) == 4


@virtual
async def test_nobody_is_asked_while_nobody_asks() -> None:
    kubelets = Kubelets(VirtualClock(), "a")
    await kubelets.use()
    await kubelets.clock.sleep(3600)
    assert len(kubelets.asked) == 2
    await kubelets.use()
    assert len(kubelets.asked) == 4  # what was known said nothing of now any more
    await kubelets.clock.sleep(15)
    await kubelets.use()
    assert len(kubelets.asked) == 5  # the rate is that since the last look


@virtual
async def test_many_who_ask_at_once_share_the_looks() -> None:
    kubelets = Kubelets(VirtualClock(), "a")
    await asyncio.gather(*(kubelets.use() for _ in range(20)))
    assert len(kubelets.asked) == 2


@virtual
async def test_a_node_that_does_not_answer_holds_up_no_other() -> None:
    kubelets = Kubelets(VirtualClock(), "good", "slow", "down")
    kubelets.slow, kubelets.down = {"slow": 100.0}, {"down"}
    begun = kubelets.clock.monotonic()
    await kubelets.use()
    assert kubelets.clock.monotonic() - begun <= WAIT_SECONDS
    kubelets.slow = {}
    await kubelets.clock.sleep(6)
    assert set(await kubelets.use()) == {"good", "slow"}


@virtual
async def test_a_kubelet_that_does_not_answer_is_asked_less_and_less_often() -> None:
    kubelets = Kubelets(VirtualClock(), "down")
    kubelets.down = {"down"}
    for _ in range(120):
        await kubelets.use()
        await kubelets.clock.sleep(5)
    assert 6 <= len(kubelets.asked) <= 9
    kubelets.down = set()
    await kubelets.clock.sleep(160)
    assert await kubelets.use()


@virtual
async def test_a_node_that_is_gone_is_forgotten() -> None:
    kubelets = Kubelets(VirtualClock(), "a", "b")
    await kubelets.use()
    kubelets.names = ["b"]
    await kubelets.clock.sleep(6)
    assert set(await kubelets.scraper.looks()) == {"b"}


@virtual
async def test_only_so_many_kubelets_are_asked_at_the_same_time() -> None:
    kubelets = Kubelets(VirtualClock(), *(f"n{number}" for number in range(200)))
    assert len(await kubelets.use()) == 200
    assert kubelets.most_at_once == AT_ONCE_MAX
