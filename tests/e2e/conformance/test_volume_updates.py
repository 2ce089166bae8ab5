"""Volumes of running pods follow what they show: objects that change, come and go."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.batch import IMAGE
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
KINDS = ("ConfigMap", "Secret")
FIELDS = {"ConfigMap": ("configMap", "name"), "Secret": ("secret", "secretName")}
FOLLOW_SECONDS = 90.0


def held(kind: str, name: str, value: str, **more: Any) -> dict[str, Any]:
    data = {"data" if kind == "ConfigMap" else "stringData": {"data-1": value}}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **data, **more}


def volumes(kind: str, name: str) -> list[dict[str, Any]]:
    """Return two optional volumes of an object: plain and projected."""
    field, key = FIELDS[kind]
    plain = {field: {key: name, "optional": True}}
    projected = {"projected": {"sources": [{field: {"name": name, "optional": True}}]}}
    base = f"{field.lower()}-{name}"
    return [{"name": base, **plain}, {"name": f"{base}-projected", **projected}]


def sleeper(
    name: str, mounted: list[dict[str, Any]], labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a pod that shows volumes under /v until it is deleted."""
    mounts = [{"name": one["name"], "mountPath": f"/v/{one['name']}"} for one in mounted]
    command = ["sh", "-c", "sleep 3600"]
    container = {"name": "c", "image": IMAGE, "command": command, "volumeMounts": mounts}
    metadata = {"name": name, "labels": labels or {}, "annotations": {"build": "one"}}
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": mounted,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class Running:
    """A namespace with a pod whose files are looked at."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self._pod = pod

    def start(self, *objects: dict[str, Any]) -> None:
        self._cluster.apply(*objects, namespace=self.namespace)
        ready = ("wait", "--for=condition=Ready", f"pod/{self._pod}", "--timeout=120s")
        self._cluster.kubectl(*ready, "-n", self.namespace)

    def files(self) -> dict[str, str]:
        """Return what the files under /v hold, by path."""
        script = "for f in $(find -L /v -type f | grep -v '/[.][.]'); do echo $f $(cat $f); done"
        said = self._cluster.kubectl(
            "exec", self._pod, "-n", self.namespace, "--", "sh", "-c", script
        )
        lines = (line.removeprefix("/v/").partition(" ") for line in said.splitlines())
        return {path: text for path, _, text in lines}

    def wait_for(self, wanted: dict[str, str]) -> None:
        """Wait until the files are just these."""
        last: dict[str, str] = {}

        def true() -> bool:
            nonlocal last
            last = self.files()
            return last == wanted

        try:
            wait_until(true, FOLLOW_SECONDS, "the files follow")
        except AssertionError:
            assert last == wanted
            raise


@pytest.mark.conformance(
    "ConfigMap updates should be reflected in volume",
    "ConfigMap optional updates should be reflected in volume",
    "Projected configMap updates should be reflected in volume",
    "Projected configMap optional updates should be reflected in volume",
    "Projected secret optional updates should be reflected in volume",
    "Secrets optional updates should be reflected in volume",
)
def test_objects_that_change_come_and_go_are_reflected(cluster: Cluster, namespace: str) -> None:
    names = ("changed", "deleted", "made")
    mounted = [one for kind in KINDS for name in names for one in volumes(kind, name)]
    before = [held(kind, name, "value-1") for kind in KINDS for name in names[:2]]
    running = Running(cluster, namespace, "a")
    running.start(*before, sleeper("a", mounted))
    bases = [one["name"] for one in mounted]
    assert running.files() == {f"{b}/data-1": "value-1" for b in bases if "made" not in b}
    for kind in KINDS:
        cluster.kubectl("delete", kind, "deleted", "-n", namespace)
        cluster.apply(
            held(kind, "changed", "value-2"), held(kind, "made", "value-3"), namespace=namespace
        )
    values = {"changed": "value-2", "made": "value-3"}
    running.wait_for({f"{b}/data-1": v for b in bases for name, v in values.items() if name in b})


@pytest.mark.conformance(
    "Downward API volume should update labels on modification",
    "Downward API volume should update annotations on modification",
    "Projected downwardAPI should update labels on modification",
    "Projected downwardAPI should update annotations on modification",
)
def test_labels_and_annotations_that_change_are_reflected(cluster: Cluster, namespace: str) -> None:
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.{what}"}}
        for path, what in (("labels", "labels"), ("annotations", "annotations['build']"))
    ]
    told = {"downwardAPI": {"items": items}}
    mounted = [{"name": "plain", **told}, {"name": "projected", "projected": {"sources": [told]}}]
    running = Running(cluster, namespace, "a")
    running.start(sleeper("a", mounted, {"key": "one"}))
    for value in ("one", "two"):
        for kind, name in (("label", "key"), ("annotate", "build")):
            words = ("pod", "a", f"{name}={value}", "--overwrite", "-n", namespace)
            cluster.kubectl(kind, *words)
        wanted = {"labels": f'key="{value}"', "annotations": value}
        running.wait_for(
            {f"{v}/{file}": text for v in ("plain", "projected") for file, text in wanted.items()}
        )


@pytest.mark.conformance(
    "Downward API volume should provide node allocatable (cpu) as default cpu limit if the limit"
    " is not set",
    "Downward API volume should provide node allocatable (memory) as default memory limit if the"
    " limit is not set",
    "Projected downwardAPI should provide node allocatable (cpu) as default cpu limit if the limit"
    " is not set",
    "Projected downwardAPI should provide node allocatable (memory) as default memory limit if the"
    " limit is not set",
)
def test_who_has_no_limit_is_told_what_the_node_has(cluster: Cluster, namespace: str) -> None:
    items = [
        {"path": name, "resourceFieldRef": {"containerName": "c", "resource": f"limits.{name}"}}
        for name in ("cpu", "memory")
    ]
    told = {"downwardAPI": {"items": items}}
    mounted = [{"name": "plain", **told}, {"name": "projected", "projected": {"sources": [told]}}]
    running = Running(cluster, namespace, "a")
    running.start(sleeper("a", mounted))
    has = cluster.get("node", cluster.machine.name)["status"]["allocatable"]
    kibi = int(has["memory"].removesuffix("Ki"))
    wanted = {"cpu": has["cpu"], "memory": str(kibi * 1024)}
    running.wait_for(
        {f"{v}/{file}": text for v in ("plain", "projected") for file, text in wanted.items()}
    )


@pytest.mark.conformance(
    "ConfigMap should be immutable if `immutable` field is set",
    "Secrets should be immutable if `immutable` field is set",
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_immutable_stays_as_it_is(cluster: Cluster, namespace: str, kind: str) -> None:
    cluster.apply(held(kind, "fixed", "one"), namespace=namespace)
    cluster.apply(held(kind, "fixed", "two"), namespace=namespace)
    cluster.apply(held(kind, "fixed", "two", immutable=True), namespace=namespace)
    stored = cluster.get(kind, "fixed", "-n", namespace)
    three = {"data": {"data-1": "dGhyZWU="}}
    for patch, field in (
        (three, "data"),
        ({"immutable": False}, "immutable"),
        ({"immutable": None}, "immutable"),
    ):
        done = cluster.run(
            "patch", kind, "fixed", "-n", namespace, "--type=merge", "-p", json.dumps(patch)
        )
        assert done.returncode != 0
        assert f"{field}: Forbidden: field is immutable when `immutable` is set" in done.stderr
    cluster.kubectl("label", kind, "fixed", "a=b", "-n", namespace)  # metadata may change
    assert cluster.get(kind, "fixed", "-n", namespace)["data"] == stored["data"]
    cluster.kubectl("delete", kind, "fixed", "-n", namespace)


@pytest.mark.conformance(
    "Secrets should be able to mount in a volume regardless of a different secret existing with"
    " same name in different namespace"
)
def test_a_secret_is_that_of_the_pod_s_own_namespace(cluster: Cluster, namespace: str) -> None:
    other = f"{namespace}-2"
    cluster.kubectl("create", "namespace", other)
    cluster.apply(held("Secret", "same", "theirs"), namespace=other)
    running = Running(cluster, namespace, "a")
    mounted = volumes("Secret", "same")
    running.start(held("Secret", "same", "ours"), sleeper("a", mounted))
    assert set(running.files().values()) == {"ours"}
    cluster.kubectl("delete", "namespace", other, "--wait=false")


@pytest.mark.conformance(
    "EmptyDir wrapper volumes should not cause race condition when used for configmaps"
)
def test_many_volumes_in_many_pods_do_not_get_into_each_other_s_way(
    cluster: Cluster, namespace: str
) -> None:
    maps = [held("ConfigMap", f"m{n}", f"value-{n}") for n in range(50)]
    mounted = [{"name": f"v{n}", "configMap": {"name": f"m{n}"}} for n in range(50)]
    labels = {"name": "racing"}
    template = sleeper("a", mounted, labels)
    controller = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "racing"},
        "spec": {
            "replicas": 5,
            "selector": labels,
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        },
    }
    cluster.apply(*maps, controller, namespace=namespace)
    ready = ("wait", "--for=jsonpath={.status.readyReplicas}=5", "rc/racing", "--timeout=120s")
    cluster.kubectl(*ready, "-n", namespace)
    pods = cluster.get("pods", "-n", namespace, "-l", "name=racing")["items"]
    running = Running(cluster, namespace, pods[0]["metadata"]["name"])
    assert running.files() == {f"v{n}/data-1": f"value-{n}" for n in range(50)}


@pytest.mark.conformance("CSIInlineVolumes should support CSIVolumeSource in Pod API")
def test_a_pod_may_ask_for_a_volume_of_a_driver(cluster: Cluster, namespace: str) -> None:
    driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": "inline.example.com"},
        "spec": {"volumeLifecycleModes": ["Ephemeral"]},
    }
    volume = {"name": "v", "csi": {"driver": "inline.example.com", "readOnly": True}}
    pod = sleeper("inline", [volume])
    pod["spec"]["schedulerName"] = "nobody"  # the API is looked at, no driver is there
    cluster.apply(driver, pod, namespace=namespace)
    found = cluster.get("pod", "inline", "-n", namespace)["spec"]["volumes"]
    assert found == [volume]
    cluster.kubectl("label", "pod", "inline", "a=b", "-n", namespace)
    cluster.kubectl("delete", "pod", "inline", "-n", namespace)
    cluster.kubectl("delete", "csidriver", "inline.example.com")
