"""What the kubelet knows of the claims that were prepared here, and how that survives. Pure.

A claim is written down before any driver is asked, and struck out when it has been given back: so
after a crash it is known what drivers may have to take back. The form is upstream's
`dra_manager_state`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from minikube_py.api.object import Key, Obj, get, uid_of

FILE = "dra_manager_state"
DEVICE_FIELDS = {
    "pool_name": "PoolName",
    "device_name": "DeviceName",
    "request_names": "RequestNames",
    "cdi_device_ids": "CDIDeviceIDs",
    "share_id": "ShareID",
}
"""Field of the message -> name in the file."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A claim of pods of this node."""

    key: Key
    uid: str
    pods: frozenset[str] = frozenset()
    """Those that use it here."""
    drivers: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By driver the devices (message Device) that it has prepared."""
    is_prepared: bool = False
    """Since this start of the kubelet."""

    @property
    def message(self) -> dict[str, str]:
        """The claim as drivers are told of it."""
        return {"namespace": self.key.namespace, "uid": self.uid, "name": self.key.name}

    def cdi_devices(self, requests: Collection[str]) -> Iterator[str]:
        """Yield the devices of some requests ("" for all) by their CDI names."""
        for request in requests:
            for _, device in self.devices(request):
                yield from device.get("cdi_device_ids") or ()

    def devices(self, request: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the devices of a request ("" for all) with their drivers."""
        for driver, devices in self.drivers.items():
            for device in devices:
                names = device.get("request_names") or ()
                if not request or not names or request in names:
                    yield driver, device


def new_record(claim: Obj) -> Record:
    """Return the record of a claim; raises ValueError where it is not allocated."""
    if get(claim, "status.allocation") is None:
        raise ValueError("not allocated")
    results: Sequence[Obj] = get(claim, "status.allocation.devices.results") or ()
    metadata = claim["metadata"]
    return Record(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=uid_of(claim),
        drivers={result["driver"]: () for result in results},
    )


def with_answer(record: Record, driver: str, answer: Mapping[str, Any]) -> Record:
    """Return a record with what a driver has prepared."""
    return replace(record, drivers={**record.drivers, driver: tuple(answer.get("devices") or ())})


def dump(records: Mapping[Key, Record]) -> bytes:
    """Return the text of the file."""
    states = [
        {
            "ClaimUID": record.uid,
            "ClaimName": key.name,
            "Namespace": key.namespace,
            "PodUIDs": {pod: {} for pod in sorted(record.pods)},
            "DriverState": {
                name: {"Devices": [_shown(device) for device in devices]}
                for name, devices in record.drivers.items()
            },
        }
        for key, record in sorted(records.items())
    ]
    data = {
        "kind": "DRACheckpoint",
        "apiVersion": "checkpoint.dra.kubelet.k8s.io/v1",
        "Data": {"ClaimInfoStateList": states},
    }
    return orjson.dumps({"Data": orjson.dumps(data).decode()})


def _shown(device: Mapping[str, Any]) -> dict[str, Any]:
    return {shown: device[name] for name, shown in DEVICE_FIELDS.items() if device.get(name)}


def load(text: bytes) -> dict[Key, Record]:
    """Return the records of a file; raises ValueError, KeyError or TypeError."""
    data = orjson.loads(orjson.loads(text)["Data"])
    found = {}
    for state in data["Data"]["ClaimInfoStateList"] or ():
        key = Key(state["Namespace"], state["ClaimName"])
        found[key] = Record(
            key=key,
            uid=state["ClaimUID"],
            pods=frozenset(state["PodUIDs"]),
            drivers={
                name: [_message(device) for device in one["Devices"] or ()]
                for name, one in state["DriverState"].items()
            },
        )
    return found


def _message(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shown[key] for name, key in DEVICE_FIELDS.items() if shown.get(key)}
