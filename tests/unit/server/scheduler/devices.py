"""Slices, classes and claims for tests of what devices pods get."""

from typing import Any

from tests.frozen import freeze

DRIVER = "dra.example.com"


def device(name: str, **more: Any) -> dict[str, Any]:
    """Return a device; attributes and capacities are given by name as plain values."""
    kinds = {bool: "bool", int: "int", str: "string"}
    attributes = {
        key: {kinds[type(value)]: value} for key, value in more.pop("attributes", {}).items()
    }
    capacity = {
        key: value if isinstance(value, dict) else {"value": value}
        for key, value in more.pop("capacity", {}).items()
    }
    return {"name": name, "attributes": attributes, "capacity": capacity, **more}


def piece(name: str, *devices: Any, pool: str = "p", **more: Any) -> Any:
    """Return a ResourceSlice; by default one of a pool of one slice, for all nodes."""
    about = {
        "name": pool,
        "generation": more.pop("generation", 1),
        "resourceSliceCount": more.pop("count", 1),
    }
    where = {} if "nodeName" in more or "nodeSelector" in more else {"allNodes": True}
    spec = {"driver": DRIVER, "pool": about, "devices": list(devices), **where, **more}
    return freeze({"kind": "ResourceSlice", "metadata": {"name": name}, "spec": spec})


def device_class(name: str = "c", *expressions: str, **more: Any) -> Any:
    selectors = [{"cel": {"expression": text}} for text in expressions]
    spec = {"selectors": selectors, **more}
    return freeze({"kind": "DeviceClass", "metadata": {"name": name}, "spec": spec})


def wanted(count: int = 1, *expressions: str, **more: Any) -> dict[str, Any]:
    """Return what one request asks for."""
    mode = {} if more.get("allocationMode") == "All" else {"count": count}
    selectors = [{"cel": {"expression": text}} for text in expressions]
    return {
        "deviceClassName": "c",
        "allocationMode": "ExactCount",
        **mode,
        **({"selectors": selectors} if selectors else {}),
        **more,
    }


def request(name: str = "r", count: int = 1, *expressions: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "exactly": wanted(count, *expressions, **more)}


def claim(name: str = "k", *requests: Any, status: Any = None, **devices: Any) -> Any:
    metadata = {"name": name, "namespace": "d", "uid": f"uid-{name}", "resourceVersion": "1"}
    spec = {"devices": {"requests": list(requests or (request(),)), **devices}}
    return freeze(
        {"kind": "ResourceClaim", "metadata": metadata, "spec": spec, "status": status or {}}
    )
