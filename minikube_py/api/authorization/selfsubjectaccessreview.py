"""Self subject access reviews tell whether the asker may do something."""

from minikube_py.api.authorization import reviews
from minikube_py.api.resource import Resource

SELFSUBJECTACCESSREVIEWS = Resource(
    group="authorization.k8s.io",
    kind="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    default=reviews.default,
    validate=reviews.validate_self,
)
