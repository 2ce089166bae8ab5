"""Subject access reviews tell whether somebody may do something."""

from minikube_py.api.authorization import reviews
from minikube_py.api.resource import Resource

SUBJECTACCESSREVIEWS = Resource(
    group="authorization.k8s.io",
    kind="SubjectAccessReview",
    plural="subjectaccessreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authorization.v1.SubjectAccessReview",
    default=reviews.default,
    validate=reviews.validate,
)
