"""kubectl of every minor runs, scales, rolls out and shows workloads."""

import json

import pytest

from tests.e2e.clients.conftest import BOX
from tests.e2e.clients.programs import Program
from tests.e2e.clients.test_kubectl_objects import deployment, template
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
IMAGE = "--image=kpy.local/busybox:1"
SLEEP = ("--", "sh", "-c", "sleep 3600")


def controller(name: str, replicas: int) -> dict[str, object]:
    """Return a replication controller."""
    spec = {"replicas": replicas, "selector": {"app": name}, "template": template(name)}
    metadata = {"name": name, "labels": {"app": name}}
    kind = {"apiVersion": "v1", "kind": "ReplicationController"}
    return {**kind, "metadata": metadata, "spec": spec}


def running(k: Program, name: str) -> int:
    """Return how many pods of an application are to stay."""
    items = k.json("get", "pods", "-l", f"app={name}")["items"]
    return sum("deletionTimestamp" not in item["metadata"] for item in items)


def history(k: Program, target: str) -> list[list[str]]:
    """Return the revisions of a deployment and their causes."""
    lines = k("rollout", "history", target).splitlines()
    return [line.split() for line in lines if line][2:]


def test_a_rollout_is_followed_paused_undone_and_restarted(k: Program) -> None:
    k("create", "-f", "-", stdin=k.text(deployment("rolled", 1)))
    target = "deployment/rolled"
    done = k("rollout", "status", target, "--timeout=120s")
    assert done.endswith('deployment "rolled" successfully rolled out\n')
    k("set", "env", target, "COLOUR=blue")
    k("rollout", "status", target, "--timeout=120s")
    k("annotate", target, "kubernetes.io/change-cause=second")
    told = [["1", "<none>"], ["2", "second"]]  # the newest replica set is told what the cause was
    wait_until(lambda: history(k, target) == told, 60, "the history names the cause")
    assert "COLOUR:\tblue" in k("rollout", "history", target, "--revision=2")

    k("rollout", "pause", target)
    assert "is already paused" in k.fails("rollout", "pause", target)
    k("set", "env", target, "COLOUR=red")
    assert "1" in k("get", target, "-o", "jsonpath={.spec.paused}{.status.replicas}")
    assert "you cannot rollback a paused deployment" in k.fails("rollout", "undo", target)
    k("rollout", "resume", target)
    k("rollout", "status", target, "--timeout=120s")
    k("rollout", "undo", target, "--to-revision=1")
    k("rollout", "status", target, "--timeout=120s")
    path = "jsonpath={.spec.template.spec.containers[0].env}"
    assert k("get", target, "-o", path) == ""
    k("rollout", "restart", target)
    k("rollout", "status", target, "--timeout=120s")
    assert "kubectl.kubernetes.io/restartedAt" in k("get", target, "-o", "yaml")
    k("delete", target)


def test_a_deployment_is_scaled_exposed_and_autoscaled(k: Program, minor: tuple[int, ...]) -> None:
    k("create", "deployment", "sized", IMAGE, "--replicas=0", "--port=8080", *SLEEP)
    assert k("scale", "deployment/sized", "--replicas=1", "--current-replicas=0") == (
        "deployment.apps/sized scaled\n"
    )
    assert "Expected replicas to be 5" in k.fails(
        "scale", "deployment/sized", "--replicas=2", "--current-replicas=5"
    )
    k("wait", "deployment/sized", "--for=jsonpath={.status.availableReplicas}=1", "--timeout=120s")
    assert k("expose", "deployment", "sized", "--port=80", "--name=sized-svc") == (
        "service/sized-svc exposed\n"
    )
    [port] = k.json("get", "service", "sized-svc")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, 80)
    limit = "--cpu=50%" if minor >= (1, 34) else "--cpu-percent=50"
    k("autoscale", "deployment", "sized", "--min=1", "--max=3", limit)
    [metric] = k.json("get", "hpa", "sized")["spec"]["metrics"]
    assert metric["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50},
    }
    assert "Deployment/sized" in k("get", "hpa", "sized")
    k("delete", "deployment,hpa", "sized")


