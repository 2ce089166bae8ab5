"""Checks of containers: regular ones, init containers and ephemeral ones."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from minikube_py.api import names
from minikube_py.api.core.pod_validation_env import validate_env, validate_env_from
from minikube_py.api.core.pod_validation_mounts import validate_devices, validate_mounts
from minikube_py.api.core.pod_validation_probes import validate_lifecycle, validate_probes
from minikube_py.api.core.pod_validation_security import validate_container_security
from minikube_py.api.core.pod_validation_volumes import Volumes
from minikube_py.api.core.resources import validate_requirements
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

PULL_POLICIES: Final = frozenset({"Always", "IfNotPresent", "Never"})
PROTOCOLS: Final = frozenset({"TCP", "UDP", "SCTP"})
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_RESIZABLE: Final = frozenset({"cpu", "memory"})
_RESIZE_POLICIES: Final = frozenset({"NotRequired", "RestartContainer"})
_RESTART_POLICIES: Final = frozenset({"Always", "Never", "OnFailure"})
_RESTARTS: Final = frozenset({"restartPolicy", "restartPolicyRules"})
_RULE_ACTIONS: Final = frozenset({"Restart", "RestartAllContainers"})
_RULE_OPERATORS: Final = frozenset({"In", "NotIn"})
_RULES_MAX: Final = 20
_EXIT_CODES_MAX: Final = 255
_ONLY_SIDECARS: Final = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL: Final = "cannot be set for an Ephemeral Container"
_POINTERS: Final = frozenset({"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"})
"""Fields that count as set even where they are empty."""
_FORBIDDEN_IN_EPHEMERAL: Final = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


class Surroundings(NamedTuple):
    """What the checks of a container need to know of its pod."""

    spec: Obj
    volumes: Volumes
    claims: Collection[str]
    """Names of the pod's resource claims."""
    host_users: bool
    """The pod runs in the user namespace of the host, which is the default."""
    allow_indivisible: bool = False
    """An older object says nonsense of huge pages; let it."""


def validate_containers(
    containers: Sequence[Obj], pod: Surroundings, path: Field
) -> Iterator[FieldError]:
    """Report what is wrong with the regular containers of a pod."""
    if not containers:
        yield path.required()
        return
    seen: set[str] = set()
    ports: set[str] = set()
    conflicts: list[FieldError] = []
    grace = pod.spec.get("terminationGracePeriodSeconds")
    for index, container in enumerate(containers):
        at = path[index]
        yield from _validate_common(container, pod, at)
        name = container.get("name") or ""
        if name in seen:
            yield (at / "name").duplicate(name)
        seen.add(name)
        if (lifecycle := container.get("lifecycle")) is not None:
            yield from validate_lifecycle(lifecycle, grace, at / "lifecycle")
        yield from validate_probes(container, at)
        if not _RESTARTS.isdisjoint(container):
            yield from _validate_restart(container, at)
        if container.get("ports"):
            conflicts += _host_port_conflicts(container, ports, at)
    yield from conflicts


def validate_init_containers(
    containers: Sequence[Obj], pod: Surroundings, path: Field
) -> Iterator[FieldError]:
    """Report what is wrong with init containers, sidecars among them."""
    seen = {container.get("name") or "" for container in pod.spec.get("containers") or ()}
    for index, container in enumerate(containers):
        at = path[index]
        yield from _validate_common(container, pod, at)
        if not _RESTARTS.isdisjoint(container):
            yield from _validate_restart(container, at)
        name = container.get("name") or ""
        if name in seen:
            yield (at / "name").duplicate(name)
        elif name:
            seen.add(name)
        # Init containers run one by one; upstream counts each as the first of a list of its own.
        yield from _host_port_conflicts(container, set(), path[0])
        yield from _validate_init_parts(container, pod, at)


