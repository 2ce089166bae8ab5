"""What the kubelet reads in a pod: its containers by kind, and the rules that hang on its spec."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from minikube_py.api.core.stop_signals import LINUX
from minikube_py.api.object import Obj, get, uid_of

TERMINAL = frozenset({"Succeeded", "Failed"})
DEFAULT_GRACE_SECONDS = 30


class Spec(NamedTuple):
    """A container of a pod and which list it stands in."""

    container: Obj
    kind: str
    """containers, initContainers or ephemeralContainers."""

    @property
    def name(self) -> str:
        """The name of the container."""
        return str(self.container["name"])

    @property
    def field_path(self) -> str:
        """Where events about this container point."""
        return f"spec.{self.kind}{{{self.name}}}"

    @property
    def is_sidecar(self) -> bool:
        """An init container that is started in turn and then kept running."""
        return self.kind == "initContainers" and self.container.get("restartPolicy") == "Always"

    @property
    def is_init(self) -> bool:
        """An init container that must end before the next one begins."""
        return self.kind == "initContainers" and not self.is_sidecar


def specs_of(pod: Obj, kind: str) -> list[Spec]:
    """Return the containers of one list."""
    return [Spec(container, kind) for container in get(pod, f"spec.{kind}") or ()]


def all_specs(pod: Obj) -> Iterator[Spec]:
    """Yield every container of a pod: init, regular, ephemeral."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from specs_of(pod, kind)


def find_spec(pod: Obj, name: str) -> Spec | None:
    """Return the container of that name, or None."""
    return next((spec for spec in all_specs(pod) if spec.name == name), None)


def full_name(pod: Obj) -> str:
    """Return `name_namespace(uid)`, the form that messages have."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata.get('namespace', '')}({uid_of(pod)})"


def phase_of(pod: Obj) -> str:
    """Return the phase that the cluster knows."""
    return str(get(pod, "status.phase", "Pending"))


def is_host_network(pod: Obj) -> bool:
    """Tell whether the pod lives in the network of its node."""
    return bool(get(pod, "spec.hostNetwork", default=False))


def restart_policy(pod: Obj) -> str:
    """Return Always, OnFailure or Never."""
    return str(get(pod, "spec.restartPolicy", "Always"))


def may_restart(pod: Obj) -> bool:
    """Tell whether any failed container of the pod may come again."""
    policy = restart_policy(pod)
    return any(
        (spec.container.get("restartPolicy") or policy) != "Never"
        or bool(spec.container.get("restartPolicyRules"))
        for spec in specs_of(pod, "containers")
    )


RESTART_ALL = "RestartAllContainers"
"""The action of a restart rule that has the whole pod begin anew, in the sandbox that it has."""


def restart_action(container: Obj, exit_code: int) -> str:
    """Return what the first restart rule that matches asks for, "" where none does."""
    if not container.get("restartPolicy"):
        return ""
    rules = container.get("restartPolicyRules") or ()
    for rule in rules:
        if _matches(rule.get("exitCodes") or {}, exit_code):
            return str(rule.get("action", ""))
    return ""


def has_restart_all(pod: Obj) -> bool:
    """Tell whether the end of some container may have the whole pod begin anew."""
    return any(
        rule.get("action") == RESTART_ALL
        for spec in all_specs(pod)
        for rule in spec.container.get("restartPolicyRules") or ()
    )


def restarts(container: Obj, pod: Obj, exit_code: int) -> bool:
    """Tell whether a container that ended like this is to run again.

    A policy of the container's own goes before that of its pod, and its rules before both.
    """
    if restart_action(container, exit_code):
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _matches(rule: Obj, exit_code: int) -> bool:
    inside = exit_code in (rule.get("values") or ())
    return inside if rule.get("operator") == "In" else not inside


def container_hash(container: Obj) -> str:
    """Return what tells whether a running container is still the one of the spec.

    Name and image alone, as upstream: all else of a container is immutable or changed in place.
    """
    fields = {"name": container.get("name"), "image": container.get("image")}
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()[:8]


def grace_seconds(pod: Obj) -> int:
    """Return how long the containers of the pod have to end by themselves."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if deletion is not None:
        return max(int(deletion), 0)
    return int(get(pod, "spec.terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))


def stop_signal(pod: Obj, container: Obj) -> str:
    """Return the signal that ends a container, "" for the one of its image.

    A pod that names one has to say for which system; else the name counts for nothing.
    """
    name = str(get(container, "lifecycle.stopSignal", ""))
    return name if name in LINUX and get(pod, "spec.os.name") == "linux" else ""


def volumes_of(pod: Obj) -> Sequence[Obj]:
    """Return the volumes of the pod."""
    volumes: Sequence[Obj] = get(pod, "spec.volumes") or ()
    return volumes


def reference(pod: Obj) -> dict[str, Any]:
    """Return as much of the pod as an event needs, without its spec."""
    metadata = pod["metadata"]
    keep = ("name", "namespace", "uid", "resourceVersion")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: metadata[key] for key in keep if key in metadata},
    }
