"""Local subject access reviews tell what somebody may do in this namespace."""

from minikube_py.api.authorization import reviews
from minikube_py.api.resource import Resource

LOCALSUBJECTACCESSREVIEWS = Resource(
    group="authorization.k8s.io",
    kind="LocalSubjectAccessReview",
    plural="localsubjectaccessreviews",
    verbs=("create",),
    schema="io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    default=reviews.default,
    validate=reviews.validate_local,
)
