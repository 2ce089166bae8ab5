"""Network policies: which traffic pods accept and send."""

from minikube_py.api.resource import AGE, NAME, Column, Resource

NETWORKPOLICIES = Resource(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    schema="io.k8s.api.networking.v1.NetworkPolicy",
    columns=(
        NAME,
        Column("Pod-Selector"),
        AGE,
    ),
)
