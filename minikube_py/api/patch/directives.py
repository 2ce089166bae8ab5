"""What a strategic merge patch says beside fields, and what it asks of a schema."""

from collections.abc import Mapping
from typing import Any, Protocol

from minikube_py.api.object import Obj
from minikube_py.api.patch.errors import UnusablePatchError
from minikube_py.api.patch.go_text import go_text

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM_LIST = "$deleteFromPrimitiveList"
ELEMENT_ORDER = "$setElementOrder"


class Node(Protocol):
    """What is asked of a schema; `api.schema.Type` is one."""

    @property
    def kind(self) -> str:
        """`object`, `map`, `list`, or a scalar."""

    @property
    def patch_strategy(self) -> str:
        """Return "", `merge`, `replace`, `retainKeys`, or two of them with a comma."""

    @property
    def merge_key(self) -> str:
        """The key that elements of a list of maps are known by."""

    @property
    def go(self) -> str:
        """The type's name in error texts: `v1.PodSpec`."""

    @property
    def items(self) -> "Node":
        """The elements of a list."""

    def field(self, name: str) -> "Node | None":
        """Return a field of an object, or the values of a map."""


def bad_directive(directive: Any, patch: Obj) -> UnusablePatchError:
    """Make the error of a `$patch` that is not known here."""
    return UnusablePatchError(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")


def without_nulls(value: Any) -> Any:
    """Return a value without the nulls in its maps: it goes where there is nothing to remove."""
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(inner) for inner in value]
    return value


def without_directives(value: Any) -> Any:
    """Return a value without the maps in it that hold `$patch`; None where it is one itself."""
    if isinstance(value, Mapping):
        if DIRECTIVE in value:
            return None
        fields = {key: without_directives(inner) for key, inner in value.items()}
        return {key: inner for key, inner in fields.items() if inner is not None}
    if isinstance(value, list | tuple):
        items = (without_directives(inner) for inner in value)
        return [inner for inner in items if inner is not None]
    return value
