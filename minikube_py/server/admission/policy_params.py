"""The objects that parametrise a policy: of its paramKind, found by its binding's paramRef.

The rules and texts are those of apiserver's `policy/generic.CollectParams`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from minikube_py.api import selectors
from minikube_py.api.object import Key, Obj, labels_of
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.client.protocol import Lister

Find = Callable[[Resource], Lister | None]
"""Finds the cache of a kind, custom ones among them."""


class ConfigurationError(Exception):
    """A policy or binding cannot be asked; `of_policy` says which of the two is at fault."""

    def __init__(self, text: str, *, of_policy: bool = False) -> None:
        what = "policy" if of_policy else "binding"
        super().__init__(f"failed to configure {what}: {text}")
        self.of_policy = of_policy


class Params:
    """Finds params."""

    def __init__(self, scheme: Scheme, find: Find) -> None:
        self._scheme = scheme
        self._find = find

    def collect(
        self, kind: Obj | None, reference: Obj | None, namespace: str
    ) -> Sequence[Obj | None]:
        """Return the objects that a policy is asked with, once each; None stands for no params.

        Raises:
            ConfigurationError: the kind is not known, or the reference leads nowhere.

        """
        if kind is None:
            return (None,)
        resource = self._scheme.by_kind(kind["apiVersion"], kind["kind"])
        lister = self._find(resource) if resource is not None else None
        if resource is None or lister is None:
            group, _, version = kind["apiVersion"].rpartition("/")
            shown = f"{group}/{version}, Kind={kind['kind']}"
            text = f"failed to find resource referenced by paramKind: '{shown}'"
            raise ConfigurationError(text, of_policy=True)
        if reference is None:
            return (None,)
        found = self._referenced(resource, lister, reference, namespace)
        if not found and reference.get("parameterNotFoundAction") == "Deny":
            raise ConfigurationError(
                "no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        return found

    def _referenced(
        self, resource: Resource, lister: Lister, reference: Obj, namespace: str
    ) -> Sequence[Obj]:
        where = _namespace(resource, reference, namespace)
        if reference.get("name"):
            found = lister.get(Key(where, reference["name"]))
            return () if found is None else (_served(resource, found),)
        selector = selectors.from_object(reference.get("selector"))
        items = sorted(lister.items(where), key=lambda item: item.key)
        return [
            _served(resource, item.obj) for item in items if selector.matches(labels_of(item.obj))
        ]


def _namespace(resource: Resource, reference: Obj, namespace: str) -> str:
    given: str = reference.get("namespace") or ""
    if not resource.namespaced:
        if given:
            raise ConfigurationError(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            )
        return ""
    if not given and not namespace:
        raise ConfigurationError(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    return given or namespace


def _served(resource: Resource, stored: Obj) -> Any:
    """Return a stored object in the version of the resource."""
    return stored if resource.storage is None else resource.storage.from_storage(stored)
