"""Service CIDRs: where ClusterIPs come from."""

from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

SERVICECIDRS = Resource(
    group="networking.k8s.io",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    schema="io.k8s.api.networking.v1.ServiceCIDR",
    subresources=(Subresource(name="status", shares_object=True),),
    columns=(
        NAME,
        Column("CIDRs"),
        AGE,
    ),
)
