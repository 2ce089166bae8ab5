"""Ingresses: HTTP routes to Services."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

INGRESSES = Resource(
    group="networking.k8s.io",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    schema="io.k8s.api.networking.v1.Ingress",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("Class"),
        Column("Hosts"),
        Column("Address"),
        Column("Ports"),
        AGE,
    ),
)
