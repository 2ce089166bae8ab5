"""What is done to pods and what becomes of it: changes, hooks, streams, deletions."""

import base64
import json
from typing import Any

import aiohttp
import pytest
import yaml

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.batch import IMAGE
from tests.e2e.conformance.net import Net
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
LONG = "sleep 3600"
UNTIL_TOLD = "trap exit TERM; sleep 3600 & wait"
"""The first process of a container ends at a signal only where it says so."""


def pod(name: str, script: str = LONG, **more: Any) -> dict[str, Any]:
    """Return a pod with one container; `container` and `metadata` have their own fields."""
    only = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **more.pop("metadata", {})},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [{**only, **more.pop("container", {})}],
            **more,
        },
    }


class Space(Net):
    """A namespace in which pods are changed."""

    def patch(self, what: str, change: Any, *more: str) -> None:
        self.do("patch", what, "--type=merge", "-p", json.dumps(change), *more)

    def until(self, name: str, true: Any, seconds: float = 60) -> Any:
        """Wait until something holds of a pod; return the pod."""

        def look() -> Any:
            found = self.get("pod", name)
            return true(found) and found

        return wait_until(look, seconds, f"pod {name} is as expected")


@pytest.fixture
def space(cluster: Cluster, namespace: str) -> Space:
    return Space(cluster, namespace)


# --- changes --------------------------------------------------------------------------------------


@pytest.mark.conformance("Pods should be submitted and removed", "Pods should be updated")
def test_a_pod_is_made_found_changed_and_removed(space: Space) -> None:
    held = {"labels": {"time": "one"}, "finalizers": ["example.com/looked-at"]}
    space.make(pod("a", UNTIL_TOLD, metadata=held))
    assert len(space.get("pods", "-l", "time=one")["items"]) == 1
    space.patch("pod/a", {"metadata": {"labels": {"time": "two"}}})
    assert space.get("pods", "-l", "time=one")["items"] == []
    assert len(space.get("pods", "-l", "time=two")["items"]) == 1
    space.do("delete", "pod", "a", "--grace-period=30", "--wait=false")
    assert space.get("pod", "a")["metadata"]["deletionTimestamp"]
    space.patch("pod/a", {"metadata": {"finalizers": None}})
    space.do("wait", "--for=delete", "pod/a", "--timeout=120s")
    assert space.get("pods", "-l", "time=two")["items"] == []


@pytest.mark.conformance("Pods should allow activeDeadlineSeconds to be updated")
def test_a_deadline_that_is_set_later_ends_a_pod(space: Space) -> None:
    space.make(pod("a"))
    space.patch("pod/a", {"spec": {"activeDeadlineSeconds": 2}})
    found = space.until("a", lambda one: one["status"]["phase"] == "Failed")
    assert found["status"]["reason"] == "DeadlineExceeded"


@pytest.mark.conformance("Pods should run through the lifecycle of Pods and PodStatus")
def test_a_pod_and_its_status_are_patched_replaced_and_deleted(space: Space) -> None:
    space.make(pod("a", metadata={"labels": {"static": "true"}}))
    change = {
        "metadata": {"labels": {"patched": "yes"}},
        "spec": {"terminationGracePeriodSeconds": 2},
    }
    done = space.cluster.run("patch", "pod", "a", "-n", space.namespace, "-p", json.dumps(change))
    assert "pod updates may not change fields other than" in done.stderr
    image = {"name": "c", "image": IMAGE}
    change = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"containers": [image]}}
    space.do("patch", "pod", "a", "-p", json.dumps(change))
    assert space.get("pod", "a")["metadata"]["labels"]["patched"] == "yes"
    path = f"/api/v1/namespaces/{space.namespace}/pods/a/status"

    def replaced() -> Any:
        found = space.get("pod", "a")
        for one in found["status"]["conditions"]:
            one["status"] = "False" if one["type"] == "Ready" else one["status"]
        text = json.dumps(found)
        return json.loads(space.cluster.kubectl("replace", "--raw", path, "-f", "-", stdin=text))

    # The node may have written the status in between, which is a conflict.
    answer = wait_until(replaced, 30, "the status is replaced")
    kinds = {one["type"]: one["status"] for one in answer["status"]["conditions"]}
    assert kinds["Ready"] == "False"
    space.do("delete", "pods", "-l", "static=true", "--timeout=120s")
    assert space.get("pods")["items"] == []


