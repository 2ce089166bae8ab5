"""The node's own object, who is let in, what is thrown away, whom a change concerns."""

from dataclasses import replace
from typing import Any

import pytest

from minikube_py.agent.cri.images import Image
from minikube_py.agent.kubelet.admit import admit
from minikube_py.agent.kubelet.garbage import surplus_containers, surplus_sandboxes
from minikube_py.agent.kubelet.node_object import (
    MachineFacts,
    NodeFacts,
    allocatable,
    capacity,
    node_object,
    node_status,
    own_part,
    parse_label,
    parse_taint,
    without_times,
)
from minikube_py.agent.kubelet.pleg import changed_pods
from minikube_py.agent.kubelet.references import Ref, references_of
from tests.unit.agent.kubelet.builders import NOW, container, exited, pod, running, sandbox

RESTART_ALL = "RestartAllContainersOnContainerExits"
MACHINE = MachineFacts(cpus=2, memory_bytes=1 << 30, disk_bytes=1 << 34, huge_pages={"2Mi": 0})
FACTS = NodeFacts(
    name="n1",
    hostname="n1.example",
    ips=("10.0.0.1",),
    machine=MACHINE,
    runtime_version="containerd://1.6",
    labels={"zone": "a"},
    taints=[parse_taint("gpu=yes:NoSchedule")],
)


def test_a_machine_is_told_in_quantities():
    assert capacity(MACHINE) == {
        "cpu": "2",
        "memory": "1048576Ki",
        "ephemeral-storage": "16777216Ki",
        "pods": "110",
        "hugepages-2Mi": "0",
    }
    assert allocatable(MACHINE)["memory"] == f"{(924 << 20) // 1024}Ki"
    assert allocatable(MACHINE)["ephemeral-storage"] == str((1 << 34) - int((1 << 34) * 0.1))


