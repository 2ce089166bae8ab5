"""`kpy server --simulate-nodes`: what kubectl sees of nodes that have no machines."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.node.machine import wait_until
from tests.program import Server

RULES = """
nodes:
- {name: small, share: 2, zones: [a, b], capacity: {cpu: "2", memory: 4Gi, pods: "20"}}
- {name: big, taints: [{key: gpu, effect: NoSchedule}]}
pods:
- {selector: job-name, start: 0.1, run: 0.2}
- {start: 0.1, stop: 0.1}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    made = Server(tmp_path, "--simulate-nodes=6", f"--simulate-config={rules}")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_workloads_come_up_on_nodes_that_fit_and_jobs_end(server: Server) -> None:
    server.start()
    # Pods that come before the nodes do would all go to the first one.
    nodes_shown = ("get", "nodes", "--no-headers")
    wait_until(
        lambda: server.kubectl(*nodes_shown).count(" Ready ") == 6, 60, "all nodes are ready"
    )
    server.kubectl("create", "deployment", "web", "--image=none", "--replicas=8")
    server.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    server.kubectl("create", "job", "once", "--image=none")
    server.kubectl("wait", "--for=condition=complete", "job/once", "--timeout=120s")
    pods = json.loads(server.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    nodes = Counter(pod["spec"]["nodeName"] for pod in pods)
    assert set(nodes) == {f"small-0000{number}" for number in range(4)}
    ready = server.kubectl("get", "nodes", "-L", "topology.kubernetes.io/zone", "--no-headers")
    lines = [line.split() for line in ready.splitlines()]
    assert [line[1] for line in lines] == ["Ready"] * 6
    assert Counter(line[-1] for line in lines if line[0].startswith("small")) == {"a": 2, "b": 2}
    server.kubectl("delete", "deployment", "web")
    server.kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=120s")
    assert "Traceback" not in server.log.read_text()
