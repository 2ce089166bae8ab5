"""Token reviews tell whose token it is."""

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.strategy import changed, with_absent


def default(review: Obj) -> Obj:
    """Fill in what is always shown."""
    review = with_absent(review, {"spec": {}, "status": {}})
    return changed(review, "status", lambda status: with_absent(status, {"user": {}}))


TOKENREVIEWS = Resource(
    group="authentication.k8s.io",
    kind="TokenReview",
    plural="tokenreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authentication.v1.TokenReview",
    default=default,
)
