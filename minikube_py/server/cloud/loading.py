"""Finds a provider by its name: one of ours, or one that a Python package brings.

A package says so by an entry point of the group `kpy.cloud`; its name is that of the provider,
its value a function from a `CloudSetting` to a `Provider`.
"""

import importlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import cast

from minikube_py.lib.errors import StartError
from minikube_py.lib.tallies import Tallies
from minikube_py.server.cloud.provider import CloudSetting, MakeProvider, Provider
from minikube_py.server.config import ServerConfig

GROUP = "kpy.cloud"
LOCAL = "local"
OURS: Mapping[str, str] = {
    LOCAL: "minikube_py.server.cloud.local",
    "aws": "minikube_py.server.cloud.aws.provider",
}
"""Name -> the module with `make`; imported when it is asked for."""


def load(name: str, setting: CloudSetting) -> Provider:
    """Return the provider of a name.

    Raises:
        StartError: there is none, or its configuration cannot be used.

    """
    if name in OURS:
        make = cast("MakeProvider", importlib.import_module(OURS[name]).make)
        return make(setting)
    for entry in metadata.entry_points(group=GROUP, name=name):
        return cast("MakeProvider", entry.load())(setting)
    raise StartError(f"cloud provider {name!r} is not known; pass one of {', '.join(names())}")


def setting_of(config: ServerConfig, tallies: Tallies) -> CloudSetting:
    """Return what a provider beside a server is made from."""
    return CloudSetting(
        config_file=Path(config.cloud_config) if config.cloud_config else None,
        cluster_name=config.cluster_name,
        cluster_cidr=config.cluster_cidr,
        api_server_port=config.https_listen_port,
        tallies=tallies,
    )


def names() -> list[str]:
    """Return the names of all providers there are."""
    return sorted({*OURS, *(entry.name for entry in metadata.entry_points(group=GROUP))})
