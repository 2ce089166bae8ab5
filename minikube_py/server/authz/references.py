"""What a pod refers to, by name: the edges of the Node authoriser's graph.

Which fields count follows upstream's `pkg/api/v1/pod` visitors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minikube_py.api.object import Obj, get

MIRROR = "kubernetes.io/config.mirror"
_SECRET_VOLUMES = ("cephfs", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")


@dataclass(frozen=True)
class References:
    """Names in the pod's namespace that its node may read."""

    secrets: frozenset[str] = frozenset()
    configmaps: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()
    service_account: str = ""


def references_of(pod: Obj) -> References:
    """Return what a pod refers to; a mirror pod, which a node makes itself, grants nothing."""
    if MIRROR in (get(pod, "metadata.annotations") or {}):
        return References()
    found = set(_of_containers(pod)) | set(_of_volumes(pod))
    pull = {reference.get("name", "") for reference in get(pod, "spec.imagePullSecrets") or ()}
    return References(
        secrets=frozenset(_named(found, "secret") | pull) - {""},
        configmaps=frozenset(_named(found, "configmap")) - {""},
        claims=frozenset(_named(found, "claim")) - {""},
        service_account=get(pod, "spec.serviceAccountName", ""),
    )


def _named(found: set[tuple[str, str]], kind: str) -> set[str]:
    return {name for what, name in found if what == kind}


def _of_containers(pod: Obj) -> Iterator[tuple[str, str]]:
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in get(pod, f"spec.{group}") or ():
            for source in container.get("envFrom") or ():
                yield "secret", get(source, "secretRef.name", "")
                yield "configmap", get(source, "configMapRef.name", "")
            for variable in container.get("env") or ():
                yield "secret", get(variable, "valueFrom.secretKeyRef.name", "")
                yield "configmap", get(variable, "valueFrom.configMapKeyRef.name", "")


def _of_volumes(pod: Obj) -> Iterator[tuple[str, str]]:
    name = pod["metadata"]["name"]
    for volume in get(pod, "spec.volumes") or ():
        yield "secret", get(volume, "secret.secretName", "")
        yield "secret", get(volume, "azureFile.secretName", "")
        yield "secret", get(volume, "csi.nodePublishSecretRef.name", "")
        yield "configmap", get(volume, "configMap.name", "")
        yield "claim", get(volume, "persistentVolumeClaim.claimName", "")
        if volume.get("ephemeral") is not None:
            yield "claim", f"{name}-{volume['name']}"
        for kind in _SECRET_VOLUMES:
            yield "secret", get(volume, f"{kind}.secretRef.name", "")
        for source in get(volume, "projected.sources") or ():
            yield from _of_projection(source)


def _of_projection(source: Any) -> Iterator[tuple[str, str]]:
    yield "secret", get(source, "secret.name", "")
    yield "configmap", get(source, "configMap.name", "")
