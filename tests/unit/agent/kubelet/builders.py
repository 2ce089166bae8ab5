"""Pods and what a runtime has of them, in few words."""

from collections.abc import Sequence
from typing import Any

from minikube_py.agent.cri.runtime import Container, Sandbox
from minikube_py.agent.kubelet.observed import (
    CONTAINER_NAME,
    HASH,
    POD_UID,
    RESTART_COUNT,
    Observed,
    newest_first,
)
from minikube_py.agent.kubelet.pod import container_hash
from tests.frozen import freeze

IMAGE = "busybox:1"
NOW = "2026-01-01T00:00:00Z"
SECOND = 1_000_000_000
BEGIN = 1_767_225_600 * SECOND
"""The first second of 2026, in nanoseconds."""


def container(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE} | more


def sidecar(name: str, **more: Any) -> dict[str, Any]:
    return container(name, restartPolicy="Always", **more)


def pod(
    containers: Sequence[Any] = (container(),),
    *,
    init: Sequence[Any] = (),
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **spec: Any,
) -> Any:
    """Return a frozen pod `a` in `default` with uid `u`."""
    names = {"name": "a", "namespace": "default", "uid": "u", "generation": 1}
    spec = {"restartPolicy": "Always", "containers": list(containers)} | spec
    if init:
        spec["initContainers"] = list(init)
    return freeze(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": names | (metadata or {}),
            "spec": spec,
            "status": {"phase": "Pending"} | (status or {}),
        }
    )


def sandbox(attempt: int = 0, *, ready: bool = True, ip: str = "10.0.0.2", **more: Any) -> Sandbox:
    return Sandbox(
        id=f"s{attempt}",
        name="a",
        namespace="default",
        uid="u",
        attempt=attempt,
        ready=ready,
        created_at=BEGIN + attempt * SECOND,
        ips=(ip,) if ip and ready else (),
        **more,
    )


def running(name: str = "c", attempt: int = 0, **more: Any) -> Container:
    return _container(name, attempt, state="running", started_at=BEGIN + SECOND, **more)


def exited(name: str = "c", code: int = 0, attempt: int = 0, **more: Any) -> Container:
    reason = "Completed" if code == 0 else "Error"
    return _container(
        name,
        attempt,
        **({"state": "exited", "exit_code": code, "reason": reason, "started_at": BEGIN + SECOND,
            "finished_at": BEGIN + 2 * SECOND} | more),
    )  # fmt: skip


def created(name: str = "c", attempt: int = 0) -> Container:
    return _container(name, attempt, state="created")


def unknown(name: str = "c", attempt: int = 0) -> Container:
    return _container(name, attempt, state="unknown")


def _container(name: str, attempt: int, **more: Any) -> Container:
    annotations = {
        HASH: container_hash({"name": name, "image": IMAGE}),
        RESTART_COUNT: str(attempt),
    }
    fields: dict[str, Any] = {
        "sandbox_id": "s0",
        "created_at": BEGIN + attempt * SECOND,
        "image": IMAGE,
        "image_ref": "sha256:1",
        "labels": {POD_UID: "u", CONTAINER_NAME: name},
        "annotations": annotations,
    }
    return Container(id=f"{name}-{attempt}", name=name, attempt=attempt, **(fields | more))


def seen(*things: Sandbox | Container) -> Observed:
    return newest_first(
        [thing for thing in things if isinstance(thing, Sandbox)],
        [thing for thing in things if isinstance(thing, Container)],
    )
