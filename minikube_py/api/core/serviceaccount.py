"""Service accounts: who a pod is to the API server."""

from minikube_py.api.resource import AGE, NAME, Resource, Subresource

SERVICEACCOUNTS = Resource(
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    schema="io.k8s.api.core.v1.ServiceAccount",
    subresources=(
        Subresource(
            name="token",
            kind="TokenRequest",
            group="authentication.k8s.io",
            version="v1",
            verbs=("create",),
        ),
    ),
    columns=(
        NAME,
        AGE,
    ),
)