@pytest.mark.conformance("Kubectl client Kubectl run pod should create a pod from an image...")
def test_a_pod_is_run_and_waited_for(k: Program) -> None:
    k("run", "once", IMAGE, "--restart=Never", "--", "sh", "-c", "echo done")
    k("wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    pod = k.json("get", "pod", "once")
    assert pod["spec"]["restartPolicy"] == "Never"
    assert [c["image"] for c in pod["spec"]["containers"]] == ["kpy.local/busybox:1"]
    assert k("logs", "once") == "done\n"
    assert "timed out waiting for the condition" in k.fails(
        "wait", "pod/once", "--for=condition=Ready", "--timeout=1s"
    )
    # It says nothing before it is told something, so somebody is there to hear it.
    echo = ("--rm", "-i", "--restart=Never", "-q", "--", "sh", "-c", "read line; echo got $line")
    assert "got hi\n" in k("run", "shown", IMAGE, *echo, stdin="hi\n")
    assert '"shown" not found' in k.fails("get", "pod", "shown")


@pytest.mark.conformance(
    "Kubectl client Kubectl describe should check if kubectl describe prints...",
    "Kubectl client Update Demo should create and stop a replication controller",
    "Kubectl client Update Demo should scale a replication controller",
    "Kubectl client Kubectl expose should create services for rc",
    "Kubectl client Kubectl patch should add annotations for pods in rc",
)
def test_a_replication_controller_lives_its_life(k: Program) -> None:
    k("create", "-f", "-", stdin=k.text(controller("demo", 2)))
    k("wait", "rc/demo", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=120s")
    [line] = k("get", "rc", "demo", "--no-headers").splitlines()
    assert line.split()[:4] == ["demo", "2", "2", "2"]

    described = k.says("SuccessfulCreate", "describe", "rc", "demo")
    assert "Replicas:     2 current / 2 desired" in described
    assert "Pods Status:  2 Running / 0 Waiting / 0 Succeeded / 0 Failed" in described
    pod = k("get", "pods", "-l", "app=demo", "-o", "name").split()[0]
    described = k.says("Successfully assigned", "describe", pod)
    assert "Controlled By:  ReplicationController/demo" in described
    assert "Ready:          True" in described
    assert "Name:" in k("describe", "namespace", k.flags[1])
    assert "Container Runtime Version:" in k("describe", "node")

    k("expose", "rc", "demo", "--name=demo-1", "--port=1234", "--target-port=6379")
    k("expose", "service", "demo-1", "--name=demo-2", "--port=2345", "--target-port=6379")
    of_service = ("-l", "kubernetes.io/service-name=demo-2", "-o", "json")
    k.says('"port": 6379', "get", "endpointslices", *of_service)
    k("patch", pod, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    assert k("get", pod, "-o", "jsonpath={.metadata.annotations.x}") == "y"

    k("scale", "rc", "demo", "--replicas=1", "--timeout=120s")
    k("wait", "rc/demo", "--for=jsonpath={.status.replicas}=1", "--timeout=120s")
    assert running(k, "demo") == 1
    k("delete", "rc,service", "demo", "demo-1", "demo-2", "--ignore-not-found", "--timeout=120s")
    k("wait", "--for=delete", "pods", "-l", "app=demo", "--timeout=120s")


@pytest.mark.conformance("Kubectl client Kubectl replace should update a single-container...")
def test_the_image_of_a_running_pod_is_replaced(k: Program) -> None:
    k("run", "swapped", IMAGE, "--labels=run=swapped", *SLEEP)
    k("wait", "--for=condition=Ready", "pod/swapped", "--timeout=120s")
    pod = json.loads(k("get", "pod", "swapped", "-o", "json").replace("busybox:1", "busybox:2"))
    del pod["metadata"]["resourceVersion"]  # the node may write the status at any time
    k("replace", "-f", "-", stdin=k.text(pod))
    image = k("get", "pod", "swapped", "-o", "jsonpath={.spec.containers[0].image}")
    assert image == "kpy.local/busybox:2"
    wrong = k.text(pod | {"spec": pod["spec"] | {"restartPolicy": "Never"}})
    said = k.fails("replace", "-f", "-", stdin=wrong)
    assert "pod updates may not change fields other than" in said
    k("delete", "pod", "swapped", "--wait=false")


def test_events_are_listed_and_followed(k: Program) -> None:
    k.says("Successfully assigned", "events", "--for", f"pod/{BOX}")
    k.says("Started", "get", "events", "--field-selector", f"involvedObject.name={BOX}")
    assert "Warning" not in k("events", "--for", f"pod/{BOX}", "--types=Normal")
    with k.running("events", "--watch", "--for", "pod/noted") as followed:
        k("run", "noted", IMAGE, "--restart=Never", "--", "true")
        followed.until("Successfully assigned")
    k("delete", "pod", "noted", "--wait=false")


def test_a_job_is_made_of_a_cron_job(k: Program) -> None:
    k("create", "cronjob", "hourly", IMAGE, "--schedule=0 * * * *", "--", "echo", "42")
    k("create", "job", "now", "--from=cronjob/hourly")
    k("wait", "--for=condition=Complete", "job/now", "--timeout=120s")
    assert k("logs", "job/now") == "42\n"
    assert "Complete" in k("get", "job", "now")
    k("delete", "cronjob/hourly")
    k("wait", "--for=delete", "job/now", "--timeout=120s")
