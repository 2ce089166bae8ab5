"""The metrics API where nodes do not answer, and an autoscaler of a custom kind."""

from pathlib import Path
from typing import Any

from tests.integration.conftest import running
from tests.integration.patience import eventually
from tests.integration.test_custom_kinds import GROUP, TABS, crd, defined, tab, version

METRICS = "/apis/metrics.k8s.io/v1beta1"
HPAS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"


async def test_nodes_that_do_not_answer_have_no_metrics(tmp_path: Path) -> None:
    async with running(tmp_path, disable_controller_manager=False) as server:
        node = {"metadata": {"name": "silent"}}
        assert (await server.call("POST", "/api/v1/nodes", node)).status == 201
        listed = await server.call("GET", f"{METRICS}/nodes")
        assert (listed.status, listed.body["kind"], listed.body["items"]) == (
            200,
            "NodeMetricsList",
            [],
        )
        one = await server.call("GET", f"{METRICS}/nodes/silent")
        assert (one.status, one.body["message"]) == (
            404,
            'nodemetrics.metrics.k8s.io "silent" not found',
        )
        none = await server.call("GET", f"{METRICS}/nodes/absent")
        assert (none.status, none.body["message"]) == (404, 'nodes "absent" not found')
        pods = await server.call("GET", f"{METRICS}/pods?labelSelector=a%3Db")
        assert (pods.status, pods.body["metadata"]) == (200, {})
        watch = await server.call("GET", f"{METRICS}/pods?watch=true")
        assert (watch.status, watch.body["message"]) == (
            405,
            'watch is not supported on resources of kind "pods.metrics.k8s.io"',
        )
        assert (await server.call("POST", f"{METRICS}/nodes", node)).status == 405


async def test_the_metrics_api_is_found_and_can_be_left_out(tmp_path: Path) -> None:
    async with running(tmp_path, disable_controller_manager=False) as server:
        names = [one["name"] for one in (await server.call("GET", METRICS)).body["resources"]]
        assert names == ["nodes", "pods"]
        assert (await server.call("GET", SERVICE)).status == 200
        schema = await server.call("GET", "/openapi/v3/apis/metrics.k8s.io/v1beta1")
        assert (
            "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics"
            in (schema.body["components"]["schemas"])
        )
        role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader"
        assert (await server.call("GET", role)).body["rules"][0]["resources"] == ["pods", "nodes"]
    left_out = {"disable": ("metrics-server",), "disable_controller_manager": False}
    async with running(tmp_path, **left_out) as server:
        assert (await server.call("GET", METRICS)).status == 404
        await eventually(
            lambda: server.call("GET", SERVICE), lambda answer: bool(answer.status == 404)
        )


async def test_an_autoscaler_scales_a_custom_kind(tmp_path: Path) -> None:
    subresources = {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    async with running(tmp_path, disable_controller_manager=False) as server:
        await defined(server, crd(version(subresources=subresources)))
        await server.call("POST", TABS, tab())
        target = {"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "name": "a"}
        autoscaler: dict[str, Any] = {
            "metadata": {"name": "a"},
            "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5},
        }
        assert (await server.call("POST", HPAS, autoscaler)).status == 201
        await eventually(
            lambda: server.call("GET", f"{TABS}/a"),
            lambda answer: bool(answer.body["spec"]["replicas"] == 3),
        )
        answer = await eventually(
            lambda: server.call("GET", f"{HPAS}/a"),
            lambda answer: bool((answer.body.get("status") or {}).get("conditions")),
        )
        (able,) = answer.body["status"]["conditions"]
        assert (able["type"], able["reason"]) == ("AbleToScale", "SucceededRescale")
        old = await server.call("GET", HPAS.replace("/v2/", "/v1/") + "/a")
        assert (
            "SucceededRescale"
            in (old.body["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/conditions"])
        )
