"""Initialises nodes from what the cloud knows of their machines, and keeps that up to date.

A node that came with the taint `uninitialized` is given its providerID and labels, and the taint
is taken from it; then its addresses follow. Every five minutes addresses and the provider's own
labels are looked at anew, all nodes at the same time. Upstream: cloud-node-controller.
"""

import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import NODES
from minikube_py.api.object import Key, Obj, annotations_of, get, labels_of
from minikube_py.api.taints import taints_of
from minikube_py.client.actions import Action, Emit, Patch, Update
from minikube_py.client.controller import Context, Controller
from minikube_py.server.cloud.nodes import UNINITIALIZED, seconds_until_tick, taint_of
from minikube_py.server.cloud.provider import CloudError, InstanceMetadata, Instances

NAME = "cloud-node-controller"
PERIOD_SECONDS = 300.0
"""Upstream's `--node-status-update-frequency`."""
PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"
"""Annotation of a node whose kubelet was told its address."""
ZONE, BETA_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
REGION, BETA_REGION = "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"
TYPE, BETA_TYPE = "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"
PAIRS = ((BETA_ZONE, ZONE), (BETA_REGION, REGION), (BETA_TYPE, TYPE))
"""The older label of each pair is the one that counts, as upstream has it."""
_is_kubernetes = re.compile(r"(^|\.)(kubernetes|k8s)\.io/").search


async def reconcile(instances: Instances, key: Key, ctx: Context) -> float | None:
    """See to one node."""
    node = ctx.lister(NODES).get(key)
    if node is None:
        ctx.memory.pop(key.name, None)
        return None
    if taint_of(node, UNINITIALIZED) is not None:
        metadata = await instances.metadata(node)
        if metadata is not None:
            await ctx.apply(plan_start(node, metadata))
            _looked(node, ctx)
        return None
    await ctx.apply(plan_labels(node))
    if not instances.polled:
        return None
    now = ctx.clock.monotonic()
    if ctx.memory.get(key.name, 0.0) <= now:
        metadata = await instances.metadata(node)
        _looked(node, ctx)
        if metadata is not None:
            await ctx.apply(plan_follow(node, metadata))
    return float(ctx.memory[key.name] - now)


def _looked(node: Obj, ctx: Context) -> None:
    """Note until when nobody need ask the cloud about this node; its heartbeats come through."""
    now = ctx.clock.monotonic()
    ctx.memory[node["metadata"]["name"]] = now + seconds_until_tick(now, PERIOD_SECONDS)


def plan_start(node: Obj, metadata: InstanceMetadata) -> Iterator[Action]:
    """Give a new node what the cloud knows of it, and make it fit for pods.

    Raises:
        CloudError: a part without which the node is of no use is not known.

    """
    name, spec = node["metadata"]["name"], node.get("spec") or {}
    provider_id = spec.get("providerID") or metadata.provider_id
    if not provider_id:
        raise CloudError(f"cloud provider does not set node provider ID for node {name}")
    addresses = wanted_addresses(node, metadata.addresses)
    taints = [taint for taint in taints_of(node) if taint["key"] != UNINITIALIZED]
    yield Update(
        NODES,
        {
            **node,
            "metadata": {**node["metadata"], "labels": started_labels(node, metadata)},
            "spec": {**spec, "providerID": provider_id, "taints": taints},
        },
    )
    yield from _plan_addresses(node, addresses)
    yield Emit(node, "Normal", "Synced", "Node synced successfully")


def started_labels(node: Obj, metadata: InstanceMetadata) -> dict[str, str]:
    """Return the labels of a node that is initialised: the cloud's, and what it has of its own.

    A provider's additional labels neither replace others nor speak for Kubernetes.
    """
    labels = dict(labels_of(node))
    for value, keys in (
        (metadata.instance_type, (BETA_TYPE, TYPE)),
        (metadata.zone, (BETA_ZONE, ZONE)),
        (metadata.region, (BETA_REGION, REGION)),
    ):
        if value:
            labels.update(dict.fromkeys(keys, value))
    return {**_more(metadata), **labels}


def _more(metadata: InstanceMetadata) -> dict[str, str]:
    labels = metadata.additional_labels.items()
    return {key: value for key, value in labels if not _is_kubernetes(key)}


def plan_labels(node: Obj) -> Iterator[Action]:
    """Keep the two labels of each pair equal."""
    labels = labels_of(node)
    wrong = {
        key: labels[older]
        for older, key in PAIRS
        if older in labels and labels.get(key) != labels[older]
    }
    if wrong:
        yield _patch(node, {"metadata": {"labels": wrong}})


def plan_follow(node: Obj, metadata: InstanceMetadata) -> Iterator[Action]:
    """Give a node the addresses and additional labels that its machine has by now.

    Now the cloud's labels replace others, as upstream's do.
    """
    yield from _plan_addresses(node, wanted_addresses(node, metadata.addresses))
    labels = labels_of(node)
    more = {k: v for k, v in _more(metadata).items() if labels.get(k) != v}
    if more:
        yield _patch(node, {"metadata": {"labels": more}})


def _plan_addresses(node: Obj, addresses: Sequence[Obj]) -> Iterator[Action]:
    if addresses and list(addresses) != list(get(node, "status.addresses") or ()):
        yield _patch(node, {"status": {"addresses": list(addresses)}}, "status")


def _patch(node: Obj, patch: Mapping[str, Any], subresource: str = "") -> Patch:
    return Patch(NODES, Key("", node["metadata"]["name"]), patch, subresource=subresource)


def wanted_addresses(node: Obj, known: Sequence[Obj]) -> Sequence[Obj]:
    """Return the addresses that a node should have; empty leaves those that it has.

    The hostname is the node's where the cloud has none. Where the kubelet was told an address,
    that one comes first of its type, and is the only one of its type.

    Raises:
        CloudError: the kubelet was told an address that the machine does not have.

    """
    if not known:
        return ()
    addresses = list(known)
    if not any(one["type"] == "Hostname" for one in addresses):
        own: Sequence[Obj] = get(node, "status.addresses") or ()
        addresses += [one for one in own if one["type"] == "Hostname"]
    provided = annotations_of(node).get(PROVIDED_IP)
    if not provided:
        return addresses
    for text in reversed(provided.split(",")):
        addresses = _preferring(text.strip(), addresses, node)
    return addresses


def _preferring(text: str, addresses: Sequence[Obj], node: Obj) -> list[Obj]:
    ip = _address(text)
    if ip is None:
        raise CloudError(f"failed to parse node IP {text!r}")
    kinds = [one["type"] for one in addresses if _address(one["address"]) == ip]
    if not kinds:
        name = node["metadata"]["name"]
        raise CloudError(
            f"provided node ip for node {name!r} is not valid: "
            f"failed to get node address from cloud provider that matches ip: {text}"
        )
    first = [one for one in addresses if _address(one["address"]) == ip]
    return first + [one for one in addresses if not _rivals(one, ip, kinds)]


def _rivals(one: Obj, ip: Any, kinds: Sequence[str]) -> bool:
    """Return whether an address is of the type and family of the preferred one."""
    other = _address(one["address"])
    return other is not None and one["type"] in kinds and other.version == ip.version


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def controller(instances: Instances, user: str) -> Controller:
    """Return the controller for a cloud."""
    return Controller(
        name=NAME, user=user, watches=NODES, reconcile=functools.partial(reconcile, instances)
    )
