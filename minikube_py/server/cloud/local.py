"""The cloud `local`: machines as they are, and their own ports as load balancers.

A node's machine is the node: its providerID is `kpy://NAME`, it exists for as long as the node
does, and its addresses are those that it reports. Where it stands comes from the annotations
`kpy.dev/zone` and `kpy.dev/region`, else from labels it came with, else from the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.api.object import Obj, annotations_of, get, labels_of
from minikube_py.lib.errors import StartError
from minikube_py.server.cloud import address_pool, config_file, local_load_balancer
from minikube_py.server.cloud.cloud_node import REGION, TYPE, ZONE
from minikube_py.server.cloud.provider import CloudSetting, InstanceMetadata, Provider

SCHEME = "kpy://"
INSTANCE_TYPE = "kpy"
ZONE_ANNOTATION, REGION_ANNOTATION = "kpy.dev/zone", "kpy.dev/region"


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """What `--cloud-config` may say, as keys of a YAML map."""

    zone: str = ""
    """Of nodes that do not say theirs."""
    region: str = ""
    address_pools: tuple[str, ...] = ()
    """Addresses for services, as networks or as ranges; none: services have ports of nodes."""


def pools_of(config: LocalConfig) -> tuple[address_pool.Range, ...]:
    """Return the ranges of addresses for services.

    Raises:
        StartError: a text is no range.

    """
    try:
        return tuple(address_pool.parse(text) for text in config.address_pools)
    except ValueError as error:
        raise StartError(
            f"--cloud-config: {error}; address_pools takes 10.0.0.0/28 or 10.0.0.5-10.0.0.9"
        ) from error


class LocalInstances:
    """Every node is a machine."""

    polled = False

    def __init__(self, config: LocalConfig) -> None:
        self._config = config

    async def exists(self, node: Obj) -> bool:
        """Return True: who takes a machine away deletes its node."""
        del node
        return True

    async def is_shut_down(self, node: Obj) -> bool:
        """Return False: nobody here knows that a machine is off."""
        del node
        return False

    async def metadata(self, node: Obj) -> InstanceMetadata:
        """Return what the node says of itself."""
        labels, annotations = labels_of(node), annotations_of(node)
        config = self._config
        return InstanceMetadata(
            provider_id=provider_id(node),
            instance_type=labels.get(TYPE, INSTANCE_TYPE),
            zone=_first(annotations, ZONE_ANNOTATION, labels, ZONE) or config.zone,
            region=_first(annotations, REGION_ANNOTATION, labels, REGION) or config.region,
        )


def provider_id(node: Obj) -> str:
    """Return the id of the machine behind a node."""
    known: Any = get(node, "spec.providerID")
    return str(known or f"{SCHEME}{node['metadata']['name']}")


def _first(annotations: Mapping[str, str], name: str, labels: Mapping[str, str], key: str) -> str:
    return annotations.get(name) or labels.get(key, "")


def make(setting: CloudSetting) -> Provider:
    """Return the provider.

    Raises:
        StartError: the configuration cannot be used.

    """
    config = config_file.read(setting.config_file, LocalConfig)
    return Provider(
        name="local",
        instances=LocalInstances(config),
        controllers=(local_load_balancer.controller(setting.api_server_port, pools_of(config)),),
    )
