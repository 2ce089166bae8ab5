"""Self subject reviews tell who the asker is."""

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.strategy import changed, with_absent


def default(review: Obj) -> Obj:
    """Fill in what is always shown."""
    review = with_absent(review, {"status": {}})
    return changed(review, "status", lambda status: with_absent(status, {"userInfo": {}}))


SELFSUBJECTREVIEWS = Resource(
    group="authentication.k8s.io",
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authentication.v1.SelfSubjectReview",
    default=default,
)
