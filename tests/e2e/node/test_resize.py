"""In-place resize on a real node: what is asked for reaches the kernel, and the status says so."""

import json
from typing import Any

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def resources(cpu: str = "", cpu_limit: str = "", memory: str = "", memory_limit: str = "") -> Any:
    """Return the `resources` of a container; "" leaves a value out."""
    pairs = {"requests": (cpu, memory), "limits": (cpu_limit, memory_limit)}
    found = {
        kind: {name: value for name, value in zip(("cpu", "memory"), values, strict=True) if value}
        for kind, values in pairs.items()
    }
    return {kind: values for kind, values in found.items() if values}


def same(cpu: str, memory: str) -> Any:
    """Return the `resources` of a guaranteed container."""
    return resources(cpu, cpu, memory, memory)


def pod_of(name: str, containers: list[Any]) -> Any:
    pod = make(name)
    (only,) = pod["spec"]["containers"]
    pod["spec"]["containers"] = [
        {**only, "name": f"c{n}", "resources": one} for n, one in enumerate(containers, 1)
    ]
    return pod


def ask(node: Node, name: str, containers: list[Any], was: list[Any]) -> None:
    """Patch the subresource with what is to change; null takes a value away."""
    patch = {
        "spec": {
            "containers": [
                {"name": f"c{n}", "resources": {**dict.fromkeys(old), **new}}
                for n, (new, old) in enumerate(zip(containers, was, strict=True), 1)
            ]
        }
    }
    node.kubectl("patch", "pod", name, "--subresource", "resize", "--patch", json.dumps(patch))


def resized(node: Node, name: str, containers: list[Any]) -> Any:
    """Wait until the status says that all is as asked for; return the pod."""

    def true() -> Any:
        pod = node.get("pod", name)
        status = pod["status"]
        kinds = {c["type"]: c["status"] for c in status["conditions"]}
        done = not {"PodResizePending", "PodResizeInProgress"} & kinds.keys()
        has = [one["resources"] for one in status["containerStatuses"]]
        return done and has == containers and kinds["Ready"] == "True" and pod

    return wait_until(true, 30, f"{name} has its resources")