@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment"
    " per update",
    "Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful"
    " delete",
)
def test_the_generation_counts_changes_of_the_spec_and_is_observed(space: Space) -> None:
    space.make(pod("a", metadata={"generation": 100}))

    def observed(generation: int) -> None:
        def true(found: Any) -> bool:
            return (
                found["metadata"]["generation"] == generation
                and found["status"]["observedGeneration"] == generation
            )

        space.until("a", true, 30)

    observed(1)
    space.patch("pod/a", {"metadata": {"labels": {"a": "b"}}})
    observed(1)
    toleration = {"key": "x", "operator": "Exists", "effect": "NoExecute"}
    space.patch(
        "pod/a",
        {"spec": {"tolerations": [*space.get("pod", "a")["spec"]["tolerations"], toleration]}},
    )
    observed(2)
    space.patch("pod/a", {"spec": {"activeDeadlineSeconds": 5000}})
    observed(3)
    space.make(pod("b", "trap '' TERM; " + LONG, terminationGracePeriodSeconds=180))
    space.do("delete", "pod", "b", "--wait=false")
    assert space.get("pod", "b")["metadata"]["generation"] == 2
    space.do("delete", "pod", "b", "--grace-period=0", "--force")


@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation"
    " and observedGeneration eventually converge"
)
def test_many_changes_in_a_row_are_observed_in_the_end(space: Space) -> None:
    space.make(pod("a"))
    config = space.cluster.kubeconfig
    path = f"/api/v1/namespaces/{space.namespace}/pods/a"

    async def change() -> None:
        async with api(config) as (session, url):
            for seconds in range(5499, 5000, -1):
                body = {"spec": {"activeDeadlineSeconds": seconds}}
                headers = {"Content-Type": "application/merge-patch+json"}
                async with session.patch(url + path, json=body, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()

    space.cluster.machine.run(change)

    def true(found: Any) -> bool:
        return bool(
            found["metadata"]["generation"] == 500 and found["status"]["observedGeneration"] == 500
        )

    space.until("a", true, 60)


@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command that always fails in a pod should be possible to"
    " delete"
)
def test_a_pod_that_has_failed_is_deleted(space: Space) -> None:
    space.make(pod("a", "exit 1"), ready=False)
    space.until("a", lambda one: one["status"].get("containerStatuses"))
    space.do("delete", "pod", "a", "--timeout=120s")


# --- hooks ----------------------------------------------------------------------------------------


SERVER = (
    "mkdir /www; cd /www; touch http-postStart http-preStop exec-postStart exec-preStop;"
    " httpd -f -vv -p 8080 -h /www"
)


@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec"
    " hook properly",
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec"
    " hook properly",
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http"
    " hook properly",
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http"
    " hook properly",
    "PreStop should call prestop when killing a pod",
)
def test_hooks_reach_another_pod(space: Space) -> None:
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    space.make(pod("server", SERVER, container={"readinessProbe": probe}))
    address = space.get("pod", "server")["status"]["podIP"]
    hooked = []
    for hook in ("postStart", "preStop"):
        http = {"httpGet": {"host": address, "port": 8080, "path": f"/http-{hook}"}}
        url = f"http://{address}:8080/exec-{hook}"
        command = {"exec": {"command": ["wget", "-q", "-O-", url]}}
        for kind, action in (("http", http), ("exec", command)):
            name = f"{kind}-{hook.lower()}"
            hooked.append(pod(name, UNTIL_TOLD, container={"lifecycle": {hook: action}},
                              terminationGracePeriodSeconds=30))  # fmt: skip
    space.make(*hooked)

    def heard(*hooks: str) -> bool:
        said = space.do("logs", "server")
        return all(f"url:/{hook}" in said for hook in hooks)

    wait_until(lambda: heard("http-postStart", "exec-postStart"), 20, "postStart hooks ran")
    assert not heard("http-preStop")
    assert not heard("exec-preStop")
    names = [one["metadata"]["name"] for one in hooked]
    space.do("delete", "pods", *names, "--grace-period=30", "--timeout=120s")
    wait_until(lambda: heard("http-preStop", "exec-preStop"), 20, "preStop hooks ran")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.conformance("KubeletManagedEtcHosts should test kubelet managed /etc/hosts file")
