"""Where metrics are asked for, and what is made of the answers of three APIs."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from minikube_py.api.errors import NotFoundError, ServiceUnavailableError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.client.protocol import Client
from minikube_py.server.controllers.horizontalpodautoscaler_metrics import MetricsReader
from minikube_py.server.controllers.horizontalpodautoscaler_proposals import read
from minikube_py.server.controllers.horizontalpodautoscaler_replicas import MetricError, PodMetric

MOMENT, AT = "2026-01-01T00:00:00Z", 1767225600.0
SELECTOR = {"matchLabels": {"queue": "a"}}


class Server:
    """Answers by path; notes the queries."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.queries: dict[str, Mapping[str, str]] = {}

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        self.queries[path] = query or {}
        answer = self.answers.get(path, NotFoundError("the server could not find it"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def reader(answers: Mapping[str, Any]) -> tuple[MetricsReader, Server]:
    server = Server()
    server.answers.update(answers)
    return MetricsReader(cast("Client", server), Scheme(BUILTIN), "n"), server


PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/n/pods"


def pod_metrics(name: str, **usage: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "n"},
        "timestamp": MOMENT,
        "window": "15.5s",
        "containers": [{"name": one, "usage": used} for one, used in usage.items()],
    }


async def test_a_resource_is_the_sum_of_a_pods_containers() -> None:
    items = [
        pod_metrics("a", c={"cpu": "100m"}, d={"cpu": "23n"}),
        pod_metrics("b", c={"cpu": "1"}, d={"memory": "1Ki"}),
        pod_metrics("nothing"),
    ]
    made, server = reader({PODS: {"items": items}})
    assert await made.resource("cpu", "app=web") == {"a": PodMetric(101, AT, 15.5)}
    assert server.queries[PODS] == {"labelSelector": "app=web"}


async def test_a_container_that_a_pod_lacks_is_an_error() -> None:
    made, _ = reader({PODS: {"items": [pod_metrics("a", c={"cpu": "1"})]}})
    assert await made.resource("cpu", "x", "c") == {"a": PodMetric(1000, AT, 15.5)}
    words = "failed to get container metrics: container d not present in metrics for pod n/a"
    with pytest.raises(MetricError, match=words):
        await made.resource("cpu", "x", "d")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"items": []}, "no metrics returned from resource metrics API"),
        (ServiceUnavailableError("down"),
         "unable to fetch metrics from resource metrics API: down"),
    ],
)  # fmt: skip
async def test_errors_have_upstreams_words(answer: Any, words: str) -> None:
    made, _ = reader({PODS: answer})
    with pytest.raises(MetricError, match=f"^{words}$"):
        await made.resource("cpu", "x")


CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n"
OLD_CUSTOM = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/n"


def value(name: str, amount: str, **more: Any) -> dict[str, Any]:
    return {"describedObject": {"name": name}, "timestamp": MOMENT, "value": amount, **more}


async def test_custom_metrics_of_pods_come_in_either_version() -> None:
    for base, window in ((CUSTOM, {"windowSeconds": 30}), (OLD_CUSTOM, {"window": 30})):
        path = f"{base}/pods/*/qps"
        made, server = reader({path: {"items": [value("a", "500m", **window), value("b", "2")]}})
        found = await made.of_pods({"name": "qps", "selector": SELECTOR}, "app=web")
        assert found == {"a": PodMetric(500, AT, 30.0), "b": PodMetric(2000, AT, 60.0)}
        wanted = {"labelSelector": "app=web", "metricLabelSelector": "queue=a"}
        assert server.queries[path] == wanted


@pytest.mark.parametrize(
    ("described", "path"),
    [
        ({"kind": "Service", "name": "s", "apiVersion": "v1"}, "services/s/qps"),
        ({"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"},
         "ingresses.networking.k8s.io/i/qps"),
        ({"kind": "Namespace", "name": "other", "apiVersion": "v1"}, "metrics/qps"),
    ],
)  # fmt: skip
async def test_custom_metrics_of_objects_are_found_by_their_kinds(
    described: dict[str, str], path: str
) -> None:
    made, _ = reader({f"{CUSTOM}/{path}": {"items": [value("x", "7")]}})
    assert await made.of_object({"name": "qps"}, described) == 7000


async def test_an_object_must_have_exactly_one_value() -> None:
    made, _ = reader({f"{CUSTOM}/services/s/qps": {"items": []}})
    with pytest.raises(MetricError, match="returned 0 results when we asked for exactly one"):
        await made.of_object({"name": "qps"}, {"kind": "Service", "name": "s"})
    with pytest.raises(MetricError, match="unable to find resource for Nothing"):
        await made.of_object({"name": "q"}, {"kind": "Nothing", "name": "s", "apiVersion": "x/v1"})


async def test_external_metrics_are_added_up() -> None:
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/jobs"
    made, server = reader({path: {"items": [{"value": "3"}, {"value": "1500m"}]}})
    assert await made.external({"name": "jobs", "selector": SELECTOR}) == 4500
    assert server.queries[path] == {"labelSelector": "queue=a"}


@pytest.mark.parametrize("bad", [{}, {"value": "nonsense"}, {"value": None}, {"value": {"a": 1}}])
async def test_an_answer_that_makes_no_sense_is_an_error_of_that_metric(bad: Any) -> None:
    path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/jobs"
    made, _ = reader({path: {"items": [bad]}})
    spec = {"type": "External", "external": {"metric": {"name": "jobs"}, "target": {}}}
    found = await read(spec, made, "")
    assert found.error.startswith("unable to get external metric jobs/nil: ")
    assert "malformed answer" in found.error
