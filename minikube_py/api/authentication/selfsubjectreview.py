"""Self subject reviews: who am I."""

from minikube_py.api.resource import Resource

SELFSUBJECTREVIEWS = Resource(
    group="authentication.k8s.io",
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authentication.v1.SelfSubjectReview",
)
