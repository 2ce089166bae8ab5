"""Endpoint slices: the addresses behind a Service."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

ENDPOINTSLICES = Resource(
    group="discovery.k8s.io",
    kind="EndpointSlice",
    plural="endpointslices",
    schema="io.k8s.api.discovery.v1.EndpointSlice",
    columns=(
        NAME,
        Column("AddressType"),
        Column("Ports"),
        Column("Endpoints"),
        AGE,
    ),
)
