"""What a volume needs next: to be offered, to be bound, to be taken back from a claim that is gone.

Pure. The cases and their words are those of upstream's `syncVolume` and `reclaimVolume`. Whoever
made a volume deletes it; the loops here only say that it is Released.
"""

from collections.abc import Iterator

from minikube_py.api.core import PERSISTENTVOLUMES
from minikube_py.api.core.volume_matching import BOUND_BY_CONTROLLER, PROVISIONED_BY
from minikube_py.api.object import Obj, annotations_of, evolve, get, without
from minikube_py.client.actions import Action, Emit, Update, update_status
from minikube_py.server.controllers.volume_claims import with_phase

OVER = ("Released", "Failed")


def plan_volume(volume: Obj, claim: Obj | None) -> Iterator[Action]:
    """Decide on the next write for a volume; `claim` is that of its claimRef's uid, if it lives."""
    name = volume["metadata"]["name"]
    if not get(volume, "spec.claimRef.uid"):
        yield from _set_phase(volume, "Available")
    elif claim is None:
        yield from _release(volume)
    elif not get(claim, "spec.volumeName"):
        return  # half way: the claim's own look finishes it
    elif get(claim, "spec.volumeName") == name:
        yield from _set_phase(volume, "Bound")
    elif PROVISIONED_BY in annotations_of(volume) and _policy(volume) == "Delete":
        yield from _release(volume)  # made for a claim that found another
    else:
        yield Update(PERSISTENTVOLUMES, unbound(volume))


def unbound(volume: Obj) -> Obj:
    """Return a volume without its claim; what its user wrote of it stays."""
    annotations = annotations_of(volume)
    if BOUND_BY_CONTROLLER not in annotations:
        return without(volume, "spec.claimRef.uid")
    kept = {key: value for key, value in annotations.items() if key != BOUND_BY_CONTROLLER}
    return evolve(without(volume, "spec.claimRef"), "metadata.annotations", kept)


def _policy(volume: Obj) -> str:
    return str(get(volume, "spec.persistentVolumeReclaimPolicy", ""))


def _set_phase(volume: Obj, phase: str) -> Iterator[Action]:
    if get(volume, "status.phase") != phase:
        yield update_status(PERSISTENTVOLUMES, with_phase(volume, phase))


def _release(volume: Obj) -> Iterator[Action]:
    """Say that a volume has lost its claim; then do what its policy says."""
    if get(volume, "status.phase") not in OVER:
        yield from _set_phase(volume, "Released")
    elif _policy(volume) == "Recycle":
        text = "No recycler plugin found for the volume!"
        yield from _fail(volume, "VolumeFailedRecycle", text)
    elif _policy(volume) == "Delete":
        yield from _delete(volume)


def _delete(volume: Obj) -> Iterator[Action]:
    """Leave a volume to whoever made it; nobody can delete one that was made by hand."""
    maker = annotations_of(volume).get(PROVISIONED_BY, "")
    if maker and not maker.startswith("kubernetes.io/"):
        return
    name = volume["metadata"]["name"]
    text = (
        f'error getting deleter volume plugin for volume "{name}": '
        "no deletable volume plugin matched"
    )
    yield from _fail(volume, "VolumeFailedDelete", text)


def _fail(volume: Obj, reason: str, message: str) -> Iterator[Action]:
    if get(volume, "status.phase") != "Failed":
        failed = evolve(with_phase(volume, "Failed"), "status.message", message)
        yield update_status(PERSISTENTVOLUMES, failed)
        yield Emit(volume, "Warning", reason, message)
