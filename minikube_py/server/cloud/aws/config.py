"""What `--cloud-config` says of AWS, as keys of a YAML map; all of it may be left out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from minikube_py.lib.errors import StartError


@dataclass(frozen=True, kw_only=True)
class AwsConfig:
    """Where the cluster is; credentials are found as all of Amazon's tools find them."""

    region: str = ""
    """By default that of the environment, or of the instance this runs on."""
    subnets: tuple[str, ...] = ()
    """Ids of the subnets of load balancers; by default those tagged for the cluster."""
    route_tables: tuple[str, ...] = ()
    """Ids of the route tables of the nodes; by default those tagged for the cluster."""
    endpoint: str = ""
    """URL of the API, where it is not Amazon's."""


def read_config(path: Path | None) -> AwsConfig:
    """Read the configuration; without a file it is empty.

    Raises:
        StartError: the file cannot be read, or has keys that mean nothing.

    """
    if path is None:
        return AwsConfig()
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"--cloud-config {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise StartError(f"--cloud-config {path} must be a YAML map")
    kinds = get_type_hints(AwsConfig)
    if unknown := sorted(map(str, set(document) - set(kinds))):
        raise StartError(
            f"--cloud-config {path} has {', '.join(unknown)}; it may have {', '.join(kinds)}"
        )
    return AwsConfig(**{key: _value(path, key, document[key], kinds[key]) for key in document})


def _value(path: Path, key: str, value: Any, kind: Any) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is not str and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    wanted = "a text" if kind is str else "a list of texts"
    raise StartError(f"--cloud-config {path}: {key} must be {wanted}")
