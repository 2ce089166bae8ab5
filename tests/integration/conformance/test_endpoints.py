"""Endpoints that are written by hand, and the endpoint slices that follow them."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api

SLICES = "/apis/discovery.k8s.io/v1/namespaces/n/endpointslices"
SELECTED = f"{SLICES}?labelSelector=kubernetes.io%2Fservice-name%3Dcustom"


def says(*wanted: str) -> Any:
    """Return the test whether one slice has just these addresses."""

    def good(slices: Any) -> bool:
        found = [e["addresses"] for one in slices["items"] for e in one.get("endpoints") or ()]
        return len(slices["items"]) == 1 and found == [[address] for address in wanted]

    return good


@pytest.mark.conformance("EndpointSliceMirroring should mirror a custom Endpoints resource...")
async def test_custom_endpoints_are_mirrored(api: Api, space: str) -> None:
    ports = [{"name": "example", "port": 80, "protocol": "TCP"}]
    await api.create(
        f"{space}/services", {"metadata": {"name": "custom"}, "spec": {"ports": ports}}
    )
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": ports}
    endpoints = {"metadata": {"name": "custom"}, "subsets": [subset]}
    path = f"{space}/endpoints/custom"
    await api.create(f"{space}/endpoints", endpoints)
    (one,) = (await api.until(SELECTED, says("10.1.2.3")))["items"]
    assert one["ports"] == ports
    managed = one["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
    assert managed == "endpointslicemirroring-controller.k8s.io"
    changed = {**subset, "addresses": [{"ip": "10.2.3.4"}, {"ip": "10.2.3.5"}]}
    await api.put(path, {**await api.get(path), "subsets": [changed]})
    await api.until(SELECTED, says("10.2.3.4", "10.2.3.5"))
    await api.delete(path)
    await api.until(SELECTED, lambda slices: slices["items"] == [])