def test_etc_hosts_is_managed_where_nobody_else_brings_one(space: Space) -> None:
    mine = {"name": "hosts", "mountPath": "/etc/hosts"}
    brought = {"name": "own", "image": IMAGE, "command": ["sh", "-c", LONG], "volumeMounts": [mine]}
    source = {"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}
    managed = pod("managed", volumes=[source])
    managed["spec"]["containers"].append(brought)
    space.make(managed, pod("host", hostNetwork=True))

    def hosts(name: str, container: str) -> str:
        return space.do("exec", name, "-c", container, "--", "cat", "/etc/hosts")

    mark = "# Kubernetes-managed hosts file"
    assert hosts("managed", "c").startswith(f"{mark}.")
    assert mark not in hosts("managed", "own")
    assert not hosts("host", "c").startswith(f"{mark}.\n")


def by_expression(name: str, expression: str, annotation: str = "") -> dict[str, Any]:
    """Return a pod whose volume is mounted where an expression over its environment leads."""
    path = {"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}
    return pod(
        name,
        container={
            "env": [
                {"name": "POD_NAME", "value": "foo"},
                {"name": "ANNOTATION", "valueFrom": path},
            ],
            "volumeMounts": [
                {"name": "v", "mountPath": "/part", "subPathExpr": expression},
                {"name": "v", "mountPath": "/whole"},
            ],
        },
        metadata={"annotations": {"mysubpath": annotation}},
        volumes=[{"name": "v", "emptyDir": {}}],
    )


def waiting(found: Any) -> str:
    """Return why the first container waits, "" where it does not."""
    statuses = found["status"].get("containerStatuses", ())
    return statuses[0]["state"].get("waiting", {}).get("reason", "") if statuses else ""


@pytest.mark.conformance(
    "Variable Expansion should fail substituting values in a volume subpath with backticks",
    "Variable Expansion should fail substituting values in a volume subpath with absolute path",
    "Variable Expansion should verify that a failing subpath expansion can be modified during the"
    " lifecycle of a container",
    "Variable Expansion should succeed in writing subpaths in container",
)
def test_paths_from_the_environment_are_refused_mended_and_used(space: Space) -> None:
    space.make(
        by_expression("backticks", "$(ANNOTATION)", "../`ls`/.."),
        by_expression("absolute", "$(ANNOTATION)", "/tmp"),
        by_expression("mended", "$(ANNOTATION)/$(POD_NAME)", "/tmp"),
        ready=False,
    )
    for name in ("backticks", "absolute", "mended"):
        space.until(name, lambda one: waiting(one) == "CreateContainerConfigError")
    space.do("annotate", "pod", "mended", "mysubpath=mypath", "--overwrite")
    space.do("wait", "--for=condition=Ready", "pod/mended", "--timeout=120s")
    space.do("exec", "mended", "--", "touch", "/part/test.log")
    space.do("exec", "mended", "--", "test", "-f", "/whole/mypath/foo/test.log")
    space.do("annotate", "pod", "mended", "mysubpath=mynewpath", "--overwrite")
    space.do("delete", "pod", "mended", "--timeout=120s")


# --- what the API refuses -------------------------------------------------------------------------


@pytest.mark.conformance(
    "ConfigMap should fail to create ConfigMap with empty key",
    "Secrets should fail to create secret due to empty secret key",
)
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_an_empty_key_is_refused(space: Space, kind: str) -> None:
    value = base64.b64encode(b"value-1").decode()
    made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "bad"}, "data": {"": value}}
    words = ("create", "-n", space.namespace, "-f", "-")
    done = space.cluster.run(*words, stdin=json.dumps(made))
    assert done.returncode != 0
    assert 'data[]: Invalid value: ""' in done.stderr


@pytest.mark.conformance("ConfigMap should update ConfigMap successfully")
def test_a_config_map_is_changed_and_found_by_its_label(space: Space) -> None:
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": {"static": "true"}},
        "data": {"one": "1"},
    }
    space.make(made)
    space.patch("configmap/a", {"data": {"one": "2"}})
    (found,) = space.get("configmaps", "-l", "static=true")["items"]
    assert found["data"] == {"one": "2"}


@pytest.mark.conformance("PodTemplates should replace a pod template")
def test_a_pod_template_is_replaced(space: Space) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    made = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "t"},
        "template": template,
    }
    space.make(made)
    found = space.get("podtemplate", "t")
    found["metadata"]["annotations"] = {"updated": "yes"}
    space.do("replace", "-f", "-", stdin=json.dumps(found))
    assert space.get("podtemplate", "t")["metadata"]["annotations"]["updated"] == "yes"


