"""Configurations of our own providers: a YAML map whose keys are the fields of a dataclass."""

from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from minikube_py.lib.errors import StartError

T = TypeVar("T")


def read(path: Path | None, config: type[T]) -> T:
    """Read a configuration whose fields are texts, or tuples of texts; without a file, defaults.

    Raises:
        StartError: the file cannot be read, or has keys that mean nothing.

    """
    if path is None:
        return config()
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"--cloud-config {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise StartError(f"--cloud-config {path} must be a YAML map")
    kinds = get_type_hints(config)
    if unknown := sorted(map(str, set(document) - set(kinds))):
        raise StartError(
            f"--cloud-config {path} has {', '.join(unknown)}; it may have {', '.join(kinds)}"
        )
    return config(**{key: _value(path, key, document[key], kinds[key]) for key in document})


def _value(path: Path, key: str, value: Any, kind: Any) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is not str and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    wanted = "a text" if kind is str else "a list of texts"
    raise StartError(f"--cloud-config {path}: {key} must be {wanted}")
