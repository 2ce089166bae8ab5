"""Pods on a real node: what containers find, how they end, what is told of it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.config import Machine, Start, container_config, sandbox_config
from minikube_py.agent.kubelet.dns import Resolver
from tests.cri_contract import Case, keep
from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def test_a_container_finds_its_surroundings(node: Node):
    script = (
        "env; hostname; cat /etc/hosts /etc/resolv.conf;"
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; id; sleep 3600"
    )
    env = [
        {"name": "WHO", "value": "world"},
        {"name": "GREETING", "value": "hello $(WHO)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
    ]
    limits = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    node.apply(
        make(
            "around",
            script,
            container={"env": env, "resources": limits},
            securityContext={"runAsUser": 1000, "fsGroup": 2000},
            hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias"]}],
        )
    )
    pod = node.wait("around", "Running")
    ip = pod["status"]["podIP"]
    said = wait_until(lambda: "uid=1000" in (t := node.logs("around")) and t, 5, "it has spoken")
    for line in (
        "GREETING=hello world",
        "POD=around",
        f"IP={ip}",
        f"MEMORY={64 << 20}",
        "KUBERNETES_SERVICE_HOST=10.43.0.1",
        f"{ip}\taround",
        "1.2.3.4\talias",
        "nameserver 10.43.0.10",
        "search default.svc.cluster.local svc.cluster.local cluster.local",
    ):
        assert line in said, line
    assert ",2000" in said.splitlines()[-1]
    assert pod["status"]["qosClass"] == "Guaranteed"


def test_limits_reach_the_kernel_and_go_away_with_the_pod(node: Node):
    limits = {"limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "250m"}}
    node.apply(make("limited", container={"resources": limits}))
    uid = node.wait("limited", "Running")["metadata"]["uid"]
    group = f"/sys/fs/cgroup/{{}}/kubepods/burstable/pod{uid}"
    memory = f"{group.format('memory')}/memory.limit_in_bytes"
    assert node.machine.sh("cat", memory).strip() == str(64 << 20)
    quota = f"{group.format('cpu')}/cpu.cfs_quota_us"
    assert node.machine.sh("cat", quota).strip() == "50000"
    node.delete("limited", 1)
    groups = ("find", "/sys/fs/cgroup", "-name", f"*{uid}*")
    wait_until(lambda: node.machine.sh(*groups) == "", 20, "its groups are gone")


def test_a_container_that_takes_too_much_memory_is_killed(node: Node):
    hungry = "tail /dev/zero"
    node.apply(
        make(
            "hungry",
            hungry,
            container={"resources": {"limits": {"memory": "16Mi"}}},
            restartPolicy="Never",
        )
    )
    pod = node.wait("hungry", "Failed")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


CONF = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "conf"},
    "data": {"mode": "fast", "extra": "yes"},
}
KEYS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys"},
    "stringData": {"token": "s3cret"},
}
LABELS = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
VOLUMES = [
    {"name": "conf", "configMap": {"name": "conf"}},
    {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
    {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    {"name": "disk", "emptyDir": {}},
    {"name": "host", "hostPath": {"path": "/tmp", "type": "Directory"}},
    {"name": "me", "downwardAPI": LABELS},
]
MOUNTS = [
    {"name": "conf", "mountPath": "/conf"},
    {"name": "conf", "mountPath": "/one-key", "subPath": "mode"},
    {"name": "keys", "mountPath": "/keys"},
    {"name": "mem", "mountPath": "/mem"},
    {"name": "disk", "mountPath": "/disk"},
    {"name": "disk", "mountPath": "/part", "subPath": "a/b"},
    {"name": "host", "mountPath": "/host", "readOnly": True},
    {"name": "me", "mountPath": "/me"},
]
WRITER = {
    "name": "other",
    "image": "kpy.local/busybox:1",
    "command": ["sh", "-c", "echo shared > /disk/file; sleep 3600"],
    "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
}


def test_volumes_hold_what_they_are_to_hold(node: Node):
    node.apply(CONF, KEYS)
    node.apply(
        make(
            "volumes",
            container={"volumeMounts": MOUNTS},
            others=[WRITER],
            volumes=VOLUMES,
            metadata={"labels": {"app": "web"}},
        )
    )
    uid = node.wait("volumes", "Running")["metadata"]["uid"]

    def run(command: str) -> str:
        return node.kubectl("exec", "volumes", "-c", "c", "--", "sh", "-c", command).strip()

    assert run("cat /conf/mode /one-key /keys/token") == "fastfasts3cret"
    assert run("stat -c %a /keys/..data/token") == "400"
    assert run("cat /me/labels") == 'app="web"'
    assert run("mount | grep ' /mem '").startswith("tmpfs")
    assert run("touch /conf/x 2>&1 || echo refused").endswith("refused")
    assert run("touch /host/x 2>&1 || echo refused").endswith("refused")
    assert run("touch /part/made; ls /disk/a/b") == "made"
    wait_until(lambda: run("cat /disk/file || true") == "shared", 20, "the other has written")

    node.apply(CONF | {"data": {"mode": "slow"}})
    node.kubectl("label", "pod", "volumes", "app=changed", "--overwrite")
    wait_until(lambda: run("cat /conf/mode") == "slow", 10, "the new value has arrived")
    assert run("ls /conf") == "mode"
    assert run("cat /one-key") == "fast"  # a part that was mounted by itself does not follow
    wait_until(lambda: run("cat /me/labels") == 'app="changed"', 5, "labels have arrived")

    node.delete("volumes", 1)
    mounts = ("cat", "/proc/self/mountinfo")
    wait_until(lambda: uid not in node.machine.sh(*mounts), 20, "nothing is mounted")
    folder = node.folder / "agent" / "kubelet" / "pods" / uid
    wait_until(lambda: not folder.exists(), 20, "its files are gone")


def test_a_volume_that_is_missing_is_waited_for(node: Node):
    node.apply(
        make(
            "waits",
            container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            volumes=[{"name": "v", "configMap": {"name": "later"}}],
        )
    )
    message = 'FailedMount: MountVolume.SetUp failed for volume "v" : configmap "later" not found'
    wait_until(lambda: message in node.events("waits"), 10, "the event is there")
    node.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}})
    node.wait("waits", "Running", 5)


def test_init_containers_and_sidecars_have_their_turn(node: Node):
    share = [{"name": "v", "mountPath": "/v"}]

    def step(name: str, command: str, **more: object) -> dict[str, object]:
        return {
            "name": name,
            "image": "kpy.local/busybox:1",
            "command": ["sh", "-c", command],
            "volumeMounts": share,
        } | more

    late = (
        "echo sidecar >> /v/log; trap 'echo sidecar-end >> /v/log; exit 0' TERM; sleep 3600 & wait"
    )
    spoken = {"exec": {"command": ["grep", "sidecar", "/v/log"]}, "periodSeconds": 1}
    spoken |= {"failureThreshold": 60}
    node.apply(
        make(
            "steps",
            "echo main >> /v/log; sleep 1; echo main-end >> /v/log",
            container={"volumeMounts": share},
            restartPolicy="Never",
            initContainers=[
                step("first", "echo first >> /v/log"),
                step("side", late, restartPolicy="Always", startupProbe=spoken),
                step("second", "echo second >> /v/log"),
            ],
            volumes=[
                {
                    "name": "v",
                    "hostPath": {"path": f"{node.folder}/steps", "type": "DirectoryOrCreate"},
                }
            ],
        )
    )
    pod = node.wait("steps", "Succeeded")
    log = (node.folder / "steps" / "log").read_text().split()
    assert log == ["first", "sidecar", "second", "main", "main-end", "sidecar-end"]
    inits = {s["name"]: s for s in pod["status"]["initContainerStatuses"]}
    assert inits["first"]["state"]["terminated"]["reason"] == "Completed"
    assert inits["first"]["ready"] is True


def test_a_container_that_keeps_failing_backs_off(node: Node):
    node.apply(make("crash", "echo run; exit 3"))
    status = node.wait_state("crash", "CrashLoopBackOff")
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    message = status["state"]["waiting"]["message"]
    assert " restarting failed container=c pod=crash_default(" in message
    assert message.startswith(("back-off 10s", "back-off 20s", "back-off 40s"))
    assert node.logs("crash", "--previous") == "run\n"
    node.told("crash", "BackOff: Back-off restarting failed container c in pod")
    node.delete("crash")


def test_last_words_are_told(node: Node):
    node.apply(
        make("words", "printf 'all is lost' > /dev/termination-log; exit 4", restartPolicy="Never"),
        make(
            "log-words",
            "echo one; echo two; exit 5",
            container={"terminationMessagePolicy": "FallbackToLogsOnError"},
            restartPolicy="Never",
        ),
    )
    for name, words in (("words", "all is lost"), ("log-words", "one\ntwo\n")):
        pod = node.wait(name, "Failed")
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert ended["message"] == words


def test_a_command_that_is_missing_is_told(node: Node):
    node.apply(make("none", container={"command": ["/nothing"]}))
    waiting = node.wait_state("none", "RunContainerError")["state"]["waiting"]
    assert "/nothing" in waiting["message"]
    node.delete("none")


@pytest.mark.parametrize(
    ("policy", "event"),
    [
        ("Never", "ErrImageNeverPull: Container image "),
        ("IfNotPresent", "Failed: Error: ErrImagePull"),
    ],
)
def test_an_image_that_is_missing_is_told(node: Node, policy: str, event: str):
    name = f"image-{policy.lower()}"
    image = {"image": "127.0.0.1:1/nothing:1", "imagePullPolicy": policy}
    node.apply(make(name, container=image))
    node.told(name, event)
    node.delete(name)


def test_probes_decide_when_a_container_serves_and_when_it_is_restarted(node: Node):
    serve = "mkdir /www; touch /www/ok /www/alive; httpd -p 8080 -h /www; sleep 3600"
    every = {"periodSeconds": 1, "failureThreshold": 1}
    node.apply(
        make(
            "probed",
            serve,
            container={
                "ports": [{"name": "web", "containerPort": 8080}],
                "startupProbe": {"tcpSocket": {"port": "web"}} | every | {"failureThreshold": 60},
                "readinessProbe": {"httpGet": {"port": "web", "path": "/ok"}} | every,
                "livenessProbe": {"exec": {"command": ["cat", "/www/alive"]}} | every,
            },
        )
    )

    def status() -> dict[str, object]:
        return node.pod("probed")["status"]["containerStatuses"][0]

    node.wait("probed", "Running")
    wait_until(lambda: status()["ready"], 10, "it is ready")
    node.exec("probed", "rm", "/www/ok")
    wait_until(lambda: not status()["ready"], 10, "it is not ready")
    assert status()["restartCount"] == 0
    node.exec("probed", "rm", "/www/alive")
    wait_until(lambda: status()["restartCount"], 15, "it was restarted")
    node.told("probed", "Killing: Container c failed liveness probe, will be restarted")
    node.told("probed", "Unhealthy: Liveness probe failed: cat: can't open")
    node.told("probed", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404")
    node.delete("probed")


def test_hooks_and_the_grace_period_are_kept(node: Node):
    folder = node.folder / "hooks"
    script = "trap 'echo term >> /v/log; exit 0' TERM; sleep 3600 & wait"
    node.apply(
        make(
            "hooks",
            script,
            container={
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "lifecycle": {
                    "postStart": {"exec": {"command": ["sh", "-c", "echo start >> /v/log"]}},
                    "preStop": {"exec": {"command": ["sh", "-c", "echo stop >> /v/log"]}},
                },
            },
            volumes=[{"name": "v", "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}}],
        )
    )
    node.wait("hooks", "Running")
    begun = time.monotonic()
    node.delete("hooks", 90)
    assert time.monotonic() - begun < 45, "who ends is not waited for"
    assert (folder / "log").read_text().split() == ["start", "stop", "term"]


def test_a_container_ends_by_the_signal_that_its_pod_names(node: Node):
    log = node.folder / "signal" / "log"
    script = "trap 'echo usr1 > /v/log; exit 0' USR1; echo up > /v/log; sleep 3600 & wait"
    own = {
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "lifecycle": {"stopSignal": "SIGUSR1"},
    }
    where = {"name": "v", "hostPath": {"path": str(log.parent), "type": "DirectoryOrCreate"}}
    long = {"terminationGracePeriodSeconds": 600}  # nothing else ends it in time
    node.apply(make("signal", script, container=own, os={"name": "linux"}, volumes=[where], **long))
    told = node.wait("signal", "Running")["status"]["containerStatuses"][0]
    assert told["stopSignal"] == "SIGUSR1"
    wait_until(lambda: log.exists() and log.read_text() == "up\n", 10, "it listens")
    node.kubectl("delete", "pod", "signal", "--timeout=90s")
    assert log.read_text() == "usr1\n"


def test_a_deadline_ends_a_pod(node: Node):
    node.apply(make("short"))
    node.wait("short", "Running")
    node.kubectl("patch", "pod", "short", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
    pod = node.wait("short", "Failed", 10)
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert node.wait_state("short", "Error")["state"]["terminated"]["exitCode"] == 137


def test_a_pod_may_live_in_the_node_s_network_and_see_its_processes(node: Node):
    node.apply(make("host", "hostname; ps | grep -c '[k]py server'", hostNetwork=True,
                    hostPID=True, restartPolicy="Never"))  # fmt: skip
    pod = node.wait("host", "Succeeded")
    assert pod["status"]["podIP"] == node.machine.address
    name, count = node.logs("host").split()
    assert name == "node"
    assert int(count) >= 1


def test_who_must_not_be_root_is_not_started(node: Node):
    node.apply(make("root", securityContext={"runAsNonRoot": True}))
    status = node.wait_state("root", "CreateContainerConfigError")
    assert "image will run as root" in status["state"]["waiting"]["message"]
    node.delete("root")


def test_a_pod_that_does_not_fit_is_refused(node: Node):
    node.apply(make("huge", container={"resources": {"requests": {"cpu": "1000"}}}))
    status = node.wait("huge", "Failed")["status"]
    assert status["reason"] == "OutOfcpu"
    assert status["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu")


def test_containers_of_a_pod_share_what_they_should(node: Node):
    other = {
        "name": "server",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", "mkdir /w; echo hi > /w/index.html; httpd -f -p 80 -h /w"],
    }
    node.apply(
        make(
            "shared",
            "until wget -q -O- http://127.0.0.1/; do sleep 0.1; done; ps; sleep 3600",
            others=[other],
            shareProcessNamespace=True,
        )
    )
    node.wait("shared", "Running")
    said = wait_until(
        lambda: "httpd" in (t := node.logs("shared", "-c", "c")) and t, 10, "it sees the other"
    )
    assert "hi" in said
    assert "/pause" in said
    node.delete("shared")


def test_an_image_can_be_changed_while_the_pod_runs(node: Node):
    node.apply(make("changes"))
    before = node.wait("changes", "Running")["status"]["containerStatuses"][0]["containerID"]
    node.kubectl("set", "image", "pod/changes", "c=kpy.local/pause:1")

    def changed() -> Any:
        status = node.pod("changes")["status"]["containerStatuses"][0]
        return status["containerID"] != before

    wait_until(changed, 10, "another container was made")
    node.told("changes", "Killing: Container c definition changed, will be restarted")
    node.delete("changes")


def test_an_ephemeral_container_looks_into_a_running_one(node: Node):
    node.apply(make("observed", "sleep 1234"))
    node.wait("observed", "Running")
    node.kubectl(
        "debug", "observed", "--image=kpy.local/busybox:1", "--target=c", "-c", "eye", "--", "ps"
    )

    def has_looked() -> bool:
        statuses = node.pod("observed")["status"].get("ephemeralContainerStatuses", ())
        return any("terminated" in status["state"] for status in statuses)

    wait_until(has_looked, 10, "it has looked")
    assert "sleep 1234" in node.logs("observed", "-c", "eye")
    assert node.pod("observed")["status"]["containerStatuses"][0]["restartCount"] == 0
    node.delete("observed")


def test_a_port_of_the_node_leads_to_the_pod(node: Node):
    serve = "mkdir /w; echo hi > /w/index.html; httpd -f -p 80 -h /w"
    ports = [{"containerPort": 80, "hostPort": 30999}]
    node.apply(make("served", serve, container={"ports": ports}))
    node.wait("served", "Running")
    url = f"http://{node.machine.address}:30999/"
    ask = ("busybox", "timeout", "3", "busybox", "wget", "-q", "-O-", url)
    assert wait_until(lambda: node.machine.sh(*ask, check=False), 5, "it answers") == "hi\n"
    node.delete("served")


def test_the_node_tells_of_itself(node: Node):
    found = node.get("node", "n1")
    assert found["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://1.")
    assert {c["type"]: c["status"] for c in found["status"]["conditions"]} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    lease = json.loads(node.kubectl("get", "lease", "n1", "-n", "kube-node-lease", "-o", "json"))
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]


SCRIPTS = {
    "ends": "sleep 0.5; exit 3",
    "stays": "trap 'exit 143' TERM; sleep 3600 & wait",
    "stubborn": "trap '' TERM; while :; do sleep 1; done",
}


def test_containerd_keeps_the_contract_of_the_model(node: Node):
    """What unit tests believe of a runtime holds for this one (tests/cri_contract.py)."""
    logs = node.folder / "contract"
    label = {"kpy.test/contract": "1"}  # and none of a pod that the kubelet would miss
    containers = [
        {"name": name, "image": "kpy.local/busybox:1", "command": ["sh", "-c", script]}
        for name, script in SCRIPTS.items()
    ]
    metadata = {"name": "contract", "namespace": "default", "uid": "contract"}
    pod = {"metadata": metadata, "spec": {"containers": containers}}
    sandbox = sandbox_config(pod, 0, "contract", Resolver(), logs) | {"labels": label}
    for name in SCRIPTS:
        Path(sandbox["log_directory"], name).mkdir(parents=True)
    connection = Connection(str(node.folder / "agent" / "containerd" / "containerd.sock"))

    async def main() -> None:
        try:
            image = await Images(connection).status("kpy.local/busybox:1")
            assert image is not None
            start = Start(restart_count=0, image=image, env={})
            machine = Machine(memory_bytes=1 << 30, unified=False, seccomp_folder=logs)
            made = {
                one["name"]: container_config(pod, one, start, machine) | {"labels": label}
                for one in containers
            }
            await keep(Case(Runtime(connection), sandbox, made, asyncio.sleep, label))
        finally:
            await connection.aclose()

    asyncio.run(main())
