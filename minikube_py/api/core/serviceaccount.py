"""Service accounts: who a pod is to the API server."""

from collections.abc import Iterator
from typing import Final

from minikube_py.api.object import Obj, annotations_of
from minikube_py.api.resource import AGE, NAME, Resource, Subresource

ENFORCE: Final = "kubernetes.io/enforce-mountable-secrets"
"""Annotation of old clusters: pods of the account mount no secrets but those it lists."""


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


def warn(account: Obj, old: Obj | None) -> Iterator[str]:
    """Yield that the newly set annotation of old clusters is to be left out."""
    if ENFORCE in annotations_of(account) and (old is None or ENFORCE not in annotations_of(old)):
        yield (
            f"metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to "
            "isolate access to mounted secrets"
        )


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
    warn=warn,
    metadata_checks=("update", "create"),
)
