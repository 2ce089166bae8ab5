"""Which container has which devices, on disk: the form is the kubelet's internal checkpoint.

It is written before a pod starts, so that no device is given twice, whenever kpy ends. What the
plugin answered is kept as it came: a container that starts again is given the same once more.
"""

import base64
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from minikube_py.agent.kubelet.devices.inventory import Devices, by_node
from minikube_py.agent.kubelet.devices.messages import codec
from minikube_py.lib.protowire import WireError

log = logging.getLogger(__name__)
FILE = "kubelet_internal_checkpoint"


class Place(NamedTuple):
    """A resource of a container."""

    pod: str
    container: str
    resource: str


@dataclass(frozen=True)
class Given:
    """What a container has been given of a resource."""

    ids: frozenset[str]
    answer: Mapping[str, Any] = field(default_factory=dict)
    """The ContainerAllocateResponse."""


def dump(given: Mapping[Place, Given], inventory: Mapping[str, Devices]) -> bytes:
    """Return the text of a checkpoint."""
    entries = [
        {
            "PodUID": place.pod,
            "ContainerName": place.container,
            "ResourceName": place.resource,
            "DeviceIDs": {
                str(node): ids for node, ids in by_node(inventory.get(place.resource, {}), one.ids)
            },
            "AllocResp": base64.b64encode(
                codec().encode("ContainerAllocateResponse", one.answer)
            ).decode(),
        }
        for place, one in sorted(given.items())
    ]
    registered = {name: sorted(devices) for name, devices in inventory.items()}
    return orjson.dumps({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}})


def load(folder: Path) -> tuple[dict[Place, Given], list[str]]:
    """Return what was given, and the resources that were known; nothing where there is no file."""
    try:
        data = orjson.loads((folder / FILE).read_bytes())["Data"]
        return dict(_entries(data)), sorted(data.get("RegisteredDevices") or ())
    except FileNotFoundError:
        return {}, []
    except (OSError, KeyError, TypeError, ValueError, WireError) as error:
        log.warning("devices of pods are not readable folder=%s error=%s", folder, error)
        return {}, []


def _entries(data: Mapping[str, Any]) -> Iterator[tuple[Place, Given]]:
    for entry in data.get("PodDeviceEntries") or ():
        place = Place(entry["PodUID"], entry["ContainerName"], entry["ResourceName"])
        ids = frozenset(one for some in entry["DeviceIDs"].values() for one in some)
        answer = codec().decode("ContainerAllocateResponse", base64.b64decode(entry["AllocResp"]))
        yield place, Given(ids, answer)
