"""Pods that bring volumes of their own: each gets its claim, made of the template in the pod.

The claim is called by pod and volume and belongs to the pod, which takes it along when it goes. A
claim of that name that is not the pod's is never touched: the pod is told and has to wait.
Upstream: pkg/controller/volume/ephemeral.
"""

from collections.abc import Iterator
from typing import Any

from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PODS
from minikube_py.api.errors import ConflictError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    controller_of,
    get,
    is_deleting,
    owner_reference,
    uid_of,
)
from minikube_py.client.actions import Create, Emit
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.executor import is_terminating


async def reconcile(key: Key, ctx: Context) -> None:
    """Make the claims that one pod lacks."""
    pod = ctx.lister(PODS).get(key)
    if pod is None or is_deleting(pod):
        return
    for volume in ephemeral_volumes(pod):
        found = ctx.lister(PERSISTENTVOLUMECLAIMS).get(claim_key(pod, volume))
        try:
            await ctx.apply(plan(pod, volume, found))
        except StatusError as error:
            if not is_terminating(error):
                await ctx.apply([_failed(pod, volume, str(error))])
            raise


def plan(pod: Obj, volume: Obj, found: Obj | None) -> Iterator[Create]:
    """Create the claim of one volume.

    Raises:
        ConflictError: another's claim has its name.

    """
    if found is None:
        yield Create(PERSISTENTVOLUMECLAIMS, new_claim(pod, volume))
    elif get(controller_of(found), "uid") != uid_of(pod):
        name, space = claim_key(pod, volume).name, pod["metadata"]["namespace"]
        raise ConflictError(
            f"PVC {space}/{name} was not created for pod {space}/{pod['metadata']['name']} "
            "(pod is not owner)"
        )


def _failed(pod: Obj, volume: Obj, why: str) -> Emit:
    return Emit(pod, "Warning", "FailedBinding", f"ephemeral volume {volume['name']}: {why}")


def ephemeral_volumes(pod: Obj) -> Iterator[Obj]:
    """Yield the volumes of a pod that have a template for their claim."""
    for volume in get(pod, "spec.volumes", ()):
        if get(volume, "ephemeral.volumeClaimTemplate") is not None:
            yield volume


def claim_key(pod: Obj, volume: Obj) -> Key:
    """Return where the claim of an ephemeral volume is."""
    metadata = pod["metadata"]
    return Key(metadata["namespace"], f"{metadata['name']}-{volume['name']}")


def new_claim(pod: Obj, volume: Obj) -> Obj:
    """Return the claim of an ephemeral volume; the pod owns it."""
    template, key = volume["ephemeral"]["volumeClaimTemplate"], claim_key(pod, volume)
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        "name": key.name,
        "namespace": key.namespace,
        "ownerReferences": [owner_reference(pod)],
    }
    metadata |= {field: given[field] for field in ("labels", "annotations") if given.get(field)}
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**kind, "metadata": metadata, "spec": template["spec"]}


def of_pod(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at new pods that bring volumes; a pod's volumes never change."""
    if old is None and new is not None and b'"volumeClaimTemplate"' in new.data:
        yield new.key


def of_claim(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the pod again whose claim is gone, or whose claim's name is free now."""
    if old is None or new is not None:
        return
    pods = ctx.lister(PODS)
    for uid in old.owners:
        if (owner := pods.with_uid(uid)) is not None:
            yield owner.key


CONTROLLER = Controller(
    name="ephemeral-volume-controller",
    also=(Also(PODS, of_pod), Also(PERSISTENTVOLUMECLAIMS, of_claim)),
    reconcile=reconcile,
)