def _validate_init_parts(container: Obj, pod: Surroundings, path: Field) -> Iterator[FieldError]:
    if container.get("restartPolicy") == "Always":
        if (lifecycle := container.get("lifecycle")) is not None:
            grace = pod.spec.get("terminationGracePeriodSeconds")
            yield from validate_lifecycle(lifecycle, grace, path / "lifecycle")
        yield from validate_probes(container, path)
        return
    for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is not None:
            yield (path / key).forbidden(_ONLY_SIDECARS)
    for index, policy in enumerate(container.get("resizePolicy") or ()):
        restart = policy.get("restartPolicy")
        if restart == "RestartContainer":
            yield ((path / "resizePolicy")[index] / "restartPolicy").invalid(
                restart, "must not be set to 'RestartContainer' for non-sidecar initContainers"
            )


def validate_ephemeral_containers(
    containers: Sequence[Obj], pod: Surroundings, path: Field
) -> Iterator[FieldError]:
    """Report what is wrong with ephemeral containers."""
    others = {
        container.get("name") or ""
        for key in ("containers", "initContainers")
        for container in pod.spec.get(key) or ()
    }
    seen = set(others)
    for index, container in enumerate(containers):
        at = path[index]
        yield from _validate_common(container, pod, at)
        yield from validate_image_spacing(container, at)
        name = container.get("name") or ""
        if name in seen:
            yield (at / "name").duplicate(name)
        seen.add(name)
        target = container.get("targetContainerName")
        if target and target not in others:
            yield (at / "targetContainerName").not_found(target)
        yield from _validate_ephemeral_parts(container, at)


def _validate_ephemeral_parts(container: Obj, path: Field) -> Iterator[FieldError]:
    for key in _FORBIDDEN_IN_EPHEMERAL:
        if container.get(key) or (key in _POINTERS and container.get(key) is not None):
            yield (path / key).forbidden(_NOT_EPHEMERAL)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        for key in ("subPath", "subPathExpr"):
            if mount.get(key):
                yield ((path / "volumeMounts")[index] / key).forbidden(_NOT_EPHEMERAL)


def validate_image_spacing(container: Obj, path: Field) -> Iterator[FieldError]:
    """Report spaces around the image, which only templates may have."""
    image = container.get("image") or ""
    if image != image.strip():
        yield (path / "image").invalid(image, "must not have leading or trailing whitespace")


def _validate_common(container: Obj, pod: Surroundings, path: Field) -> Iterator[FieldError]:
    yield from _validate_basics(container, path)
    for key, check in _LISTS:
        if items := container.get(key):
            yield from check(items, path / key)
    if container.get("volumeMounts"):
        yield from validate_mounts(container, pod.volumes, path / "volumeMounts")
    if container.get("volumeDevices"):
        yield from validate_devices(container, pod.volumes, path / "volumeDevices")
    yield from validate_pull_policy(container.get("imagePullPolicy"), path)
    if resources := container.get("resources"):
        yield from validate_requirements(
            resources,
            path / "resources",
            claims=pod.claims,
            allow_indivisible=pod.allow_indivisible,
        )
    if policies := container.get("resizePolicy"):
        yield from _validate_resize(policies, pod.spec, path / "resizePolicy")
    if (security := container.get("securityContext")) is not None:
        yield from validate_container_security(
            security, path / "securityContext", host_users=pod.host_users
        )


def _validate_basics(container: Obj, path: Field) -> Iterator[FieldError]:
    name = container.get("name") or ""
    if not name:
        yield (path / "name").required()
    elif messages := names.dns1123_label(name):
        for message in messages:
            yield (path / "name").invalid(name, message)
    if not container.get("image"):
        yield (path / "image").required()
    policy = container.get("terminationMessagePolicy") or ""
    if not policy:
        yield (path / "terminationMessagePolicy").required()
    elif policy not in _MESSAGE_POLICIES:
        yield (path / "terminationMessagePolicy").unsupported(policy, _MESSAGE_POLICIES)


