"""Where a Service answers."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.server.service_addresses import Address, ServiceAddresses

NAME = "api.ns.svc"


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "https", "port": 443}]
    return {
        "metadata": {"namespace": "ns", "name": "api"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": ports, **spec},
    }


def endpoint_slice(address: str, *, ready: bool | None = None) -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    return {
        "metadata": {
            "namespace": "ns",
            "name": f"api-{address}",
            "labels": {"kubernetes.io/service-name": "api"},
        },
        "endpoints": [{"addresses": [address], "conditions": conditions}],
        "ports": [{"name": "https", "port": 8443}],
    }


@pytest.mark.parametrize(
    ("found", "slices", "address"),
    [
        (service(), [endpoint_slice("10.0.0.1")], Address("10.0.0.1", 8443, NAME)),
        (
            service(),
            [endpoint_slice("10.0.0.1", ready=False), endpoint_slice("10.0.0.2", ready=True)],
            Address("10.0.0.2", 8443, NAME),
        ),
        (service(), [], Address("10.96.0.7", 443, NAME)),
        (
            service(type="ExternalName", externalName="example.com"),
            [],
            Address("example.com", 443, NAME),
        ),
    ],
)
def test_a_ready_endpoint_is_asked_directly(
    listing: Callable[..., Any], found: Any, slices: Any, address: Address
) -> None:
    addresses = ServiceAddresses(listing(found), listing(*slices))
    assert addresses.resolve("ns", "api", 443) == address


@pytest.mark.parametrize(
    ("found", "slices", "port", "message"),
    [
        (None, [], 443, 'service "api" not found'),
        (service(), [], 80, 'no service port 80 found for service "api"'),
        (service(clusterIP="None"), [], 443, 'no endpoints available for service "api"'),
        (
            service(),
            [endpoint_slice("10.0.0.1", ready=False)],
            443,
            'no endpoints available for service "api"',
        ),
    ],
)
def test_a_service_that_cannot_be_asked_is_unavailable(
    listing: Callable[..., Any], found: Any, slices: Any, port: int, message: str
) -> None:
    addresses = ServiceAddresses(listing(*([found] if found else [])), listing(*slices))
    with pytest.raises(ServiceUnavailableError) as caught:
        addresses.resolve("ns", "api", port)
    assert caught.value.message == message


def test_an_address_of_ipv6_is_bracketed() -> None:
    assert Address("fd00::1", 443, NAME).netloc == "[fd00::1]:443"
