"""Carries out the actions of a plan, one after the other, for one pod.

What a container needs is put together here from what was fetched: image, environment, mounts,
security; the decisions themselves are made in the pure modules beside this one.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet import sync_pod
from minikube_py.agent.kubelet.backoff import go_duration
from minikube_py.agent.kubelet.config import (
    Start,
    container_config,
    log_directory,
    sandbox_config,
)
from minikube_py.agent.kubelet.dns import HostnameError, pod_resolver, sandbox_hostname
from minikube_py.agent.kubelet.env import (
    EnvError,
    EnvSources,
    environment,
    service_variables,
    visible_services,
)
from minikube_py.agent.kubelet.errors import StartRefusedError, SyncError
from minikube_py.agent.kubelet.hooks import HookError, run_hook
from minikube_py.agent.kubelet.images import PullRequest
from minikube_py.agent.kubelet.kubelet_metrics import (
    container_start,
    pod_start,
    sandbox_start,
)
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.pod import (
    Spec,
    container_hash,
    find_spec,
    full_name,
    specs_of,
)
from minikube_py.agent.kubelet.pod_mounts import ContainerFiles
from minikube_py.agent.kubelet.references import Ref
from minikube_py.agent.kubelet.security import SecurityError
from minikube_py.agent.kubelet.termination import (
    Stop,
    grace_of,
    stop_all,
    stop_container,
    stop_pod,
)
from minikube_py.agent.kubelet.user_namespaces import UserNamespaceError
from minikube_py.agent.kubelet.volumes.images import images_of
from minikube_py.agent.kubelet.volumes.payload import VolumeError, decoded
from minikube_py.api.errors import ServiceUnavailableError, StatusError
from minikube_py.api.node import RUNTIMECLASSES
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.lib.tasks import unless

log = logging.getLogger(__name__)


class Executor:
    """Acts for one pod as it was at one moment."""

    def __init__(
        self,
        context: NodeContext,
        pod: Obj,
        observed: Observed,
        volumes: Mapping[str, Path],
        stopping: asyncio.Event,
    ) -> None:
        """Take the pod; `stopping` cuts short what may take long: pulls, hooks, grace periods.

        What the runtime has begun is never abandoned half-way, so that no container is made that
        nobody knows of.
        """
        self._context = context
        self._pod = pod
        self._observed = observed
        self._volumes = volumes
        self._stopping = stopping

    @property
    def _host(self) -> str:
        return next(iter(self._ips), "")

    @property
    def _ips(self) -> tuple[str, ...]:
        if get(self._pod, "spec.hostNetwork"):
            return tuple(self._context.host_ips)
        return self._observed.ips

    async def act(self, action: sync_pod.Action) -> None:
        """Carry out one action.

        Raises:
            StartRefusedError: a container cannot be started now; the others may.
            SyncError: the pod cannot go on now.
            StoppedError: the pod is to end.

        """
        match action:
            case sync_pod.StopPod() | sync_pod.StopAll():
                await self._stop_together(with_sandbox=isinstance(action, sync_pod.StopPod))
            case sync_pod.BeginAnew():
                await self._begin_anew(action.name)
            case sync_pod.RunSandbox():
                with pod_start(self._context.tallies):
                    await self._run_sandbox(action)
            case sync_pod.StopContainer():
                await self._stop(action)
            case sync_pod.StartContainer():
                spec = find_spec(self._pod, action.name)
                if spec is not None:
                    kind = "init_container" if spec.is_init else "container"
                    with container_start(self._context.tallies, kind):
                        await self._start(spec, action.restart_count)
            case sync_pod.RemoveContainer():
                await self._remove(action.container_id)

    async def _stop_together(self, *, with_sandbox: bool) -> None:
        context, pod, observed = self._context, self._pod, self._observed
        grace = grace_of(pod, None, "")
        if with_sandbox:
            work = stop_pod(context, pod, observed, grace)
        else:
            stop = Stop(grace, self._host, hooks=False)
            work = stop_all(context, pod, observed.running, stop)
        await unless(self._stopping, "stop pod", work)

    # --- sandbox ---

    def _sandbox_config(self, attempt: int, handler: str) -> dict[str, Any]:
        context = self._context
        try:
            hostname = sandbox_hostname(self._pod, context.cluster_domain)
        except HostnameError as error:
            raise SyncError(str(error), "FailedCreatePodSandBox") from None
        resolver = pod_resolver(
            self._pod, context.resolver(), context.cluster_dns, context.cluster_domain
        )
        return sandbox_config(
            self._pod, attempt, hostname, resolver, context.logs, self._users(handler)
        )

    def _users(self, handler: str) -> dict[str, Any] | None:
        """Return the UserNamespace of the pod, None for the node's; raises SyncError."""
        context = self._context
        try:
            return context.user_namespaces.of(self._pod, context.runtime_status(), handler)
        except UserNamespaceError as error:
            message = f"Failed to create pod sandbox: {error}"
            raise SyncError(message, "FailedCreatePodSandBox") from None

    async def _addresses(self, sandbox: str) -> Sequence[str]:
        return (await self._context.runtime.sandbox_status(sandbox)).ips

    async def _run_sandbox(self, action: sync_pod.RunSandbox) -> None:
        context, pod = self._context, self._pod
        if action.replaces:
            context.tell(
                pod,
                "Normal",
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            )
        await context.assignments.prepare(pod)
        handler = await self._runtime_handler()
        config = self._sandbox_config(action.attempt, handler)
        log_directory(context.logs, pod).mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            async with context.starts:
                with sandbox_start(context.tallies, context.clock, handler):
                    sandbox = await context.runtime.run_sandbox(config, handler)
            await context.isolate(pod, lambda: self._addresses(sandbox))
        except CriError as error:
            raise SyncError(
                f"Failed to create pod sandbox: {error.as_go_says}", "FailedCreatePodSandBox"
            ) from None
        log.info("sandbox started pod=%s attempt=%d", full_name(pod), action.attempt)

    async def _runtime_handler(self) -> str:
        """Return the name under which the runtime knows the pod's runtime class."""
        name = get(self._pod, "spec.runtimeClassName")
        if not name:
            return ""
        handlers = self._context.handlers
        try:
            found = await self._context.client.get(RUNTIMECLASSES, name)
        except StatusError as error:
            if isinstance(error, ServiceUnavailableError) and name in handlers:
                return handlers[name]  # a class never changes its handler
            message = f"failed to get sandbox runtime: {error}"
            raise SyncError(
                f"Failed to create pod sandbox: {message}", "FailedCreatePodSandBox"
            ) from None
        handlers[name] = str(found.get("handler", ""))
        return handlers[name]

    # --- containers ---

    async def _stop(self, action: sync_pod.StopContainer) -> None:
        container = next(
            (c for c in self._observed.containers if c.id == action.container_id), None
        )
        if container is None:
            return
        grace = grace_of(self._pod, find_spec(self._pod, action.name), action.reason)
        stop = Stop(grace, self._host)
        work = stop_container(self._context, self._pod, container, stop, message=action.message)
        await unless(self._stopping, "stop container", work)

    async def _remove(self, container_id: str) -> None:
        try:
            await self._context.runtime.remove_container(container_id)
        except CriError as error:
            raise SyncError(f"container not removed: {error}") from None

    async def _begin_anew(self, name: str) -> None:
        """Forget all dead containers, last the one that has the pod begin anew."""
        spec = find_spec(self._pod, name)
        if spec is not None:
            self._check_backoff(spec)
        ephemeral = {one.name for one in specs_of(self._pod, "ephemeralContainers")}
        dead = [one for one in self._observed.containers if one.name not in ephemeral]
        for container in sorted(dead, key=lambda one: (one.name == name, one.created_at)):
            await self._remove(container.id)

    def is_init(self, name: str) -> bool:
        """Tell whether others wait for the end of that container."""
        spec = find_spec(self._pod, name)
        return spec is not None and spec.is_init

    def _check_backoff(self, spec: Spec) -> None:
        """Refuse a container that ended a short while ago, longer each time."""
        context = self._context
        latest = self._observed.latest(spec.name)
        if latest is None or latest.state != "exited":
            return
        key = f"{uid_of(self._pod)}_{spec.name}_{container_hash(spec.container)}"
        ago = context.clock.now().timestamp() - latest.finished_at / 1e9
        ended = context.clock.monotonic() - max(ago, 0.0)
        if context.crashes.remaining(key, ended) > 0:
            wait = go_duration(context.crashes.seconds(key))
            name = full_name(self._pod)
            message = f"Back-off restarting failed container {spec.name} in pod {name}"
            context.tell_container(self._pod, spec, "Warning", "BackOff", message)
            raise StartRefusedError(
                "CrashLoopBackOff",
                f"back-off {wait} restarting failed container={spec.name} pod={name}",
            )
        context.crashes.next(key, ended)

    def retry_at(self, name: str, reason: str) -> float:
        """Return when (monotonic) a refused container is worth another try."""
        context, spec = self._context, find_spec(self._pod, name)
        if spec is None:
            return 0.0
        if reason in ("ErrImagePull", "ImagePullBackOff"):
            return context.images.retry_at(self._pod, spec.container)
        latest = self._observed.latest(name)
        now = context.clock.monotonic()
        if reason != "CrashLoopBackOff" or latest is None:
            return now + 10.0  # a wrong configuration is looked at again, as upstream does
        key = f"{uid_of(self._pod)}_{name}_{container_hash(spec.container)}"
        ago = context.clock.now().timestamp() - latest.finished_at / 1e9
        return now + context.crashes.remaining(key, now - max(ago, 0.0))

    async def _start(self, spec: Spec, restart_count: int) -> None:
        """Pull, create, start: the life of a container up to its postStart hook."""
        context, pod = self._context, self._pod
        self._check_backoff(spec)
        sandbox = self._observed.sandbox
        if sandbox is None:
            return
        handler = await self._runtime_handler()
        config = self._sandbox_config(sandbox.attempt, handler)
        request = PullRequest(
            pod=pod, container=spec.container, secrets=self._secrets(), sandbox_config=config
        )
        try:
            work = context.images.ensure(
                request,
                lambda kind, why, text: context.tell_container(pod, spec, kind, why, text),
            )
            image = await unless(self._stopping, "image", work)
        except StartRefusedError as error:
            context.tell_container(pod, spec, "Warning", "Failed", f"Error: {error.reason}")
            raise
        await self._show_images(spec)
        count = restart_count or next_log(log_directory(context.logs, pod) / spec.name)
        start = await self._prepare(spec, count, image, handler)
        container_id = await self._create(spec, start, sandbox.id, config)
        await self._run(spec, container_id)
        hook = get(spec.container, "lifecycle.postStart")
        if hook:
            await self._post_start(spec, container_id, hook)

    async def _show_images(self, spec: Spec) -> None:
        """Have the images that the container mounts as volumes; raises StartRefusedError."""
        context, pod = self._context, self._pod
        for name, source in images_of(pod, spec.container):
            wanted = {
                "image": source.get("reference", ""),
                "imagePullPolicy": source.get("pullPolicy"),
            }
            request = PullRequest(
                pod=pod, container=wanted, secrets=self._secrets(), sandbox_config={}
            )
            work = context.images.ensure(
                request,
                lambda kind, why, text: context.tell_container(pod, spec, kind, why, text),
            )
            image = await unless(self._stopping, "image volume", work)
            try:
                await context.image_volumes.show(pod, name, image.id, self._volumes[name])
            except VolumeError as error:
                raise self._refused(spec, "CreateContainerError", str(error)) from None

    def _secrets(self) -> list[Obj]:
        namespace = self._pod["metadata"].get("namespace", "")
        names = [ref.get("name", "") for ref in get(self._pod, "spec.imagePullSecrets") or ()]
        found = (self._context.references.get(Ref("secrets", namespace, name)) for name in names)
        return [secret for secret in found if secret is not None]

    async def _prepare(self, spec: Spec, restart_count: int, image: Any, handler: str) -> Start:
        try:
            extras = await self._context.assignments.extras(self._pod, spec)
        except StartRefusedError as error:
            raise self._refused(spec, error.reason, error.message) from None
        try:
            own = environment(self._pod, spec.container, self._env_sources())
            env = {**extras.env, **own}
            files = self._files(spec, restart_count, env, handler)
            mounts, devices = files.mounts(), files.devices()
        except (EnvError, VolumeError, OSError) as error:
            raise self._refused(spec, "CreateContainerConfigError", str(error)) from None
        target = str(spec.container.get("targetContainerName") or "")
        latest = self._observed.latest(target) if target else None
        return Start(
            restart_count=restart_count,
            image=image,
            env=env,
            mounts=mounts,
            devices=devices,
            target=latest.id if latest is not None else "",
            users=self._users(handler),
            extras=extras,
        )

    def _refused(self, spec: Spec, reason: str, message: str) -> StartRefusedError:
        self._context.tell_container(self._pod, spec, "Warning", "Failed", f"Error: {message}")
        return StartRefusedError(reason, message)

    def _env_sources(self) -> EnvSources:
        context, pod = self._context, self._pod
        namespace = pod["metadata"].get("namespace", "")
        links = get(pod, "spec.enableServiceLinks", default=True)
        services = visible_services(context.services(), namespace, links=bool(links))

        def secret(name: str) -> dict[str, bytes] | None:
            found = context.references.get(Ref("secrets", namespace, name))
            return None if found is None else decoded(found)

        return EnvSources(
            config_map=lambda name: context.references.get(Ref("configmaps", namespace, name)),
            secret=secret,
            fields=runtime_fields(self._ips, context.host_ips),
            allocatable=context.allocatable,
            services=service_variables(services),
            volumes=self._volumes,
        )

    def _files(
        self, spec: Spec, restart_count: int, env: Mapping[str, str], handler: str
    ) -> ContainerFiles:
        context = self._context
        folder = context.volumes.prepare(uid_of(self._pod))
        logs = log_directory(context.logs, self._pod) / spec.name
        logs.mkdir(mode=0o755, parents=True, exist_ok=True)
        return ContainerFiles(
            pod=self._pod,
            spec=spec,
            folder=folder,
            volumes=self._volumes,
            env=env,
            ips=self._ips,
            domain=context.cluster_domain,
            attempt=restart_count,
            recursive_read_only=context.runtime_status().can(handler).recursive_read_only,
        )

    async def _create(
        self, spec: Spec, start: Start, sandbox_id: str, sandbox: Mapping[str, Any]
    ) -> str:
        context, pod = self._context, self._pod
        try:
            config = container_config(pod, spec.container, start, context.machine)
        except SecurityError as error:
            raise self._refused(spec, "CreateContainerConfigError", str(error)) from None
        try:
            async with context.starts:
                created = await context.runtime.create_container(sandbox_id, config, sandbox)
        except CriError as error:
            raise self._refused(spec, "CreateContainerError", error.message) from None
        context.assignments.created(created, start.extras)
        context.tell_container(pod, spec, "Normal", "Created", "Container created")
        return created

    async def _run(self, spec: Spec, container_id: str) -> None:
        context, pod = self._context, self._pod
        try:
            async with context.starts:
                await context.runtime.start_container(container_id)
        except CriError as error:
            raise self._refused(spec, "RunContainerError", error.message) from None
        context.tell_container(pod, spec, "Normal", "Started", "Container started")
        log.info("container started pod=%s container=%s", full_name(pod), spec.name)

    async def _post_start(self, spec: Spec, container_id: str, hook: Obj) -> None:
        context, pod = self._context, self._pod
        try:
            work = run_hook(context.runtime, spec.container, container_id, hook, self._host)
            await unless(self._stopping, "postStart hook", work)
        except HookError as error:
            log.info("postStart hook failed pod=%s error=%s", full_name(pod), error)
            context.tell_container(
                pod, spec, "Warning", "FailedPostStartHook", "PostStartHook failed"
            )
            container = Container(id=container_id, name=spec.name, state="running")
            stop = Stop(grace_of(pod, spec, ""), self._host)
            await stop_container(context, pod, container, stop, message="FailedPostStartHook")
            raise StartRefusedError("PostStartHookError", "PostStartHook failed") from None


def next_log(folder: Path) -> int:
    """Return one more than the highest number of the logs in a folder, 0 where there are none.

    So a container of which the runtime knows nothing any more counts on where it was, and writes
    over no log.
    """
    try:
        heads = [log.name.partition(".log")[0] for log in folder.iterdir()]
    except FileNotFoundError:
        return 0
    return max((int(head) + 1 for head in heads if head.isdigit()), default=0)


def runtime_fields(ips: tuple[str, ...], host_ips: Any) -> dict[str, Any]:
    """Return the fields that a container is told before they stand in the pod's status."""
    return {
        "status.podIP": next(iter(ips), ""),
        "status.podIPs": list(ips),
        "status.hostIP": next(iter(host_ips), ""),
        "status.hostIPs": list(host_ips),
    }
