"""Token reviews: whose token is this."""

from minikube_py.api.resource import Resource

TOKENREVIEWS = Resource(
    group="authentication.k8s.io",
    kind="TokenReview",
    plural="tokenreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authentication.v1.TokenReview",
)
