"""The persistent volumes behind a pod's claims: asked for once, when the pod starts.

A node may read the claims of its own pods and the volumes that those are bound to, one by one.
What a claim is bound to never changes, so an answer holds for the life of the pod; a claim that is
not bound yet is asked for again at the pod's next try. The words are those of upstream's
`desired_state_of_world_populator.go`.
"""

from collections.abc import Mapping, Sequence

from minikube_py.agent.kubelet.volumes.payload import VolumeError
from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.volume_matching import claims_of
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Key, Obj, controller_of, get, is_deleting, uid_of
from minikube_py.client.protocol import Client


class Claims:
    """The volumes of the claims of all pods of this node."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, Mapping[str, Obj]] = {}

    async def resolve(self, pod: Obj) -> Mapping[str, Obj]:
        """Return the persistent volume of each volume of a pod that has a claim, by name.

        Raises:
            VolumeError: a claim is not bound, or the server cannot tell.

        """
        known = self._known.get(uid_of(pod))
        if known is None:
            known = await self._resolve(pod)
            self._known[uid_of(pod)] = known
        return known

    def forget(self, uid: str) -> None:
        """Forget the volumes of a pod that has ended."""
        self._known.pop(uid, None)

    async def _resolve(self, pod: Obj) -> dict[str, Obj]:
        found: dict[str, Obj] = {}
        for volume, key in claims_of(pod):
            try:
                claim = await self._claim(key)
                check(pod, volume, claim)
                found[volume["name"]] = await self._volume(claim)
            except VolumeError as error:
                name = volume["name"]
                raise VolumeError(
                    f"Unable to attach or mount volumes: unmounted volumes=[{name}], "
                    f"unattached volumes=[], failed to process volumes=[{name}]: "
                    f"error processing PVC {key}: {error}"
                ) from None
        return found

    async def _claim(self, key: Key) -> Obj:
        try:
            return await self._client.get(PERSISTENTVOLUMECLAIMS, key.name, key.namespace)
        except StatusError as error:
            raise VolumeError(f"failed to fetch PVC from API server: {error}") from None

    async def _volume(self, claim: Obj) -> Obj:
        name = claim["spec"]["volumeName"]
        try:
            volume = await self._client.get(PERSISTENTVOLUMES, name)
        except StatusError as error:
            raise VolumeError(f"failed to fetch PV {name} from API server: {error}") from None
        uid = get(volume, "spec.claimRef.uid", "")
        if uid != uid_of(claim):
            raise VolumeError(
                f"found PV object {name} with unexpected pvc.UID {uid}; expected {uid_of(claim)}"
            )
        return volume


def check(pod: Obj, volume: Obj, claim: Obj) -> None:
    """See that a pod may use a claim now; raises VolumeError."""
    name, space = claim["metadata"]["name"], claim["metadata"]["namespace"]
    if "ephemeral" in volume and get(controller_of(claim), "uid") != uid_of(pod):
        raise VolumeError(
            f"PVC {space}/{name} was not created for pod {space}/{pod['metadata']['name']} "
            "(pod is not owner)"
        )
    if is_deleting(claim) and get(pod, "status.phase") != "Running":
        raise VolumeError("PVC is being deleted")
    if get(claim, "status.phase") != "Bound" or not get(claim, "spec.volumeName"):
        raise VolumeError("PVC is not bound")


DETAILS = frozenset(
    (
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    )
)
"""What the spec of a persistent volume holds beside its source."""


def as_volume(name: str, persistent: Obj) -> Obj:
    """Return a persistent volume as the volume of a pod: its name there, and its source."""
    spec: Obj = persistent["spec"]
    sources: Sequence[str] = [key for key in spec if key not in DETAILS]
    return {"name": name, **{key: spec[key] for key in sources}}
