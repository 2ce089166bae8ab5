"""An operator written with kopf lives with its objects: handlers, finalizers, timers, events."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException, NotFoundException

from tests.e2e.clients.python.conftest import SECONDS_MAX
from tests.e2e.clients.python.operator_of_kopf import GROUP
from tests.e2e.node.machine import wait_until

OPERATOR = Path(__file__).with_name("operator_of_kopf.py")
KIND = {"group": GROUP, "version": "v1", "plural": "greetings"}


@pytest.fixture
def api(kubeconfig: str) -> Iterator[client.CoreV1Api]:
    config.load_kube_config(kubeconfig)
    with client.ApiClient() as connections:
        yield client.CoreV1Api(connections)


@pytest.fixture
def greetings(api: client.CoreV1Api) -> Iterator[client.CustomObjectsApi]:
    """Define the kind, and take it away."""
    keeping = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    text = {"type": "object", "properties": {"text": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": text, "status": keeping}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"plural": "greetings", "singular": "greeting", "kind": "Greeting"}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    crds = client.ApiextensionsV1Api(api.api_client)
    name = f"greetings.{GROUP}"
    crds.create_custom_resource_definition({"metadata": {"name": name}, "spec": spec})

    def is_established() -> bool:
        conditions = crds.read_custom_resource_definition(name).status.conditions or []
        return any(c.type == "Established" and c.status == "True" for c in conditions)

    wait_until(is_established, SECONDS_MAX, "the kind is served")
    yield client.CustomObjectsApi(api.api_client)
    crds.delete_custom_resource_definition(name)


@contextmanager
def operator(namespace: str, log: Path) -> Iterator[None]:
    """Run the operator for the length of the block."""
    line = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, str(OPERATOR)]
    with log.open("ab") as output:
        process = subprocess.Popen(line, stdout=output, stderr=output, env=os.environ)
    try:
        yield
    except BaseException:
        sys.stderr.write(log.read_text()[-20_000:])
        raise
    finally:
        process.terminate()
        process.wait(timeout=SECONDS_MAX)


def test_an_operator_keeps_what_its_objects_ask_for(
    namespace: str, api: client.CoreV1Api, greetings: client.CustomObjectsApi, tmp_path: Path
) -> None:
    place = {**KIND, "namespace": namespace}
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Greeting", "metadata": {"name": "hello"}}
    greetings.create_namespaced_custom_object(body=body | {"spec": {"text": "hi"}}, **place)

    def greeting() -> Any:
        return greetings.get_namespaced_custom_object(name="hello", **place)

    def status() -> Any:
        return greeting().get("status", {})

    def is_there(name: str) -> bool:
        try:
            api.read_namespaced_config_map(name, namespace)
        except NotFoundException:
            return False
        return True

    with operator(namespace, tmp_path / "log"):
        wait_until(lambda: "create" in status(), SECONDS_MAX, "the operator has seen it")
        made = api.read_namespaced_config_map("hello", namespace)
        assert made.data == {"text": "hi"}
        assert made.metadata.owner_references[0].uid == greeting()["metadata"]["uid"]
        assert greeting()["metadata"]["finalizers"] == [f"{GROUP}/greeter"]
        wait_until(lambda: status().get("ticks") == 3, SECONDS_MAX, "the timer has run")
        greetings.patch_namespaced_custom_object(
            name="hello", body={"spec": {"text": "good day"}}, **place
        )
        changed = "update/spec.text"
        wait_until(lambda: changed in status(), SECONDS_MAX, "the operator has seen the change")
        assert status()[changed] == {"text": "good day", "instead": "hi"}
        assert api.read_namespaced_config_map("hello", namespace).data == {"text": "good day"}

        def reasons() -> set[str]:
            events = api.list_namespaced_event(namespace, field_selector="reason=Greeted")
            return {f"{e.involved_object.kind}: {e.message}" for e in events.items}

        wait_until(lambda: "Greeting: said hi" in reasons(), SECONDS_MAX, "the event is posted")

    resumed = status().get("resumed", 0)
    with operator(namespace, tmp_path / "log"):
        wait_until(lambda: status().get("resumed", 0) > resumed, SECONDS_MAX, "it is found again")
        greetings.delete_namespaced_custom_object(name="hello", **place)
        wait_until(lambda: is_there("hello-farewell"), SECONDS_MAX, "the operator says farewell")
        wait_until(lambda: not is_there("hello"), SECONDS_MAX, "what it owned is collected")
    with pytest.raises(ApiException, match="not found"):
        greeting()
