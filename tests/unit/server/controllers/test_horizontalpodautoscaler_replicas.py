"""What metrics call for: upstream's examples, and laws that hold for all metrics."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import times
from minikube_py.server.controllers.horizontalpodautoscaler_replicas import (
    MetricError,
    PodMetric,
    Target,
    Tolerances,
    by_average,
    by_share,
    by_utilization,
    by_value,
    requested,
)
from tests.frozen import freeze

NOW = times.parse("2026-01-01T01:00:00Z").timestamp()
OLD = "2026-01-01T00:00:00Z"
YOUNG = "2026-01-01T00:59:00Z"


def pod(number: int, *, ready: str = "True", phase: str = "Running", cpu: str | None = "1",
        begun: str = OLD, changed: str = OLD, **spec: Any) -> Any:  # fmt: skip
    requests = {} if cpu is None else {"requests": {"cpu": cpu}}
    return freeze(
        {
            "metadata": {"name": f"p{number}", "namespace": "n"},
            "spec": {"containers": [{"name": "c", "resources": requests}], **spec},
            "status": {
                "phase": phase,
                "startTime": begun,
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": changed}],
            },
        }
    )


def target(pods: Sequence[Any], current: int | None = None, **more: Any) -> Target:
    count = len(pods) if current is None else current
    tolerances = more.pop("tolerances", Tolerances())
    return Target(replicas=count, status_replicas=count, pods=pods, tolerances=tolerances, now=NOW)


def metrics(*values: int, at: float = NOW - 1) -> dict[str, PodMetric]:
    return {f"p{number}": PodMetric(value, at, 60.0) for number, value in enumerate(values)}


def pods(count: int, **more: Any) -> list[Any]:
    return [pod(number, **more) for number in range(count)]


@pytest.mark.parametrize(
    ("current", "percent", "used", "wanted", "utilization"),
    [
        (3, 30, (300, 500, 700), 5, 50),
        (5, 50, (100, 300, 500, 250, 250), 3, 28),
        (3, 100, (1010, 1030, 1020), 3, 102),
        (3, 110, (1010, 1030, 1020), 3, 102),
        (1, 10, (0,), 0, 0),
    ],
    ids=["up", "down", "within the tolerance above", "and below", "down to nothing"],
)
def test_utilization_scales_as_upstreams_examples(
    current: int, percent: int, used: tuple[int, ...], wanted: int, utilization: int
) -> None:
    found = by_utilization(target(pods(current)), metrics(*used), "cpu", percent)
    assert (found.replicas, found.utilization) == (wanted, utilization)
    assert found.usage == sum(used) // len(used)


def test_unready_pods_keep_a_scale_up_small() -> None:
    three = [pod(0), pod(1), pod(2, ready="False", begun=YOUNG)]
    found = by_utilization(target(three), metrics(300, 500, 700), "cpu", 30)
    assert found.replicas == 3  # as if the young one used nothing: 800 of 3000 is near 30 %
    hot = [pod(0, ready="False", begun=YOUNG), pod(1), pod(2)]
    assert by_utilization(target(hot), metrics(100, 500, 700), "cpu", 30).replicas == 4


def test_missing_pods_count_for_all_of_their_request_on_the_way_down() -> None:
    four = pods(4)
    found = by_utilization(target(four), metrics(100, 450), "cpu", 100)
    assert (found.replicas, found.utilization) == (3, 27)
    one_missing = by_utilization(target(pods(2)), metrics(1000), "cpu", 50)
    assert one_missing.replicas == 2  # up, but not if the other uses nothing


def test_pods_that_are_leaving_or_have_failed_count_for_nothing() -> None:
    leaving = freeze({**pod(1), "metadata": {"name": "p1", "deletionTimestamp": OLD}})
    three = [pod(0), leaving, pod(2, phase="Failed")]
    assert by_utilization(target(three), metrics(500, 5000, 5000), "cpu", 50).replicas == 3


def test_processor_of_the_first_minutes_counts_once_a_whole_window_was_ready() -> None:
    changed = times.format_seconds(times.parse("2026-01-01T00:59:30Z"))
    young = [pod(0, begun=YOUNG, changed=changed)]
    with pytest.raises(MetricError, match="did not receive metrics for targeted pods"):
        by_utilization(target(young), metrics(900, at=NOW - 1), "cpu", 50)
    late = {"p0": PodMetric(900, NOW - 1, 15.0)}
    assert by_utilization(target(young), late, "cpu", 50).replicas == 2
    assert by_average(target(young), metrics(900), 450, "memory").replicas == 2


def test_a_pod_that_was_ready_once_counts_though_it_is_not_now() -> None:
    fallen = [pod(0, ready="False", changed="2026-01-01T00:30:00Z")]
    assert by_utilization(target(fallen), metrics(900), "cpu", 50).replicas == 2
    never = [pod(0, ready="False", changed=OLD)]
    with pytest.raises(MetricError):
        by_utilization(target(never), metrics(900), "cpu", 50)


def test_pods_without_requests_are_refused_in_upstreams_words() -> None:
    with pytest.raises(MetricError, match=r"^missing request for cpu in container c of Pod p0$"):
        by_utilization(target([pod(0, cpu=None)]), metrics(900), "cpu", 50)
    with pytest.raises(MetricError, match="no pods returned by selector"):
        by_utilization(target([]), metrics(900), "cpu", 50)
    with pytest.raises(MetricError, match="container x not found in Pod p0"):
        requested(pod(0), "cpu", "x")


def test_requests_are_those_of_the_pod_of_sidecars_or_of_one_container() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "200m"}}}
    init = {"name": "i", "resources": {"requests": {"cpu": "9"}}}
    one = pod(0, initContainers=[init, sidecar])
    assert requested(one, "cpu") == 1200
    assert requested(one, "cpu", "s") == 200
    whole = pod(0, resources={"requests": {"cpu": "3"}})
    assert requested(whole, "cpu") == 3000
    assert requested(whole, "cpu", "c") == 1000
    with pytest.raises(MetricError, match="missing pod-level request for memory in Pod p0"):
        requested(whole, "memory")


@pytest.mark.parametrize(
    ("current", "usage", "wanted", "replicas"),
    [(3, 20_000, 15_000, 4), (3, 8_600, 4_400, 6), (5, 6_000, 9_000, 4), (3, 10_500, 10_000, 3),
     (0, 35_000, 10_000, 4), (0, 0, 10_000, 0)],
)  # fmt: skip
def test_a_value_for_all_scales_by_the_pods_that_are_ready(
    current: int, usage: int, wanted: int, replicas: int
) -> None:
    assert by_value(target(pods(current)), usage, wanted).replicas == replicas


@pytest.mark.parametrize(
    ("current", "usage", "wanted", "replicas", "share"),
    [(3, 8_600, 2_150, 4, 2867), (5, 8_600, 3_000, 3, 1720), (4, 8_600, 2_150, 4, 2150)],
)
def test_a_value_that_pods_share_scales_by_what_each_should_have(
    current: int, usage: int, wanted: int, replicas: int, share: int
) -> None:
    assert by_share(target(pods(current)), usage, wanted)[:2] == (replicas, share)


USED = st.lists(st.integers(0, 5000), min_size=1, max_size=8)


@given(used=USED, wanted=st.integers(1, 4000))
def test_an_average_with_everything_known_is_the_proportion(used: list[int], wanted: int) -> None:
    found = by_average(target(pods(len(used))), metrics(*used), wanted)
    ratio = (sum(used) // len(used)) / wanted
    within = 0.9 <= ratio <= 1.1
    assert found.replicas == (len(used) if within else math.ceil(ratio * len(used)))


@given(used=USED, more=st.integers(0, 5000), wanted=st.integers(1, 4000), missing=st.integers(0, 4))
def test_who_uses_more_never_gets_less(
    used: list[int], more: int, wanted: int, missing: int
) -> None:
    all_pods = pods(len(used) + missing)
    low = by_average(target(all_pods), metrics(*used), wanted).replicas
    high = by_average(target(all_pods), metrics(*(one + more for one in used)), wanted).replicas
    assert low <= high


@given(used=USED, wanted=st.integers(1, 4000), missing=st.integers(0, 6))
def test_what_is_missing_never_makes_a_change_larger(
    used: list[int], wanted: int, missing: int
) -> None:
    count = len(used) + missing
    found = by_average(target(pods(count)), metrics(*used), wanted).replicas
    average = sum(used) // len(used)
    if average > wanted:
        assert count <= found
    elif average < wanted:
        assert found <= count
    else:
        assert found == count


@given(usage=st.integers(0, 10**9), wanted=st.integers(1, 10**6), up=st.floats(0, 1))
def test_nothing_changes_within_the_tolerance(usage: int, wanted: int, up: float) -> None:
    found = by_value(target(pods(4), tolerances=Tolerances(0.0, up)), usage, wanted)
    if 1.0 <= usage / wanted <= 1.0 + up:
        assert found.replicas == 4
