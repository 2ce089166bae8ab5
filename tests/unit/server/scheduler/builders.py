"""Pods and nodes for the scheduler, and a cache that holds them."""

import itertools
from typing import Any

from minikube_py.api.core import NODES, PODS
from minikube_py.api.object import evolve
from minikube_py.client.events import Recorder
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.algorithm import Fit, steps
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.extender import Extenders
from minikube_py.server.scheduler.framework import Cycle, Handle
from minikube_py.server.scheduler.plugins import default_profile
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.profile import Profile
from minikube_py.server.scheduler.waiting import PermitWaits
from tests.frozen import freeze
from tests.model_cluster import FrozenItem, ModelCluster
from tests.virtual_time import VirtualClock

_numbers = itertools.count(1)


def node(
    name: str, *, labels=None, taints=(), images=(), unschedulable=False, **allocatable
) -> Any:
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable}
    spec: dict[str, Any] = {"taints": list(taints)}
    if unschedulable:
        spec["unschedulable"] = True
    labels = {"kubernetes.io/hostname": name, **(labels or {})}
    status = {"allocatable": amounts, "images": list(images)}
    return freeze(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": name, "labels": labels},
            "spec": spec,
            "status": status,
        }
    )


def node_item(one: Any) -> FrozenItem:
    """Return a node as caches hold it."""
    return FrozenItem(evolve(one, "metadata.resourceVersion", "1"), NODES)


def item(
    name: str = "p", *, node: str = "", requests=None, labels=None, namespace="d", **spec: Any
):
    uid = spec.pop("uid", f"{name}-{next(_numbers)}")
    owner = spec.pop("owner", None)
    container = {"name": "c", "image": spec.pop("image", "i")}
    if requests:
        container["resources"] = {"requests": requests}
    ports = spec.pop("ports", None)
    if ports:
        container["ports"] = ports
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "labels": labels or {},
        "resourceVersion": "1",
        "creationTimestamp": spec.pop("created", "2026-01-01T00:00:00Z"),
    }
    deadline = spec.pop("deadline", None)
    if deadline:
        metadata["annotations"] = {"kpy.dev/deadline": deadline}
    if spec.pop("deleting", False):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner}
        metadata["ownerReferences"] = [{**reference, "controller": True}]
    spec = {"containers": [container], "schedulerName": "default-scheduler", **spec}
    if node:
        spec["nodeName"] = node
    status = spec.pop("status", {})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
    return FrozenItem(pod, PODS)


def pod(name: str = "p", **more: Any) -> PodInfo:
    return PodInfo(item(name, **more))


def handle(there: Cache | None = None, **stores: ItemStore) -> Handle:
    """What plugins are made with, in front of an empty cluster; `stores` by plural."""
    clock = VirtualClock()
    client = ModelCluster(clock).client()
    return Handle(
        client=client,
        lister=lambda resource: stores.setdefault(resource.plural, ItemStore()),
        clock=clock,
        events=Recorder(client, "default-scheduler", clock),
        waiting=PermitWaits(clock),
        activate=lambda _: None,
        start=lambda _, work: work.close(),
        cache=there or cache(),
        extenders=Extenders(()),
    )


def profile() -> Profile:
    return default_profile(handle())


def cycle(incoming: PodInfo, there: Cache) -> Cycle:
    return Cycle(incoming, there)


def find(attempt: Cycle, within: Profile, **more: Any) -> Fit:
    """All steps of filtering at once."""
    *_, fit = steps(attempt, within, **more)
    return fit


def cache(*nodes: Any, pods=(), namespaces=None) -> Cache:
    made = Cache(namespaces)
    for one in nodes:
        made.set_node(node_item(one))
    for one in pods:
        made.set_pod(one)
    return made
