"""Kubeconfig files, as kubectl and every client library read them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from minikube_py.client.config import ClientConfig
from minikube_py.lib import fsutil


class KubeconfigError(Exception):
    """The file is no kubeconfig that can be used; the message names the file and what is wrong."""


def load(path: Path, context: str = "") -> ClientConfig:
    """Read the context of that name, or the current one.

    Raises:
        KubeconfigError: it cannot be read, or a part that the context names is absent.

    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"kubeconfig {path} is not YAML") from error
    if not isinstance(document, Mapping):
        raise KubeconfigError(f"kubeconfig {path} is not a map")
    name = context or str(document.get("current-context") or "")
    chosen = _named(document, "contexts", "context", name, path)
    cluster = _named(document, "clusters", "cluster", str(chosen.get("cluster", "")), path)
    user = _named(document, "users", "user", str(chosen.get("user", "")), path)
    if not cluster.get("server"):
        raise KubeconfigError(f"kubeconfig {path} has no server in cluster {chosen['cluster']!r}")
    return ClientConfig(
        server=str(cluster["server"]).rstrip("/"),
        ca_data=_data(cluster, "certificate-authority-data", path),
        ca_file=_file(cluster, "certificate-authority", path),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        certificate_data=_data(user, "client-certificate-data", path),
        certificate_file=_file(user, "client-certificate", path),
        key_data=_data(user, "client-key-data", path),
        key_file=_file(user, "client-key", path),
        token=str(user.get("token") or ""),
        token_file=_file(user, "tokenFile", path),
        namespace=str(chosen.get("namespace") or ""),
    )


def _named(
    document: Mapping[str, Any], plural: str, singular: str, name: str, path: Path
) -> Mapping[str, Any]:
    entries: Sequence[Any] = document.get(plural) or ()
    for entry in entries:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            value = entry.get(singular)
            return value if isinstance(value, Mapping) else {}
    raise KubeconfigError(f"kubeconfig {path} has no {singular} {name!r}")


def _data(part: Mapping[str, Any], key: str, path: Path) -> bytes:
    try:
        return base64.b64decode(part.get(key) or "", validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise KubeconfigError(f"kubeconfig {path} has no base64 in {key!r}") from error


def _file(part: Mapping[str, Any], key: str, path: Path) -> Path | None:
    """Return a path, which the file's own folder is the base of."""
    value = part.get(key)
    return path.parent / str(value) if value else None


def document(config: ClientConfig, name: str = "default") -> dict[str, Any]:
    """Return the kubeconfig of one cluster and one user, with what `config` has as data inside."""
    cluster: dict[str, Any] = {"server": config.server}
    user: dict[str, Any] = {}
    _put(cluster, "certificate-authority", config.ca_data, config.ca_file)
    _put(user, "client-certificate", config.certificate_data, config.certificate_file)
    _put(user, "client-key", config.key_data, config.key_file)
    if config.tls_server_name:
        cluster["tls-server-name"] = config.tls_server_name
    if config.token:
        user["token"] = config.token
    if config.token_file:
        user["tokenFile"] = str(config.token_file)
    context = {"cluster": name, "user": name}
    if config.namespace:
        context["namespace"] = config.namespace
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
        "preferences": {},
    }


def _put(part: dict[str, Any], key: str, data: bytes, file: Path | None) -> None:
    if data:
        part[f"{key}-data"] = base64.b64encode(data).decode()
    elif file is not None:
        part[key] = str(file)


def save(path: Path, config: ClientConfig, name: str = "default", mode: int = 0o600) -> None:
    """Write a kubeconfig of one cluster and one user in one step."""
    text = yaml.safe_dump(document(config, name), sort_keys=False)
    fsutil.write_atomic(path, text.encode(), mode)
