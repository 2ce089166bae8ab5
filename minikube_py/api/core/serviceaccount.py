"""Service accounts: who a pod is to the API server."""

from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Resource, Subresource


def prepare_for_create(account: Obj) -> Obj:
    """Keep of the references to secrets no more than their names."""
    secrets = account.get("secrets")
    if not secrets or all(reference.keys() <= {"name"} for reference in secrets):
        return account
    cleaned = [
        {"name": reference["name"]} if reference.get("name") else {} for reference in secrets
    ]
    return {**account, "secrets": cleaned}


def prepare_for_update(new: Obj, _old: Obj) -> Obj:
    """Keep of the references to secrets no more than their names."""
    return prepare_for_create(new)


SERVICEACCOUNTS = Resource(
    returns_deleted_object=True,
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
    columns=(NAME, AGE),
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    metadata_checks=("update", "create"),
)
