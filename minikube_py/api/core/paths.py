"""Checks of file paths in volumes and mounts; they are those of the node, so always with `/`."""

from collections.abc import Iterable, Iterator

from minikube_py.api.fields import Field, FieldError


def validate_no_backsteps(value: str, path: Field) -> Iterator[FieldError]:
    """Report a path with `..` as one of its elements."""
    if ".." in value and ".." in value.split("/"):
        yield path.invalid(value, "must not contain '..'")


def validate_descending(value: str, path: Field) -> Iterator[FieldError]:
    """Report a path that does not stay below where it starts."""
    if value.startswith("/"):
        yield path.invalid(value, "must be a relative path")
    yield from validate_no_backsteps(value, path)


def validate_not_reserved(value: str, path: Field) -> Iterable[FieldError]:
    """Report a path that leads out, or that the kubelet keeps to itself."""
    return _not_reserved(value, path) if ".." in value or value.startswith("/") else ()


def _not_reserved(value: str, path: Field) -> Iterator[FieldError]:
    yield from validate_descending(value, path)
    if value.startswith("..") and not value.startswith("../"):
        yield path.invalid(value, "must not start with '..'")
