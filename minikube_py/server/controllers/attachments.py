"""Which volumes are to be attached to a node, and which are to be taken off it.

Pure. A volume is taken off when no pod of the node wants it and its kubelet says that it does not
use it; on a node that will not answer any more nobody waits for that. Upstream:
pkg/controller/volume/attachdetach/reconciler.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.api.core import NODES
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    get,
    has_condition,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.storage import VOLUMEATTACHMENTS
from minikube_py.api.storage.volumeattachment import attachment_name as name_of
from minikube_py.api.taints import taints_of
from minikube_py.client.actions import Action, Create, Delete, Emit, Patch

MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FORCE_SECONDS = 360.0
"""After so long a volume is taken off a node that is not ready, whatever it had said."""
SHARED = frozenset({"ReadWriteMany", "ReadOnlyMany"})
ANOTHER = "Volume is already exclusively attached to one node and can't be attached to another"


@dataclass(frozen=True)
class Wanted:
    """A volume that pods of a node need."""

    volume: Obj
    pods: Sequence[Obj]

    @property
    def name(self) -> str:
        """The name of the volume."""
        return str(self.volume["metadata"]["name"])


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """What is known of one node and its volumes."""

    name: str
    node: Obj | None
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    """By the name of the attachment."""
    attached: Mapping[str, tuple[Obj, Obj]] = field(default_factory=dict)
    """Attachments that are there, each with its volume, by name."""
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Volumes that other nodes have, by name, each with the pods that use it there."""
    unwanted_seconds: Mapping[str, float] = field(default_factory=dict)
    """For how long attachments have been unwanted."""


def attachment_name(volume: Obj, node: str) -> str:
    """Return the name of the attachment of a volume to a node; kubelets work it out too."""
    return name_of(volume["spec"]["csi"], node)


def unique_name(volume: Obj) -> str:
    """Return what kubelets call a volume in the status of their node."""
    source = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{source['driver']}^{source['volumeHandle']}"


def plan(view: NodeView) -> Iterator[Action]:
    """Decide what to attach and what to take off; then say what is attached."""
    going = [name for name in view.attached if name not in view.wanted and _may_go(view, name)]
    yield from _plan_attaching(view)
    yield from _plan_report(view, going)
    for name in going:
        attachment, _ = view.attached[name]
        if not is_deleting(attachment):
            yield Delete(VOLUMEATTACHMENTS, key_of(attachment), uid_of(attachment))


def seconds_to_force(view: NodeView) -> float | None:
    """Return when to look again at what an unready node does not give up; None for never."""
    if view.node is None or has_condition(view.node, "Ready"):
        return None
    left = [
        FORCE_SECONDS - view.unwanted_seconds.get(name, 0.0)
        for name in view.attached
        if name not in view.wanted and not _may_go(view, name)
    ]
    return max(min(left), 0.0) + 0.001 if left else None


def _may_go(view: NodeView, name: str) -> bool:
    """Tell whether an unwanted volume can be taken off the node now."""
    node, (attachment, volume) = view.node, view.attached[name]
    if node is None or is_deleting(attachment):
        return True
    if unique_name(volume) not in get(node, "status.volumesInUse", ()):
        return True
    if any(taint.get("key") == OUT_OF_SERVICE for taint in taints_of(node)):
        return True
    waited = view.unwanted_seconds.get(name, 0.0)
    return waited >= FORCE_SECONDS and not has_condition(node, "Ready")


def _plan_attaching(view: NodeView) -> Iterator[Action]:
    if view.node is None or MANAGED not in annotations_of(view.node):
        return
    for name, wanted in view.wanted.items():
        if name in view.attached:
            yield from _tell_failure(view.attached[name][0], wanted)
            continue
        users = view.elsewhere.get(wanted.name)
        if users is None or SHARED & set(wanted.volume["spec"]["accessModes"]):
            yield Create(VOLUMEATTACHMENTS, _attachment(name, wanted.volume, view.name))
            continue
        why = f"Volume is already used by pod(s) {', '.join(users)}" if users else ANOTHER
        text = f'Multi-Attach error for volume "{wanted.name}" {why}'
        yield from (Emit(pod, "Warning", "FailedAttachVolume", text) for pod in wanted.pods)


def _tell_failure(attachment: Obj, wanted: Wanted) -> Iterator[Action]:
    error = get(attachment, "status.attachError.message")
    if error and not get(attachment, "status.attached"):
        text = f'AttachVolume.Attach failed for volume "{wanted.name}" : {error}'
        yield from (Emit(pod, "Warning", "FailedAttachVolume", text) for pod in wanted.pods)


def _attachment(name: str, volume: Obj, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": name},
        "spec": {
            "attacher": volume["spec"]["csi"]["driver"],
            "nodeName": node,
            "source": {"persistentVolumeName": volume["metadata"]["name"]},
        },
    }


def _plan_report(view: NodeView, going: Sequence[str]) -> Iterator[Action]:
    """Say in the node's status what is attached; what is about to go is not, from now on."""
    if view.node is None:
        return
    there = {
        unique_name(volume): name
        for name, (attachment, volume) in view.attached.items()
        if get(attachment, "status.attached") and name not in going
    }
    told: Sequence[Obj] = get(view.node, "status.volumesAttached") or ()
    before = {one["name"] for one in told}
    if before == there.keys():
        return
    listed = [{"name": name, "devicePath": ""} for name in sorted(there)]
    patch = {"status": {"volumesAttached": listed or None}}
    yield Patch(NODES, Key("", view.name), patch, subresource="status", missing_ok=True)
    for name in sorted(there.keys() - before):
        wanted = view.wanted.get(there[name])
        if wanted is not None:
            text = f'AttachVolume.Attach succeeded for volume "{wanted.name}" '
            yield from (Emit(pod, "Normal", "SuccessfulAttachVolume", text) for pod in wanted.pods)
