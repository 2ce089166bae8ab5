"""Network policies on real containers of two nodes: the truth of every pair of pods."""

import base64
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Cluster
from tests.e2e.network.truth import Servers, Truth, inside, networks_of
from tests.e2e.node.machine import wait_until
from tests.policy_scenarios import (
    NAMES,
    NAMESPACES,
    PODS,
    PORTS,
    PROTOCOLS,
    SCENARIOS,
    Scenario,
    egress,
)

pytestmark = pytest.mark.e2e
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
SETTLED_SECONDS = 30.0
FIRST_SECONDS = 0.3
"""A first look may come before the nodes know; the next ones are longer and longer."""


class Api:
    """The API of a cluster, over one connection that began in its machine."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
        pem = folder / "client.pem"
        given = (user["client-certificate-data"], user["client-key-data"])
        pem.write_bytes(b"\n".join(map(base64.b64decode, given)))
        ca = base64.b64decode(server["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=ca)
        context.load_cert_chain(pem)
        host = server["server"].removeprefix("https://")
        self._connection = http.client.HTTPSConnection(host, context=context, timeout=120)
        inside(Path(f"/proc/{cluster.machine.pid}/ns/net"), self._connection.connect)
        self._connection.auto_open = 0

    def ask(self, method: str, path: str, body: Any = None, content: str = "json") -> Any:
        headers = {"Content-Type": f"application/{content}"} if body is not None else {}
        data = json.dumps(body) if body is not None else None
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)

    def apply(self, path: str, body: Any) -> None:
        self.ask("PATCH", f"{path}?fieldManager=test&force=true", body, "apply-patch+yaml")

    def close(self) -> None:
        self._connection.close()


class World:
    """Nine pods in three namespaces on two nodes, and who reaches whom."""

    def __init__(self, api: Api, cluster: Cluster) -> None:
        self._api = api
        found = {
            f"{namespace}/{name}": api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
            for namespace in NAMESPACES
            for name in NAMES
        }
        self.addresses = {name: pod["status"]["podIP"] for name, pod in found.items()}
        machines = (cluster.machine.pid, *(worker.machine.pid for worker in cluster.workers))
        networks = networks_of(machines)
        self.networks = {name: networks[ip] for name, ip in self.addresses.items()}
        self._truth = Truth(self.networks, self.addresses)

    def label(self, pods: Mapping[str, Any], namespaces: Mapping[str, Any]) -> None:
        for name in PODS:
            namespace, _, pod = name.partition("/")
            path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": pods.get(name, {})}}
            if name in pods or self._labelled:
                self._api.apply(path, body)
        for name in NAMESPACES:
            kind = {"apiVersion": "v1", "kind": "Namespace"}
            if name in namespaces or self._labelled:
                more = {"metadata": {"labels": namespaces.get(name, {})}}
                self._api.apply(f"/api/v1/namespaces/{name}", kind | more)
        self._labelled = bool(pods or namespaces)

    _labelled = False

    def set_policies(self, *policies: dict[str, Any]) -> None:
        keep = {(p["metadata"]["namespace"], p["metadata"]["name"]) for p in policies}
        for policy in policies:
            path = POLICIES.format(policy["metadata"]["namespace"])
            self._api.apply(f"{path}/{policy['metadata']['name']}", policy)
        for namespace in NAMESPACES:
            path = POLICIES.format(namespace)
            for old in self._api.ask("GET", path)["items"]:
                if (namespace, old["metadata"]["name"]) not in keep:
                    self._api.ask("DELETE", f"{path}/{old['metadata']['name']}")

    def check(self, expected: Mapping[Any, bool]) -> None:
        """Wait until the truth is as expected: nodes learn of a change each for itself."""
        patience = [FIRST_SECONDS]

        def wrong() -> list[Any]:
            found = self._truth.of(expected, patience[0])
            patience[0] = min(2 * patience[0], 4.0)
            return [
                (*probe, "reached" if found[probe] else "not reached")
                for probe in expected
                if found[probe] != expected[probe]
            ]

        last: list[list[Any]] = [[]]

        def right() -> bool:
            last[0] = wrong()
            return not last[0]

        try:
            wait_until(right, SETTLED_SECONDS, "the truth is as expected")
        except AssertionError as error:
            raise AssertionError(f"{error}: {len(last[0])} wrong: {last[0][:20]}") from error


def pod(name: str, node: str) -> dict[str, Any]:
    ports = [
        {"name": f"serve-{port}-{protocol.lower()}", "containerPort": port, "protocol": protocol}
        for port in PORTS
        for protocol in PROTOCOLS
    ]
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": ["sleep", "10000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"pod": name}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [{**container, "ports": ports}],
        },
    }


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    worker = cluster.add_worker("n3", "192.168.77.3")
    for namespace in NAMESPACES:
        cluster.kubectl("create", "namespace", namespace)
        cluster.kubectl("label", "namespace", namespace, f"ns={namespace}")
        cluster.kubectl(
            "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", namespace
        )
        pods = [pod(name, "n3" if (namespace, name) in FAR else "n1") for name in NAMES]
        cluster.apply(*pods, namespace=namespace)
    for namespace in NAMESPACES:
        ready = ("wait", "--for=condition=Ready", "pod", "--all", "-n", namespace)
        cluster.kubectl(*ready, "--timeout=120s")
    api = Api(cluster, tmp_path_factory.mktemp("api"))
    try:
        made = World(api, cluster)
        with Servers(made.networks):
            yield made
    finally:
        api.close()
        for namespace in NAMESPACES:
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")
        worker.machine.close()
        cluster.workers.remove(worker)
        cluster.kubectl("delete", "node", "n3")


FAR = {("x", "b"), ("y", "a"), ("y", "c"), ("z", "b")}
"""Pods on the second node."""


@pytest.mark.parametrize(
    "scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-")
)
def test_pods_reach_each_other_exactly_as_policies_allow(world: World, scenario: Scenario) -> None:
    for step in scenario.steps:
        world.label(step.pod_labels, step.namespace_labels)
        world.set_policies(*step.policies(world.addresses))
        world.check(step.expected())


def test_a_pod_is_isolated_from_its_first_moment(cluster: Cluster, world: World) -> None:
    world.set_policies(egress("deny-out", "x", None))
    script = f"nc -w 5 {world.addresses['y/a']} 80 </dev/null >/dev/termination-log; true"
    for namespace in "xz":
        made = pod("hasty", "n1")
        (container,) = made["spec"]["containers"]
        spec = {**made["spec"], "containers": [{**container, "command": ["sh", "-c", script]}]}
        cluster.apply({**made, "spec": {**spec, "restartPolicy": "Never"}}, namespace=namespace)
    said = {}
    for namespace in "xz":
        done = ("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/hasty", "-n", namespace)
        cluster.kubectl(*done, "--timeout=120s")
        (status,) = cluster.get("pod", "hasty", "-n", namespace)["status"]["containerStatuses"]
        said[namespace] = status["state"]["terminated"].get("message", "")
        cluster.kubectl("delete", "pod", "hasty", "-n", namespace)
    assert said == {"x": "", "z": "y/a"}
