"""Self subject rules reviews tell what the asker may do in a namespace."""

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.strategy import with_absent

EMPTY_STATUS = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}


def default(review: Obj) -> Obj:
    """Fill in what is always shown."""
    return with_absent(review, {"spec": {}, "status": EMPTY_STATUS})


SELFSUBJECTRULESREVIEWS = Resource(
    group="authorization.k8s.io",
    kind="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    namespaced=False,
    verbs=("create",),
    schema="io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    default=default,
)
