"""Growing the file system of a volume that has become larger, and telling its claim.

The claim says that it waits for the node; how large the volume is says the persistent volume. When
the driver is done, the claim's status has the new size and waits no more, as upstream's
`nodeExpandVolume` leaves it.
"""

from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.csi.driver import Driver
from minikube_py.agent.kubelet.csi.volume import Volume
from minikube_py.agent.kubelet.volumes.payload import VolumeError
from minikube_py.api import quantity
from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, get
from minikube_py.client.protocol import Client

PENDING = "FileSystemResizePending"
WAITS = frozenset({"NodeResizePending", "NodeResizeInProgress"})


def waits(claim: Obj) -> bool:
    """Tell whether a claim waits for its node to make its volume larger."""
    conditions = get(claim, "status.conditions") or ()
    told = any(c["type"] == PENDING and c.get("status") == "True" for c in conditions)
    return told or get(claim, "status.allocatedResourceStatuses.storage") in WAITS


def grown(claim: Obj, size: str) -> dict[str, Any]:
    """Return what is to change in the status of a claim whose volume now has this size."""
    conditions = get(claim, "status.conditions") or ()
    kept = [one for one in conditions if one["type"] not in (PENDING, "Resizing")]
    return {
        "status": {
            "capacity": {"storage": size},
            "conditions": kept or None,
            "allocatedResourceStatuses": None,
        }
    }


async def grow(
    client: Client, driver: Driver, volume: Volume, paths: tuple[Path | None, Path]
) -> bool:
    """Make a volume as large as it is said to be, where its claim waits for that.

    Raises:
        CriError: the driver refused.
        VolumeError: the server did not answer.

    """
    key = volume.claim
    if key is None:
        return False
    try:
        claim = await client.get(PERSISTENTVOLUMECLAIMS, key.name, key.namespace)
        if not waits(claim):
            return False
        persistent = await client.get(PERSISTENTVOLUMES, volume.folder_name)
        size = str(get(persistent, "spec.capacity.storage"))
        await driver.expand(volume.handle, paths, volume.use, quantity.value(size))
        patch = grown(claim, size)
        await client.patch(
            PERSISTENTVOLUMECLAIMS, key.name, patch, key.namespace, subresource="status"
        )
    except StatusError as error:
        raise VolumeError(
            f'MountVolume.NodeExpandVolume failed for volume "{volume.folder_name}" : {error}'
        ) from None
    return True