def validate_pull_policy(policy: str | None, path: Field) -> Iterable[FieldError]:
    """Report when to pull an image in words that there are not; `path` is the container's."""
    if policy in PULL_POLICIES:
        return ()
    at = path / "imagePullPolicy"
    return (at.unsupported(policy, PULL_POLICIES) if policy else at.required(),)


def _validate_ports(ports: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        if name := port.get("name"):
            messages = names.port_name(name)
            for message in messages:
                yield (path[index] / "name").invalid(name, message)
            if not messages and name in seen:
                yield (path[index] / "name").duplicate(name)
            elif not messages:
                seen.add(name)
        number, sound = port.get("containerPort") or 0, port.get("protocol") in PROTOCOLS
        if not (sound and 0 < number < 65536) or "hostPort" in port:
            yield from _validate_port(port, path[index])


def _validate_port(port: Obj, path: Field) -> Iterator[FieldError]:
    number, host_port = port.get("containerPort") or 0, port.get("hostPort") or 0
    if not number:
        yield (path / "containerPort").required()
    elif messages := names.port_number(number):
        yield (path / "containerPort").invalid(number, messages[0])
    if host_port and (messages := names.port_number(host_port)):
        yield (path / "hostPort").invalid(host_port, messages[0])
    protocol = port.get("protocol") or ""
    if not protocol:
        yield (path / "protocol").required()
    elif protocol not in PROTOCOLS:
        yield (path / "protocol").unsupported(protocol, PROTOCOLS)


def _host_port_conflicts(container: Obj, seen: set[str], path: Field) -> Iterator[FieldError]:
    for index, port in enumerate(container.get("ports") or ()):
        if not port.get("hostPort"):
            continue
        key = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{port['hostPort']}"
        if key in seen:
            yield ((path / "ports")[index] / "hostPort").duplicate(key)
        seen.add(key)


def _validate_resize(policies: Sequence[Obj], spec: Obj, path: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            yield path[index].duplicate(resource)
        seen.add(resource)
        for value, choices in ((resource, _RESIZABLE), (restart, _RESIZE_POLICIES)):
            if not value:
                yield path.required()
            elif value not in choices:
                yield path.unsupported(value, choices)
        if spec.get("restartPolicy") == "Never" and restart != "NotRequired":
            yield path.invalid(restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")


def _validate_restart(container: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with when a container is started again (ContainerRestartRules)."""
    policy: str | None = container.get("restartPolicy")
    rules: Sequence[Obj] = container.get("restartPolicyRules") or ()
    if policy is None:
        if rules:
            yield (path / "restartPolicy").required(
                "must specify restartPolicy when restart rules are used"
            )
    elif policy not in _RESTART_POLICIES:
        yield (path / "restartPolicy").unsupported(policy, _RESTART_POLICIES)
    if len(rules) > _RULES_MAX:
        yield (path / "restartPolicyRules").too_many(len(rules), _RULES_MAX)
    for index, rule in enumerate(rules):
        yield from _validate_rule(rule, (path / "restartPolicyRules")[index])


def _validate_rule(rule: Obj, path: Field) -> Iterator[FieldError]:
    action, codes = rule.get("action") or "", rule.get("exitCodes")
    if action not in _RULE_ACTIONS:
        yield (path / "action").unsupported(action, _RULE_ACTIONS)
    if codes is None:
        yield (path / "exitCodes").required("must be specified")
        return
    operator, values = codes.get("operator") or "", codes.get("values") or ()
    if operator not in _RULE_OPERATORS:
        yield (path / "exitCodes" / "operator").unsupported(operator, _RULE_OPERATORS)
    if len(values) > _EXIT_CODES_MAX:
        yield (path / "exitCodes" / "values").too_many(len(values), _EXIT_CODES_MAX)


_LISTS: Final = (
    ("ports", _validate_ports),
    ("env", validate_env),
    ("envFrom", validate_env_from),
)
