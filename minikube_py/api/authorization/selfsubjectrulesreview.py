"""What may I do in a namespace."""

from minikube_py.api.resource import Resource

SELFSUBJECTRULESREVIEWS = Resource(
    group="authorization.k8s.io",
    kind="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authorization.v1.SelfSubjectRulesReview",
)