@pytest.mark.conformance("Sysctls should reject invalid sysctls")
def test_sysctls_with_odd_names_are_refused(space: Space) -> None:
    names = ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")
    entries = [{"name": name, "value": "100000000"} for name in names]
    made = pod("a", securityContext={"sysctls": entries})
    done = space.cluster.run("create", "-n", space.namespace, "-f", "-", stdin=json.dumps(made))
    for index, is_bad in enumerate((True, False, False, True)):
        said = f'spec.securityContext.sysctls[{index}].name: Invalid value: "{names[index]}"'
        assert (said in done.stderr) == is_bad


@pytest.mark.conformance(
    "RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead",
    "RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead",
)
def test_a_runtime_class_brings_its_overhead(space: Space) -> None:
    overhead = {"cpu": "10m", "memory": "1Mi"}
    for name, more in (("kpy-plain", {}), ("kpy-heavy", {"overhead": {"podFixed": overhead}})):
        made = {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": name},
            "handler": "runc",
            **more,
        }
        space.make(made, pod(name, runtimeClassName=name), ready=False)
        space.do("wait", "--for=condition=PodScheduled", f"pod/{name}", "--timeout=120s")
        assert space.get("pod", name)["spec"].get("overhead") == (overhead if more else None)
        space.cluster.kubectl("delete", "runtimeclass", name)


# --- streams --------------------------------------------------------------------------------------


class api:  # noqa: N801 -- used as a function
    """A session with the API server, and the server's URL; runs inside the machine."""

    def __init__(self, kubeconfig: Any) -> None:
        self._config = yaml.safe_load(kubeconfig.read_text())

    async def __aenter__(self) -> tuple[aiohttp.ClientSession, str]:
        import ssl  # noqa: PLC0415
        import tempfile  # noqa: PLC0415

        cluster = self._config["clusters"][0]["cluster"]
        user = self._config["users"][0]["user"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=ca)
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            file.write(base64.b64decode(user["client-key-data"]))
            file.flush()
            context.load_cert_chain(file.name)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        return self._session, cluster["server"]

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


async def messages(kubeconfig: Any, path: str, protocol: str) -> list[bytes]:
    """Return the messages that a WebSocket brings until it is closed."""
    async with (
        api(kubeconfig) as (session, url),
        session.ws_connect(url.replace("https", "wss") + path, protocols=[protocol]) as socket,
    ):
        assert socket.protocol == protocol
        return [message.data async for message in socket]


@pytest.mark.conformance("Pods should support remote command execution over websockets")
def test_a_command_is_run_over_a_websocket(space: Space) -> None:
    space.make(pod("a"))
    command = "&".join(f"command={word}" for word in ("echo", "remote%20execution%20test"))
    path = f"/api/v1/namespaces/{space.namespace}/pods/a/exec?stdout=1&stderr=1&{command}"
    kubeconfig = space.cluster.kubeconfig
    found = space.cluster.machine.run(lambda: messages(kubeconfig, path, "channel.k8s.io"))
    assert b"".join(one[1:] for one in found if one[:1] == b"\x01") == b"remote execution test\n"
    assert not [one for one in found if one[:1] != b"\x01" and len(one) > 1]


@pytest.mark.conformance("Pods should support retrieving logs from the container over websockets")
def test_logs_come_over_a_websocket(space: Space) -> None:
    space.make(pod("a", "echo container is alive; " + LONG))
    wait_until(lambda: "alive" in space.do("logs", "a"), 20, "it has spoken")
    path = f"/api/v1/namespaces/{space.namespace}/pods/a/log?container=c"
    kubeconfig = space.cluster.kubeconfig
    found = space.cluster.machine.run(lambda: messages(kubeconfig, path, "binary.k8s.io"))
    assert b"".join(found) == b"container is alive\n"


# --- services -------------------------------------------------------------------------------------


@pytest.mark.conformance("Pods should contain environment variables for services")
def test_services_are_in_the_environment(space: Space) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "fooservice"},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 8765, "targetPort": 8080}]},
    }
    space.make(service)
    address = space.get("service", "fooservice")["spec"]["clusterIP"]
    space.make(pod("a"))
    said = space.do("exec", "a", "--", "env").splitlines()
    for line in (
        f"FOOSERVICE_SERVICE_HOST={address}",
        "FOOSERVICE_SERVICE_PORT=8765",
        f"FOOSERVICE_PORT=tcp://{address}:8765",
        f"FOOSERVICE_PORT_8765_TCP=tcp://{address}:8765",
        "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
        "FOOSERVICE_PORT_8765_TCP_PORT=8765",
        f"FOOSERVICE_PORT_8765_TCP_ADDR={address}",
    ):
        assert line in said