def test_a_node_registers_with_labels_and_taints():
    node = node_object(FACTS, {})
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1.example"
    assert node["metadata"]["labels"]["zone"] == "a"
    assert node["spec"]["taints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]


def status(trouble: str = "", old: Any = None, now: str = NOW, images: Any = ()) -> dict[str, Any]:
    return node_status(FACTS, trouble, images, old or {}, now)


def ready(found: dict[str, Any]) -> dict[str, Any]:
    return next(c for c in found["conditions"] if c["type"] == "Ready")


def test_a_node_is_ready_unless_something_is_wrong():
    assert ready(status())["reason"] == "KubeletReady"
    broken = ready(status("container runtime is down"))
    assert (broken["status"], broken["reason"]) == ("False", "KubeletNotReady")
    assert broken["message"] == "container runtime is down"


def test_a_node_declares_what_the_scheduler_may_ask_for():
    assert status()["declaredFeatures"] == [RESTART_ALL]


def test_a_condition_keeps_the_time_of_its_change():
    later = status(old=status(), now="2026-02-02T00:00:00Z")
    assert ready(later)["lastTransitionTime"] == NOW
    assert ready(later)["lastHeartbeatTime"] == "2026-02-02T00:00:00Z"
    assert without_times(later) == without_times(status())


def test_conditions_of_others_are_kept():
    foreign = {"type": "NetworkUnavailable", "status": "False"}
    found = status(old={"conditions": [foreign]})
    assert foreign in found["conditions"]
    assert own_part(found)["conditions"] == status()["conditions"]  # and not told again


def test_a_node_of_a_cloud_waits_until_it_is_initialised():
    node = node_object(replace(FACTS, cloud_provider="local"), {})
    assert node["spec"]["taints"][1:] == [
        {
            "key": "node.cloudprovider.kubernetes.io/uninitialized",
            "value": "true",
            "effect": "NoSchedule",
        }
    ]
    assert "alpha.kubernetes.io/provided-node-ip" not in node["metadata"]["annotations"]
    given = replace(FACTS, cloud_provider="external", given_ips="10.0.0.1")
    annotations = node_object(given, {})["metadata"]["annotations"]
    assert annotations["alpha.kubernetes.io/provided-node-ip"] == "10.0.0.1"


def addresses(facts: NodeFacts, old: Any) -> Any:
    return node_status(facts, "", (), old, NOW).get("addresses")


def test_an_external_cloud_has_the_say_over_addresses():
    own = status()["addresses"]
    assert [one["type"] for one in own] == ["InternalIP", "Hostname"]
    told = {"addresses": [{"type": "InternalIP", "address": "10.9.9.9"}]}
    for facts, old, wanted in (
        (replace(FACTS, cloud_provider="local"), told, own),
        (replace(FACTS, cloud_provider="external"), {}, None),
        (replace(FACTS, cloud_provider="external"), told, None),
        (replace(FACTS, cloud_provider="external", given_ips="10.0.0.1"), {}, own),
        (replace(FACTS, cloud_provider="external", given_ips="10.0.0.1"), told, None),
    ):
        assert addresses(facts, old) == wanted


def test_the_largest_images_are_told():
    images = [Image(id=str(n), tags=(f"i:{n}",), size_bytes=n) for n in range(60)]
    found = status(images=[*images, Image(id="nameless", size_bytes=99)])["images"]
    assert len(found) == 49
    assert found[0] == {"names": ["i:59"], "sizeBytes": 59}


def test_labels_and_taints_are_parsed():
    assert parse_label("a=b=c") == ("a", "b=c")
    assert parse_taint("a:NoExecute") == {"key": "a", "effect": "NoExecute"}
    with pytest.raises(ValueError, match="'a=b' is not key=value:effect"):
        parse_taint("a=b")


# --- who is let in ------------------------------------------------------------------------------

NODE = {"metadata": {"labels": {"disk": "ssd"}}}
ROOM = {"cpu": "2", "memory": "1Gi", "pods": "3", "example.com/fpga": "1"}


def asks(**requests: str) -> Any:
    return pod([container(resources={"requests": requests})])


def refused(a_pod: Any, *others: Any) -> str | None:
    failure = admit(a_pod, others, ROOM, NODE)
    return failure and failure.reason


def on_port(port: int) -> Any:
    return pod([container(ports=[{"containerPort": 1, "hostPort": port}])])


@pytest.mark.parametrize(
    ("a_pod", "others", "reason"),
    [
        (pod(), (), None),
        (asks(cpu="2"), (), None),
        (asks(cpu="2001m"), (), "OutOfcpu"),
        (asks(cpu="1"), (asks(cpu="1500m"),), "OutOfcpu"),
        (asks(memory="2Gi"), (), "OutOfmemory"),
        (asks(**{"example.com/gpu": "1"}), (), None),
        (asks(**{"example.com/fpga": "1"}), (), None),
        (asks(**{"example.com/fpga": "2"}), (), "OutOfexample.com/fpga"),
        (pod(), (pod(), pod(), pod()), "OutOfpods"),
        (pod(nodeSelector={"disk": "ssd"}), (), None),
        (pod(nodeSelector={"disk": "tape"}), (), "NodeAffinity"),
        (on_port(80), (on_port(81),), None),
        (on_port(80), (on_port(80),), "NodePorts"),
        (pod(hostUsers=False), (), None),
        (pod(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}}), (), "AppArmor"),
        (pod(securityContext={"appArmorProfile": {"type": "Unconfined"}}), (), None),
        (
            pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
            (),
            "SysctlForbidden",
        ),
        (
            pod(securityContext={"sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]}),
            (),
            None,
        ),
    ],
)
def test_a_pod_is_refused_for_one_reason(a_pod, others, reason):
    assert refused(a_pod, *others) == reason


def test_a_refusal_tells_the_amounts():
    failure = admit(asks(cpu="2"), [asks(cpu="500m")], ROOM, NODE)
    assert failure is not None
    assert failure.message == (
        "Pod was rejected: Node didn't have enough resource: cpu,"
        " requested: 2000, used: 500, capacity: 2000"
    )


# --- what is thrown away ------------------------------------------------------------------------


def test_of_each_container_the_newest_and_the_one_before_are_kept():
    things = [running("a", 3), exited("a", 1, 2), exited("a", 1, 1), exited("a", 1, 0), exited("b")]
    assert {c.id for c in surplus_containers(things)} == {"a-1", "a-0"}


def test_what_runs_is_never_thrown_away():
    things = [exited("a", 1, 2), exited("a", 1, 1), running("a", 0)]
    assert list(surplus_containers(things)) == []


def test_old_sandboxes_go_when_nothing_is_left_in_them():
    old, older = sandbox(1, ready=False), sandbox(0, ready=False)
    newest = sandbox(2, ready=False)
    held = replace(exited(), sandbox_id=old.id)
    assert list(surplus_sandboxes([newest, old, older], [held])) == [older]
    assert list(surplus_sandboxes([sandbox(0), sandbox(1)], [])) == []


# --- whom a change concerns ---------------------------------------------------------------------


def test_a_pod_is_concerned_when_anything_of_it_came_went_or_changed():
    before = {"1": ("p", "running"), "2": ("q", "running"), "3": ("r", "exited")}
    after = {"1": ("p", "exited"), "2": ("q", "running"), "4": ("s", "running")}
    assert changed_pods(before, after) == {"p", "r", "s"}


def test_all_references_of_a_pod_are_found():
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m1", "key": "k"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    from_ = [{"configMapRef": {"name": "m2"}}, {"secretRef": {"name": "s2"}}]
    sources = [{"configMap": {"name": "m4"}}, {"secret": {"name": "s4"}}]
    a_pod = pod(
        [container(env=env)],
        init=[container("i", envFrom=from_)],
        volumes=[
            {"name": "v1", "configMap": {"name": "m3"}},
            {"name": "v2", "secret": {"secretName": "s3"}},
            {"name": "v3", "projected": {"sources": sources}},
            {"name": "v4", "emptyDir": {}},
        ],
        imagePullSecrets=[{"name": "s5"}],
    )
    assert references_of(a_pod) == {
        *(Ref("configmaps", "default", f"m{n}") for n in (1, 2, 3, 4)),
        *(Ref("secrets", "default", f"s{n}") for n in (1, 2, 3, 4, 5)),
    }
