"""An operator written with kopf: it keeps a ConfigMap for every Greeting, and says what it did."""

import logging
from typing import Any

import kopf
from kubernetes import client, config

GROUP = "checks.example.com"
TIMER_SECONDS = 0.5


@kopf.on.startup()
def start(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Log in, and post events for what handlers do."""
    config.load_kube_config()
    settings.posting.level = logging.INFO
    settings.persistence.finalizer = f"{GROUP}/greeter"


@kopf.on.create(GROUP, "v1", "greetings")
def create(body: kopf.Body, spec: kopf.Spec, name: str, namespace: str, **_: Any) -> dict[str, str]:
    """Make the ConfigMap; the object owns it."""
    made: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"text": spec["text"]}}
    made["metadata"] = {"name": name}
    kopf.adopt(made, owner=body)
    client.CoreV1Api().create_namespaced_config_map(namespace, made)
    kopf.info(body, reason="Greeted", message=f"said {spec['text']}")
    return {"text": spec["text"]}


@kopf.on.update(GROUP, "v1", "greetings", field="spec.text")
def update(name: str, namespace: str, new: str, old: str, **_: Any) -> dict[str, str]:
    """Bring the ConfigMap up to date."""
    body = {"data": {"text": new}}
    client.CoreV1Api().patch_namespaced_config_map(name, namespace, body)
    return {"text": new, "instead": old}


@kopf.on.resume(GROUP, "v1", "greetings")
def resume(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    """Count how often an operator found the object when it started."""
    patch.status["resumed"] = status.get("resumed", 0) + 1


@kopf.timer(GROUP, "v1", "greetings", interval=TIMER_SECONDS)
def tick(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    """Count up to three."""
    if status.get("ticks", 0) < 3:
        patch.status["ticks"] = status.get("ticks", 0) + 1


@kopf.on.delete(GROUP, "v1", "greetings")
def delete(name: str, namespace: str, **_: Any) -> None:
    """Leave a farewell."""
    body = {"metadata": {"name": f"{name}-farewell"}}
    client.CoreV1Api().create_namespaced_config_map(namespace, body)