def kernel(node: Node, name: str, container: str) -> tuple[int, int, int]:
    """Return shares, quota and memory limit as the container itself sees them."""
    files = ("cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "memory/memory.limit_in_bytes")
    paths = [f"/sys/fs/cgroup/{file}" for file in files]
    said = node.kubectl("exec", name, "-c", container, "--", "cat", *paths).split()
    shares, quota, memory = map(int, said)
    return shares, quota, memory


def same_but_for_status(one: str, other: str) -> bool:
    """Compare two pods as they were read one after the other: the node writes their status."""
    pods = [json.loads(text) for text in (one, other)]
    parts = [(p["kind"], p["spec"], p["metadata"]["uid"], p["status"]["podIP"]) for p in pods]
    return bool(parts[0] == parts[1])


def expected(one: Any) -> tuple[int, int, int]:
    """Return what the kernel is to hold a container to."""

    def milli(text: str) -> int:
        return int(text.removesuffix("m")) if text else 0

    limits, requests = one.get("limits", {}), one.get("requests", {})
    cpu, limit = milli(requests.get("cpu", "")), milli(limits.get("cpu", ""))
    memory = limits.get("memory", "")
    unlimited = 9223372036854771712
    return (
        max((cpu or limit) * 1024 // 1000, 2),
        max(limit * 100, 1000) if limit else -1,
        int(memory.removesuffix("Mi")) << 20 if memory else unlimited,
    )


GUARANTEED = [same("20m", "35Mi"), same("22m", "37Mi"), same("24m", "39Mi")]
CASES = {
    "net increase": (
        GUARANTEED,
        [same("25m", "40Mi"), same("27m", "42Mi"), same("19m", "34Mi")],
    ),
    "net decrease": (
        GUARANTEED,
        [same("25m", "40Mi"), same("17m", "32Mi"), same("19m", "34Mi")],
    ),
    "some of each": (
        GUARANTEED,
        [same("25m", "35Mi"), same("17m", "42Mi"), same("29m", "44Mi")],
    ),
    "limits and requests that were not there": (
        [
            resources("20m"),
            resources(memory="35Mi"),
            resources("20m", memory="35Mi"),
            resources("20m"),
            resources(memory="35Mi"),
        ],
        [
            resources("25m", "35m"),
            resources(memory="30Mi", memory_limit="50Mi"),
            resources("20m", memory="30Mi"),
            resources("15m", memory="35Mi"),
            resources("20m", memory="40Mi"),
        ],
    ),
    "amounts that are the same to the kernel": (
        [resources("2m", "10m")],
        [resources("1m", "5m")],
    ),
}


@pytest.mark.conformance(
    "Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers -"
    " increase cpu & mem on c1, c2, decrease cpu & mem on c3 - net increase...",
    "Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers -"
    " increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease...",
    "Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers -"
    " increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2)...",
    "Pod InPlace Resize Container burstable pods - extended 6 containers - various operations...",
    "Pod InPlace Resize Container burstable pods - extended resize with equivalents...",
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_a_running_pod_is_given_what_it_asks_for_without_a_restart(node: Node, case: str):
    before, after = CASES[case]
    name = f"resize-{list(CASES).index(case)}"
    node.apply(pod_of(name, before))
    node.wait(name, "Running")
    resized(node, name, before)
    ask(node, name, after, before)
    pod = resized(node, name, after)
    for n, one in enumerate(after, 1):
        assert kernel(node, name, f"c{n}") == expected(one)
    assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0] * len(after)
    if all("limits" in one for one in before):  # what was added cannot be taken away again
        ask(node, name, before, after)
        resized(node, name, before)
        assert kernel(node, name, "c1") == expected(before[0])
    node.delete(name, 1)


@pytest.mark.conformance("Pod InPlace Resize Container resize pod via the replace endpoint...")
def test_the_subresource_can_be_replaced_and_read(node: Node):
    before, after = (
        [resources("20m", "30m", "35Mi", "45Mi")],
        [resources("25m", "35m", "40Mi", "50Mi")],
    )
    node.apply(pod_of("replaced", before))
    node.wait("replaced", "Running")
    pod = resized(node, "replaced", before)
    pod["spec"]["containers"][0]["resources"] = after[0]
    path = "/api/v1/namespaces/default/pods/replaced/resize"
    node.kubectl("replace", "--raw", path, "-f", "-", stdin=json.dumps(pod))
    resized(node, "replaced", after)
    assert kernel(node, "replaced", "c1") == expected(after[0])
    whole = node.kubectl("get", "--raw", path.removesuffix("/resize"))
    assert same_but_for_status(node.kubectl("get", "--raw", path), whole)
    node.delete("replaced", 1)


def test_a_resize_outlives_a_kill_of_kpy_and_what_is_too_much_is_refused(node: Node):
    before, after = [same("20m", "35Mi")], [same("30m", "45Mi")]
    node.apply(pod_of("kept", before))
    node.wait("kept", "Running")
    ask(node, "kept", after, before)
    resized(node, "kept", after)
    node.kill()
    node.start()
    ask(node, "kept", [same("1000", "45Mi")], after)

    def refused() -> Any:
        pod = node.get("pod", "kept")
        conditions = {one["type"]: one for one in pod["status"]["conditions"]}
        return "PodResizePending" in conditions and (pod, conditions["PodResizePending"])

    pod, condition = wait_until(refused, 30, "the resize is refused")
    assert condition["reason"] == "Infeasible"
    assert condition["message"].startswith("Node didn't have enough capacity: cpu, requested: 1000")
    assert pod["status"]["containerStatuses"][0]["resources"] == after[0]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert kernel(node, "kept", "c1") == expected(after[0])
    node.delete("kept", 1)
