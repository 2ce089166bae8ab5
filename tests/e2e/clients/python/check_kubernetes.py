"""The official Python client: typed, dynamic, streams, informers and leader election."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, dynamic, stream, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.informer.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from tests.e2e.clients.python.conftest import SECONDS_MAX
from tests.e2e.node.machine import wait_until


@pytest.fixture
def api(kubeconfig: str) -> Iterator[client.CoreV1Api]:
    """Give a test the typed client of the core group; others share its connections."""
    config.load_kube_config(kubeconfig)
    with client.ApiClient() as connections:
        yield client.CoreV1Api(connections)


def config_map(name: str, app: str = "x", **data: str) -> client.V1ConfigMap:
    metadata = client.V1ObjectMeta(name=name, labels={"app": app})
    return client.V1ConfigMap(metadata=metadata, data=data)


def test_objects_are_made_read_changed_and_deleted(namespace: str, api: client.CoreV1Api) -> None:
    made = api.create_namespaced_config_map(namespace, config_map("c", a="1"))
    assert made.metadata.uid
    with pytest.raises(ApiException) as error:
        api.create_namespaced_config_map(namespace, config_map("c"))
    assert (error.value.status, error.value.reason) == (409, "Conflict")
    api.patch_namespaced_config_map("c", namespace, {"data": {"b": "2"}})
    operations = [{"op": "replace", "path": "/data/a", "value": "3"}]
    api.patch_namespaced_config_map("c", namespace, operations)
    read = api.read_namespaced_config_map("c", namespace)
    assert read.data == {"a": "3", "b": "2"}
    read.data = {"c": "4"}
    api.replace_namespaced_config_map("c", namespace, read)
    with pytest.raises(ApiException, match="the object has been modified"):
        api.replace_namespaced_config_map("c", namespace, read)
    tried = api.create_namespaced_config_map(namespace, config_map("d"), dry_run="All")
    assert tried.metadata.uid
    body = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="other"))
    with pytest.raises(ApiException, match="the UID in the precondition"):
        api.delete_namespaced_config_map("c", namespace, body=body)
    api.delete_namespaced_config_map("c", namespace)
    with pytest.raises(ApiException, match="not found"):
        api.read_namespaced_config_map("c", namespace)
    api.create_namespaced_config_map(namespace, config_map("e"))
    api.delete_collection_namespaced_config_map(namespace, label_selector="app=x")
    left = api.list_namespaced_config_map(namespace, label_selector="app=x")
    assert left.items == []


def test_fields_are_applied_on_the_server(namespace: str, api: client.CoreV1Api) -> None:
    def apply(manager: str, data: dict[str, str], *, force: bool = False) -> Any:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data}
        return api.patch_namespaced_config_map(
            "s",
            namespace,
            body,
            field_manager=manager,
            force=force,
            _content_type="application/apply-patch+yaml",
        )

    assert apply("one", {"a": "1"}).data == {"a": "1"}
    with pytest.raises(ApiException, match=r'conflict with \\"one\\"'):
        apply("two", {"a": "2"})
    assert apply("two", {"a": "2"}, force=True).data == {"a": "2"}


def test_lists_are_paged(namespace: str, api: client.CoreV1Api) -> None:
    for n in range(5):
        api.create_namespaced_config_map(namespace, config_map(f"p{n}", "paged"))
    names: list[str] = []
    token = None
    while token != "":
        page = api.list_namespaced_config_map(
            namespace, limit=2, label_selector="app=paged", _continue=token
        )
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert names == [f"p{n}" for n in range(5)]


def test_a_watch_goes_on_from_where_another_ended(namespace: str, api: client.CoreV1Api) -> None:
    api.create_namespaced_config_map(namespace, config_map("w", "watched", n="0"))
    listed = api.list_namespaced_config_map(namespace, label_selector="app=watched")
    for n in "123":
        api.patch_namespaced_config_map("w", namespace, {"data": {"n": n}})
    api.delete_namespaced_config_map("w", namespace)

    def events(version: str, count: int) -> list[tuple[str, str, str]]:
        seen = []
        follower = watch.Watch()
        for event in follower.stream(
            api.list_namespaced_config_map,
            namespace,
            label_selector="app=watched",
            resource_version=version,
            timeout_seconds=int(SECONDS_MAX),
        ):
            item = event["object"]
            seen.append((event["type"], item.data["n"], item.metadata.resource_version))
            if len(seen) == count:
                follower.stop()
        return seen

    first = events(listed.metadata.resource_version, 2)
    assert [event[:2] for event in first] == [("MODIFIED", "1"), ("MODIFIED", "2")]
    rest = events(first[-1][2], 2)
    assert [event[:2] for event in rest] == [("MODIFIED", "3"), ("DELETED", "3")]


def test_the_dynamic_client_finds_kinds_by_discovery(namespace: str, api: client.CoreV1Api) -> None:
    found = dynamic.DynamicClient(api.api_client)
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "kpy.local/busybox:1"}]},
        },
    }
    body = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": spec}
    made = deployments.create(body=body, namespace=namespace)
    assert made.spec.progressDeadlineSeconds == 600
    scaled = deployments.scale.patch(
        name="d",
        namespace=namespace,
        body={"spec": {"replicas": 0}},
        content_type="application/merge-patch+json",
    )
    assert scaled.kind == "Scale"
    applied = deployments.server_side_apply(
        body=body | {"metadata": {"name": "d", "labels": {"a": "b"}}},
        namespace=namespace,
        field_manager="dyn",
        force_conflicts=True,
    )
    assert applied.metadata.labels.a == "b"
    seen = next(iter(deployments.watch(namespace=namespace, timeout=int(SECONDS_MAX))))
    assert (seen["type"], seen["object"].metadata.name) == ("ADDED", "d")
    deployments.delete(name="d", namespace=namespace)
    assert deployments.get(namespace=namespace).items == []
    utils.create_from_dict(api.api_client, body, namespace=namespace)
    assert deployments.get(name="d", namespace=namespace).metadata.name == "d"


def test_a_container_is_reached_by_streams(namespace: str, api: client.CoreV1Api) -> None:
    assert api.read_namespaced_pod_log("web", namespace) == "up\n"
    flags = {"stdout": True, "stderr": True, "tty": False}
    done = stream.stream(
        api.connect_get_namespaced_pod_exec,
        "web",
        namespace,
        command=["sh", "-c", "echo out; echo err >&2; exit 3"],
        stdin=False,
        _preload_content=False,
        **flags,
    )
    done.run_forever(timeout=SECONDS_MAX)
    assert (done.read_stdout(), done.read_stderr(), done.returncode) == ("out\n", "err\n", 3)
    talk = stream.stream(
        api.connect_get_namespaced_pod_exec,
        "web",
        namespace,
        command=["cat"],
        stdin=True,
        _preload_content=False,
        **flags,
    )
    talk.write_stdin("to and fro\n")
    assert talk.readline_stdout(timeout=SECONDS_MAX) == "to and fro"
    talk.close()
    forward = stream.portforward(
        api.connect_get_namespaced_pod_portforward, "web", namespace, ports="8080"
    )
    with contextlib.closing(forward.socket(8080)) as socket:
        socket.settimeout(SECONDS_MAX)
        socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: socket.recv(4096), b""))
    assert answer.endswith(b"hello from web\n")


def test_an_informer_keeps_a_cache(namespace: str, api: client.CoreV1Api) -> None:
    informer = SharedInformer(
        api.list_namespaced_config_map, namespace=namespace, label_selector="app=followed"
    )
    seen: list[tuple[str, str]] = []
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda item, k=kind: seen.append((k, item.metadata.name)))
    informer.start()
    try:
        api.create_namespaced_config_map(namespace, config_map("i", "followed"))
        wait_until(lambda: ("ADDED", "i") in seen, SECONDS_MAX, "the informer sees it")
        assert [item.metadata.name for item in informer.cache.list()] == ["i"]
        api.patch_namespaced_config_map("i", namespace, {"data": {"a": "1"}})
        api.delete_namespaced_config_map("i", namespace)
        wait_until(lambda: ("DELETED", "i") in seen, SECONDS_MAX, "the informer sees it go")
        assert seen == [("ADDED", "i"), ("MODIFIED", "i"), ("DELETED", "i")]
        assert informer.cache.list() == []
    finally:
        informer.stop()


def test_one_of_two_candidates_leads_and_the_other_follows_on(
    namespace: str, api: client.CoreV1Api
) -> None:
    led: list[str] = []

    def candidate(name: str) -> threading.Thread:
        def lead() -> None:
            led.append(name)
            raise InterruptedError(f"{name} has had enough")  # which is how one ceases to lead

        settings = electionconfig.Config(
            LeaseLock("leader", namespace, name),
            lease_duration=4,
            renew_deadline=3,
            retry_period=1.1,  # the client allows no less than a second
            onstarted_leading=lead,
            onstopped_leading=lambda: None,
        )
        return threading.Thread(target=leaderelection.LeaderElection(settings).run)

    first, second = candidate("first"), candidate("second")
    first.start()
    wait_until(lambda: led, SECONDS_MAX, "there is a leader")
    second.start()
    for thread in (first, second):
        thread.join(SECONDS_MAX)
    assert led == ["first", "second"]
    lease = client.CoordinationV1Api().read_namespaced_lease("leader", namespace)
    assert lease.spec.holder_identity == "second"
