"""What is done when a pod has ended: free what it held, give it back, remove its traces."""

import contextlib
import logging
import os
import signal

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.cgroups import pod_group
from minikube_py.agent.kubelet.config import log_directory
from minikube_py.agent.kubelet.errors import SyncError
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.pod import full_name
from minikube_py.agent.kubelet.termination import remove_sandboxes
from minikube_py.api.core import PODS
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Obj, key_of, uid_of

log = logging.getLogger(__name__)


async def free(context: NodeContext, pod: Obj) -> None:
    """Free what a stopped pod held: devices, volumes, limits, tokens, watches.

    Raises:
        SyncError: a volume or a group is still in use; try again.

    """
    uid = uid_of(pod)
    await context.assignments.release(uid)
    context.references.release(uid)
    context.claims.forget(uid)
    context.tokens.forget(uid)
    context.images.forget(pod)
    if not await context.volumes.tear_down(uid):
        raise SyncError(f"volumes of pod {full_name(pod)} are still in use", "FailedUnMount")
    try:
        await context.image_volumes.release(pod)
    except CriError as error:
        raise SyncError(
            f"image volumes of pod {full_name(pod)} are not released: {error}"
        ) from None
    _kill_lost(context, pod)
    if not context.cgroups.remove(pod_group(pod)):
        raise SyncError(f"processes of pod {full_name(pod)} are still alive")


def _kill_lost(context: NodeContext, pod: Obj) -> None:
    """Kill what runs in the group of a pod of which the runtime says that it is stopped.

    A runtime that died while it made a container may have forgotten it; the kubelet's pod
    container manager kills it by its group as well.
    """
    for pid in context.cgroups.processes(pod_group(pod)):
        log.warning("process without a container killed pod=%s pid=%d", full_name(pod), pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def delete_pod(context: NodeContext, pod: Obj) -> None:
    """Delete the object of a pod that has ended, and no other of its name.

    Raises:
        SyncError: the server did not do it; try again.

    """
    namespace, name = key_of(pod)
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid_of(pod)}}
    try:
        await context.client.delete(PODS, name, namespace, options=options)
    except (NotFoundError, ConflictError):
        return
    except StatusError as error:
        raise SyncError(f"pod not deleted: {error}") from None


async def remove_traces(context: NodeContext, pod: Obj, observed: Observed) -> None:
    """Remove sandboxes, dead containers and logs of a pod; raises SyncError."""
    await remove_sandboxes(context, observed)
    await context.volumes.remove_folder(log_directory(context.logs, pod))
