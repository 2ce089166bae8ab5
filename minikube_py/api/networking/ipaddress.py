"""IP addresses: the record that a ClusterIP is taken."""

from minikube_py.api.resource import NAME, Column, Resource

IPADDRESSES = Resource(
    group="networking.k8s.io",
    kind="IPAddress",
    plural="ipaddresses",
    namespaced=False,
    short_names=("ip",),
    schema="io.k8s.api.networking.v1.IPAddress",
    columns=(
        NAME,
        Column("ParentRef"),
    ),
)
