"""Autoscalers at work: decisions in upstream's words, and days of them in virtual time."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.api import times
from minikube_py.api.apps import DEPLOYMENTS
from minikube_py.api.autoscaling import HORIZONTALPODAUTOSCALERS
from minikube_py.api.core import EVENTS, NAMESPACES, PODS
from minikube_py.api.errors import ForbiddenError, NotFoundError, ServiceUnavailableError
from minikube_py.api.object import Key, Obj, evolve
from minikube_py.client.actions import Emit, Update
from minikube_py.server.controllers import horizontalpodautoscaler as hpas
from minikube_py.server.controllers.horizontalpodautoscaler import Observed, Refusal, decide, plan
from minikube_py.server.controllers.horizontalpodautoscaler_behavior import History, Moment
from minikube_py.server.controllers.horizontalpodautoscaler_proposals import Reading, go_text
from minikube_py.server.controllers.horizontalpodautoscaler_replicas import PodMetric
from tests.frozen import freeze
from tests.harness import World, harness
from tests.virtual_time import settle, virtual

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def hpa(status: dict[str, Any] | None = None, **spec: Any) -> Any:
    return freeze(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "n", "uid": "u"},
            "spec": {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 10,
                     "metrics": [CPU], **spec},
            "status": status or {},
        }
    )  # fmt: skip


def pod(number: int) -> Any:
    old = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": old}
    return freeze(
        {
            "metadata": {"name": f"p{number}", "namespace": "n", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "startTime": old, "conditions": [ready]},
        }
    )


def observed(replicas: int, *used: int, **more: Any) -> Observed:
    metrics = {f"p{n}": PodMetric(one, NOW.timestamp(), 15.0) for n, one in enumerate(used)}
    readings = more.pop("readings", [Reading(CPU, metrics)])
    scale = {"spec": {"replicas": replicas}, "status": {"replicas": replicas}}
    found = [pod(number) for number in range(replicas)]
    return Observed(scale=scale, pods=found, readings=readings, now=NOW, **more)


def planned(autoscaler: Obj, seen: Observed, error: str = "") -> tuple[dict[str, Any], list[str]]:
    """Return the status that is written and the events, as `reason: message`."""
    actions = list(plan(autoscaler, seen, decide(autoscaler, seen), error))
    events = [f"{one.reason}: {one.message}" for one in actions if isinstance(one, Emit)]
    status = next(one.obj["status"] for one in actions if isinstance(one, Update))
    return status, events


def conditions(status: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        one["type"]: (one["status"], one["reason"], one["message"]) for one in status["conditions"]
    }


def test_a_busy_target_is_scaled_up_and_told_of() -> None:
    status, events = planned(hpa(), observed(2, 900, 900))
    assert events == [
        (
            "SuccessfulRescale: New size: 4; reason: cpu resource utilization (percentage of "
            "request) above target"
        )
    ]
    assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 4)
    assert status["lastScaleTime"] == "2026-01-01T01:00:00Z"
    assert status["currentMetrics"] == [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "current": {"averageUtilization": 90, "averageValue": "900m"},
            },
        }
    ]
    assert conditions(status) == {
        "AbleToScale": ("True", "SucceededRescale", ("the HPA controller was able to update the "
                        "target scale to 4")),
        "ScalingActive": ("True", "ValidMetricFound", ("the HPA was able to successfully calculate "
                          "a replica count from cpu resource utilization (percentage of request)")),
        "ScalingLimited": ("False", "DesiredWithinRange",
                           "the desired count is within the acceptable range"),
    }  # fmt: skip


def test_a_target_that_rests_is_scaled_down() -> None:
    _, events = planned(hpa(), observed(4, 100, 100, 100, 100))
    assert events == ["SuccessfulRescale: New size: 1; reason: All metrics below target"]


def test_what_the_spec_demands_needs_no_metrics() -> None:
    _, events = planned(hpa(), observed(12))
    assert events == [
        "SuccessfulRescale: New size: 10; reason: Current number of replicas above Spec.MaxReplicas"
    ]
    _, events = planned(hpa(minReplicas=3), observed(1))
    assert events == [
        "SuccessfulRescale: New size: 3; reason: Current number of replicas below Spec.MinReplicas"
    ]
    status, events = planned(hpa(), observed(0))
    assert events == []
    assert conditions(status)["ScalingActive"] == (
        "False",
        "ScalingDisabled",
        "scaling is disabled since the replica count of the target is zero",
    )


def test_with_a_minimum_of_none_a_target_without_pods_is_scaled_by_its_metrics() -> None:
    source = {"metric": {"name": "jobs"}, "target": {"type": "Value", "value": "10"}}
    external = {"type": "External", "external": source}
    seen = observed(0, readings=[Reading(external, value=25_000)])
    _, events = planned(hpa(minReplicas=0, metrics=[external]), seen)
    assert events == [("SuccessfulRescale: New size: 3; reason: external metric jobs(nil) above "
                      "target")]  # fmt: skip


UNREAD = "unable to get metrics for resource cpu: no metrics returned from resource metrics API"


def test_metrics_that_cannot_be_read_are_told_of_in_upstreams_words() -> None:
    status, events = planned(hpa(), observed(2, readings=[Reading(CPU, error=UNREAD)]))
    text = f"failed to get cpu utilization: {UNREAD}"
    assert events == [
        f"FailedGetResourceMetric: {text}",
        (
            "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: "
            f"failed to get cpu resource metric value: {text}"
        ),
    ]
    assert conditions(status)["ScalingActive"] == (
        "False",
        "FailedGetResourceMetric",
        f"the HPA was unable to compute the replica count: {text}",
    )
    assert status["currentMetrics"] == [{"type": ""}]
    assert status["desiredReplicas"] == 0


def test_one_metric_that_fails_does_not_keep_another_from_scaling_up_but_from_down() -> None:
    broken = Reading(CPU, error=UNREAD)
    _, events = planned(hpa(), observed(2, readings=[broken, *observed(2, 900, 900).readings]))
    assert events[0].startswith("FailedGetResourceMetric: ")
    assert events[1].startswith("SuccessfulRescale: New size: 4")
    low = [broken, *observed(4, 1, 1, 1, 1).readings]
    _, events = planned(hpa(), observed(4, readings=low))
    assert [one.partition(":")[0] for one in events] == [
        "FailedGetResourceMetric",
        "FailedComputeMetricsReplicas",
    ]


@pytest.mark.parametrize(
    ("kind", "source", "value", "reason", "current"),
    [
        ("Pods", {"metric": {"name": "qps"}, "target": {"averageValue": "10"}}, 0,
         "pods metric qps above target", {"averageValue": "20"}),
        ("Object", {"metric": {"name": "qps"}, "target": {"type": "Value", "value": "10"},
                    "describedObject": {"kind": "Service", "name": "s"}}, 20_000,
         "Service metric qps above target", {"value": "20"}),
        ("External", {"metric": {"name": "qps", "selector": {"matchLabels": {"a": "b"}}},
                      "target": {"type": "AverageValue", "averageValue": "10"}}, 40_000,
         ("external metric qps(&LabelSelector{MatchLabels:map[string]string{a: b,},"
         "MatchExpressions:[]LabelSelectorRequirement{},}) above target"), {"averageValue": "20"}),
        ("ContainerResource", {"name": "cpu", "container": "c", "target": {
            "type": "AverageValue", "averageValue": "10"}}, 0, "cpu resource above target",
         {"averageValue": "20"}),
    ],
)  # fmt: skip
def test_every_type_of_metric_scales_and_is_shown(
    kind: str, source: dict[str, Any], value: int, reason: str, current: dict[str, str]
) -> None:
    field = kind[0].lower() + kind[1:]
    spec = {"type": kind, field: source}
    metrics = {f"p{n}": PodMetric(20_000, NOW.timestamp(), 15.0) for n in range(2)}
    seen = observed(2, readings=[Reading(spec, metrics, value)])
    status, events = planned(hpa(metrics=[spec]), seen)
    assert events == [f"SuccessfulRescale: New size: 4; reason: {reason}"]
    assert status["currentMetrics"][0][field]["current"] == current
    assert go_text({"matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}]})


def test_a_scale_that_is_refused_is_told_of() -> None:
    status, events = planned(hpa({"desiredReplicas": 2}), observed(2, 900, 900), "no way")
    assert events[0].startswith("FailedRescale: New size: 4; reason: cpu resource")
    assert events[0].endswith("; error: no way")
    assert conditions(status)["AbleToScale"] == (
        "False",
        "FailedUpdateScale",
        "the HPA controller was unable to update the target scale: no way",
    )
    assert status["desiredReplicas"] == 2
    assert "lastScaleTime" not in status


def test_tolerances_of_a_behavior_go_before_the_usual_one() -> None:
    rules = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100,
                                                  "periodSeconds": 15}]}  # fmt: skip
    seen = observed(4, 540, 540, 540, 540)
    assert decide(hpa(), seen).replicas == 4
    exact = {"scaleUp": {**rules, "tolerance": "0.05"}, "scaleDown": rules}
    assert decide(hpa(behavior=exact), seen).replicas == 5


def test_a_refused_selector_stops_everything() -> None:
    refusal = Refusal("SelectorRequired", "InvalidSelector", "selector is required", "missing")
    status, events = planned(hpa(), observed(2, refusal=refusal))
    assert events == [
        "SelectorRequired: selector is required",
        "FailedComputeMetricsReplicas: selector is required",
    ]
    assert conditions(status)["ScalingActive"] == ("False", "InvalidSelector", "missing")


USES = st.lists(st.integers(0, 3000), min_size=1, max_size=12)


@given(USES, st.integers(1, 6), st.integers(0, 10), USES)
def test_a_decision_is_always_within_the_bounds(
    used: list[int], least: int, more: int, before: list[int]
) -> None:
    history = History(tuple(Moment(NOW.timestamp() - 20 * n, one % 9) for n, one in
                            enumerate(before)))  # fmt: skip
    autoscaler = hpa(minReplicas=least, maxReplicas=least + more)
    decision = decide(autoscaler, observed(len(used), *used, history=history))
    assert least <= decision.replicas <= least + more


# --- the loop -------------------------------------------------------------------------------------


class Load:
    """What the pods of a namespace use, as the metrics API tells it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.total = 0
        """Thousandths of a processor, shared by all pods."""
        self.broken: Exception | None = None
        world.cluster.read = self.read

    def read(self, path: str, query: Mapping[str, str]) -> Obj:
        if self.broken is not None:
            raise self.broken
        if not re.fullmatch(r"/apis/metrics.k8s.io/v1beta1/namespaces/n/pods", path):
            raise NotFoundError("the server could not find the requested resource")
        assert query["labelSelector"] == "app=web"
        pods: Sequence[Obj] = self.world.cluster.objects(PODS, "n")
        now = times.format_seconds(self.world.clock.now())
        use = {"cpu": f"{self.total // max(len(pods), 1)}m"}
        return {
            "items": [
                {
                    "metadata": {"name": one["metadata"]["name"], "namespace": "n"},
                    "timestamp": now,
                    "window": "15s",
                    "containers": [{"name": "c", "usage": use}],
                }
                for one in pods
            ]
        }


