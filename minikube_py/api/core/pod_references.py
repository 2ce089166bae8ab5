"""What a pod refers to, by name: the edges of the Node authoriser's graph, and what is in use.

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
    """PersistentVolumeClaims."""
    resource_claims: frozenset[str] = frozenset()
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
        resource_claims=frozenset(_resource_claims(pod)) - {""},
        service_account=get(pod, "spec.serviceAccountName", ""),
    )


def _resource_claims(pod: Obj) -> Iterator[str]:
    """Yield the names of the claims on devices, of those made of a template too."""
    statuses = get(pod, "status.resourceClaimStatuses") or ()
    made = {status.get("name"): status.get("resourceClaimName", "") for status in statuses}
    for claim in get(pod, "spec.resourceClaims") or ():
        yield claim.get("resourceClaimName") or made.get(claim.get("name")) or ""
    yield get(pod, "status.extendedResourceClaimStatus.resourceClaimName", "")


_VOLUME_SECRETS = ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")
_CSI_SECRETS = ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")


def secrets_of(volume: Obj) -> frozenset[tuple[str, str]]:
    """Return the secrets, as namespace and name, that a kubelet needs for a persistent volume.

    A reference without a namespace means that of the claim.
    """
    own = get(volume, "spec.claimRef.namespace", "")
    found = [get(volume, f"spec.csi.{which}") for which in _CSI_SECRETS]
    found += [get(volume, f"spec.{kind}.secretRef") for kind in _VOLUME_SECRETS]
    pairs = [(ref.get("namespace") or own, ref.get("name", "")) for ref in found if ref]
    if (file := get(volume, "spec.azureFile")) is not None:
        pairs.append((file.get("secretNamespace") or own, file.get("secretName", "")))
    return frozenset(pair for pair in pairs if all(pair))


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
    name = pod["metadata"].get("name", "")
    for volume in get(pod, "spec.volumes") or ():
        yield "secret", get(volume, "secret.secretName", "")
        yield "secret", get(volume, "azureFile.secretName", "")
        yield "secret", get(volume, "csi.nodePublishSecretRef.name", "")
        yield "configmap", get(volume, "configMap.name", "")
        yield "claim", get(volume, "persistentVolumeClaim.claimName", "")
        if volume.get("ephemeral") is not None:
            yield "claim", f"{name}-{volume.get('name', '')}"
        for kind in _SECRET_VOLUMES:
            yield "secret", get(volume, f"{kind}.secretRef.name", "")
        for source in get(volume, "projected.sources") or ():
            yield from _of_projection(source)


def _of_projection(source: Any) -> Iterator[tuple[str, str]]:
    yield "secret", get(source, "secret.name", "")
    yield "configmap", get(source, "configMap.name", "")
