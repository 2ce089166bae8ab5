"""Ingress classes: which controller serves an Ingress."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

INGRESSCLASSES = Resource(
    group="networking.k8s.io",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    schema="io.k8s.api.networking.v1.IngressClass",
    columns=(
        NAME,
        Column("Controller"),
        Column("Parameters"),
        AGE,
    ),
)