class Cluster:
    """A deployment with its pods, which appear and vanish as it is scaled."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.load = Load(world)

    async def start(self, replicas: int = 1, **spec: Any) -> None:
        client = self.world.client
        await client.create(NAMESPACES, {"metadata": {"name": "n"}})
        selector = {"matchLabels": {"app": "web"}}
        await client.create(
            DEPLOYMENTS,
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "n"},
                "spec": {"replicas": replicas, "selector": selector, "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                }},
            },
        )  # fmt: skip
        await client.create(HORIZONTALPODAUTOSCALERS, {**hpa(**spec), "status": {}})
        await self.fit()
        self.world.run(hpas.CONTROLLER)

    @property
    def replicas(self) -> int:
        (one,) = self.world.cluster.objects(DEPLOYMENTS)
        return int(one["spec"]["replicas"])

    async def fit(self) -> None:
        """Have as many pods as wanted."""
        table = self.world.cluster.table(PODS)
        for number in range(20):
            name = f"p{number}"
            there = Key("n", name) in table
            if number < self.replicas and not there:
                made = await self.world.client.create(PODS, pod(number))
                await self.world.client.update(PODS, made | {"status": pod(number)["status"]},
                                               subresource="status")  # fmt: skip
            elif number >= self.replicas and there:
                await self.world.client.delete(PODS, name, "n", options={"gracePeriodSeconds": 0})

    async def live(self, seconds: float) -> None:
        """Let time pass; pods follow their deployment every second."""
        for _ in range(int(seconds)):
            await self.fit()
            await settle(1)

    def events(self) -> list[str]:
        return [one["reason"] for one in self.world.cluster.objects(EVENTS)]

    def writes(self) -> int:
        return sum(verb != "read" for _, verb, _, _ in self.world.cluster.requests)


@virtual
async def test_replicas_follow_the_load_and_go_down_only_after_five_minutes() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        cluster.load.total = 1500
        await cluster.start()
        await cluster.live(60)
        assert cluster.replicas == 3
        cluster.load.total = 100
        await cluster.live(250)
        assert cluster.replicas == 3
        await cluster.live(100)
        assert cluster.replicas == 1
        name = "horizontal_pod_autoscaler_controller_reconciliations_total"
        lines = list(world.settings.tallies.lines())
        assert f'{name}{{action="scale_up",error="none"}} 1' in lines
        assert f'{name}{{action="scale_down",error="none"}} 1' in lines


@virtual
async def test_a_steady_load_is_looked_at_once_in_a_period_and_nothing_is_written() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        cluster.load.total = 500
        await cluster.start()
        await cluster.live(60)
        before, writes = len(world.cluster.requests), cluster.writes()
        await cluster.live(150)
        asked = world.cluster.requests[before:]
        assert cluster.writes() == writes
        assert 9 <= sum("metrics.k8s.io" in path for _, _, path, _ in asked) <= 11


@virtual
async def test_without_autoscalers_nothing_is_asked() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        await cluster.start()
        await cluster.live(20)
        await world.client.delete(HORIZONTALPODAUTOSCALERS, "web", "n")
        await settle(1)
        before = len(world.cluster.requests)
        await settle(3600)
        assert world.cluster.requests[before:] == []


@virtual
async def test_metrics_that_fail_change_nothing_and_recover() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        cluster.load.broken = ServiceUnavailableError("the server is down")
        await cluster.start(2)
        await cluster.live(40)
        assert cluster.replicas == 2
        assert {"FailedGetResourceMetric", "FailedComputeMetricsReplicas"} <= set(cluster.events())
        cluster.load.broken, cluster.load.total = None, 3000
        await cluster.live(40)
        assert cluster.replicas == 6


@virtual
async def test_a_target_without_a_scale_is_told_of() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        await cluster.start(scaleTargetRef={"apiVersion": "x/v1", "kind": "Nothing", "name": "a"})
        await cluster.live(5)
        (autoscaler,) = world.cluster.objects(HORIZONTALPODAUTOSCALERS)
        assert conditions(autoscaler["status"])["AbleToScale"] == (
            "False",
            "FailedGetScale",
            (
                "the HPA controller was unable to get the target's current scale: no matches for "
                'kind "Nothing" in group "x"'
            ),
        )
        assert "FailedGetScale" in cluster.events()


@virtual
async def test_two_autoscalers_of_the_same_pods_both_stop() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        cluster.load.total = 3000
        await cluster.start(2)
        other = evolve(hpa(), "metadata.name", "rival")
        await world.client.create(HORIZONTALPODAUTOSCALERS, {**other, "status": {}})
        await cluster.live(90)
        found = world.cluster.objects(HORIZONTALPODAUTOSCALERS)
        reasons = {conditions(one["status"])["ScalingActive"][1] for one in found}
        assert reasons == {"AmbiguousSelector"}
        (text, *_) = [conditions(one["status"])["ScalingActive"][2] for one in found]
        assert text == (
            "pods by selector app=web are controlled by multiple HPAs: [{rival n} {web n}]"
        )


@virtual
async def test_a_scale_that_may_not_be_written_is_tried_again() -> None:
    async with harness() as world:
        cluster = Cluster(world)
        cluster.load.total = 1000

        def refuse(_user: str, verb: str, *_: Any) -> None:
            if verb == "update/scale":
                raise ForbiddenError("not now")

        world.cluster.refuse = refuse
        await cluster.start()
        await cluster.live(20)
        assert cluster.replicas == 1
        assert "FailedRescale" in cluster.events()
        world.cluster.refuse = lambda *_: None
        await cluster.live(20)
        assert cluster.replicas == 2


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(loads=st.lists(st.integers(0, 6000), min_size=1, max_size=5))
def test_after_any_loads_the_replicas_fit_the_last_one(loads: list[int]) -> None:
    @virtual
    async def scenario() -> None:
        async with harness() as world:
            cluster = Cluster(world)
            await cluster.start()
            for total in loads:
                cluster.load.total = total
                await cluster.live(45)
            await cluster.live(700)
            per_pod = cluster.load.total // cluster.replicas
            assert per_pod < 560 or cluster.replicas == 10  # 55 % is within the tolerance
            fewer = cluster.load.total / max(cluster.replicas - 1, 1)
            assert fewer > 450 or cluster.replicas == 1

    scenario()
