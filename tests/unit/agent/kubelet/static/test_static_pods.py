"""Static pods on a model node, in virtual time: they run, change and end by their manifests."""

import contextlib
from typing import Any

import yaml

from minikube_py.agent.kubelet.static.manifest import static_pods
from minikube_py.agent.kubelet.static.mirror_pods import MirrorPods
from minikube_py.agent.kubelet.static.run import StaticPods
from minikube_py.api.core import PODS
from minikube_py.api.object import Key, uid_of
from minikube_py.client.informer import Informers
from tests.unit.agent.kubelet.model_node import Node, Script, model_node
from tests.unit.agent.kubelet.pods_in_time import wait
from tests.virtual_time import virtual

KEY = Key("default", "web-n1")


def manifest(**container: Any) -> dict[str, Any]:
    """Return what a source hands over for one manifest."""
    spec = {
        "terminationGracePeriodSeconds": 7,
        "containers": [{"name": "c", "image": "busybox:1", **container}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    pods = static_pods(yaml.safe_dump(pod).encode(), "file", "/m/web", "n1")
    return {uid_of(one): one for one in pods}


@contextlib.asynccontextmanager
async def statics_of(node: Node):
    """Run the static pods of a node."""
    async with Informers(node.client, node.clock) as informers:
        pods = informers.get(PODS)
        await pods.wait_synced()
        place = ("n1", lambda: "node-uid")
        mirrors = MirrorPods(place, node.client, pods, node.statuses, node.clock)
        pods.subscribe(mirrors.changed)
        node.workers._ended = mirrors.unwant
        node.nursery.start("mirrors", mirrors.run())
        yield StaticPods(node.workers, mirrors, lambda _: None)


def mirror(node: Node) -> Any:
    item = node.cluster.table(PODS).get(KEY)
    return item and item.obj


def phase(node: Node) -> Any:
    found = mirror(node)
    return found and found.get("status", {}).get("phase")


@virtual
async def test_a_static_pod_runs_and_its_mirror_tells_of_it(tmp_path):
    async with model_node(tmp_path, follows=False) as node, statics_of(node) as statics:
        statics.take("file", manifest())
        await wait(lambda: phase(node) == "Running", 60)
        (uid,) = manifest()
        assert mirror(node)["metadata"]["annotations"]["kubernetes.io/config.mirror"] == uid
        (container,) = node.runtime.containers.values()
        assert container.labels["io.kubernetes.pod.uid"] == uid


@virtual
async def test_a_mirror_that_somebody_deletes_comes_again_and_the_pod_runs_on(tmp_path):
    async with model_node(tmp_path, follows=False) as node, statics_of(node) as statics:
        statics.take("file", manifest())
        await wait(lambda: phase(node) == "Running", 60)
        first = uid_of(mirror(node))
        await node.client.delete(PODS, KEY.name, KEY.namespace, options={"gracePeriodSeconds": 0})
        await wait(lambda: phase(node) == "Running" and uid_of(mirror(node)) != first, 60)
        assert node.runtime.log.count("start c") == 1


@virtual
async def test_a_changed_manifest_replaces_the_pod_after_its_grace_period(tmp_path):
    async with model_node(tmp_path, follows=False) as node, statics_of(node) as statics:
        node.runtime.scripts["c"] = [Script(ignores_term=True), Script()]
        statics.take("file", manifest())
        await wait(lambda: phase(node) == "Running", 60)
        begun = node.clock.monotonic()
        statics.take("file", manifest(args=["x"]))
        await wait(lambda: node.runtime.log.count("start c") == 2, 60)
        assert 7 <= node.clock.monotonic() - begun < 9
        assert node.runtime.log.count("stop c 7") == 1
        (uid,) = manifest(args=["x"])
        await wait(lambda: phase(node) == "Running", 60)
        assert mirror(node)["metadata"]["annotations"]["kubernetes.io/config.mirror"] == uid


@virtual
async def test_a_manifest_that_is_taken_away_takes_pod_and_mirror_with_it(tmp_path):
    async with model_node(tmp_path, follows=False) as node, statics_of(node) as statics:
        statics.take("file", manifest())
        await wait(lambda: phase(node) == "Running", 60)
        statics.take("file", {})
        await wait(lambda: mirror(node) is None and not len(node.workers), 60)
        assert node.runtime.sandboxes == {}


@virtual
async def test_a_mirror_of_nothing_is_removed(tmp_path):
    async with model_node(tmp_path, follows=False) as node, statics_of(node) as statics:
        statics.take("file", manifest())
        await wait(lambda: phase(node) == "Running", 60)
        cluster = node.cluster
    async with model_node(tmp_path, cluster, follows=False) as node, statics_of(node):
        await wait(lambda: mirror(node) is None, 60)
