"""What `kpy why` says: every node, every plugin, in words; and that it writes nothing."""

from minikube_py.api.core import NODES, PODS
from minikube_py.api.object import Key
from minikube_py.server.scheduler.configuration import Configuration
from minikube_py.server.scheduler.why import look, report
from tests.kubelet_model import node
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, virtual

NAMES = ("default-scheduler",)


async def cluster(*nodes):
    made = ModelCluster(VirtualClock())
    for one in nodes:
        await made.client().create(NODES, one)
    return made


async def make(there, name, cpu="1", annotations=None, **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "schedulerName": "default-scheduler", **spec}
    metadata = {"name": name, "namespace": "d", "annotations": annotations or {}}
    await there.client().create(PODS, {"metadata": metadata, "spec": spec})


async def told(there, name):
    found = await look(there.client("why"), Key("d", name), Configuration())
    return None if found is None else "\n".join(report(found, NAMES))


@virtual
async def test_each_node_and_each_plugin_is_told():
    taint = {"key": "k", "effect": "NoSchedule"}
    small = node("small", allocatable={"cpu": "1"}, taints=[taint])
    there = await cluster(node("big"), small, node("busy"))
    await make(there, "lesser", "3", nodeName="busy", priority=-5)
    await make(there, "p", "2", {"kpy.dev/deadline": "2026-02-01T00:00:00Z"})
    before = len(there.requests)
    text = await told(there, "p")
    assert text.startswith(
        "pod d/p has no node; priority 0, scheduler default-scheduler\n"
        "its deadline is 2026-02-01T00:00:00Z\n"
        "1 of 3 nodes fit\n\nbig: fits, score "
    )
    assert "small: does not fit\n  TaintToleration: node(s) had untolerated taint(s)\n" in text
    assert "  NodeResourcesFit: Insufficient cpu\n" in text
    assert "busy: does not fit\n  NodeResourcesFit: Insufficient cpu\n" in text
    assert "  would fit without d/lesser" in text
    assert "  NodeUnschedulable: ok" in text
    assert "  score NodeResourcesFit: 7" in text
    assert {verb for _, verb, _, _ in there.requests[before:]} <= {"list"}


@virtual
async def test_a_pod_that_is_not_tried_says_why():
    there = await cluster(node("a"))
    await make(there, "gated", schedulingGates=[{"name": "g"}])
    assert "it is not tried: SchedulingGates: waiting for scheduling gates: [g]" in await told(
        there, "gated"
    )
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "gone"}}
    await make(there, "claiming", volumes=[claim])
    text = await told(there, "claiming")
    assert 'no node will do: VolumeBinding: persistentvolumeclaim "gone" not found' in text
    assert "0 of 1 nodes fit" in text


@virtual
async def test_pods_that_have_a_node_and_those_of_others():
    there = await cluster(node("a"))
    await make(there, "there", "3", nodeName="a")
    assert "pod d/there is on node a" in await told(there, "there")
    assert "1 of 1 nodes fit if it were placed now" in await told(there, "there")
    await make(there, "theirs", schedulerName="other")
    assert "no scheduler of that name is known here; these are: default-scheduler" in await told(
        there, "theirs"
    )
    assert await told(there, "nobody") is None
