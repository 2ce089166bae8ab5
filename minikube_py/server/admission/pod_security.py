"""Pods keep to the standard that their namespace asks for by its labels.

A pod that violates the enforced level is refused. What violates the audit level is noted in the
audit log, what violates the warn level comes back as a warning; templates of workloads are held
to these two only, because it is their pods that are refused. The rules and texts are those of
upstream's `k8s.io/pod-security-admission/admission`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from minikube_py.api.apps import DAEMONSETS, DEPLOYMENTS, REPLICASETS, STATEFULSETS
from minikube_py.api.batch import CRONJOBS, JOBS
from minikube_py.api.core import NAMESPACES, PODS, PODTEMPLATES, REPLICATIONCONTROLLERS
from minikube_py.api.core.pod_resources import visit_containers
from minikube_py.api.errors import InternalError, InvalidError
from minikube_py.api.fields import FieldError, invalid_message, quote
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, labels_of
from minikube_py.api.pod_security import (
    LevelVersion,
    Policy,
    details,
    evaluate,
    policy_of,
    reasons,
)
from minikube_py.api.pod_security.checks import Violation
from minikube_py.api.pod_security.levels import MODES, PREFIX
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import Lister
from minikube_py.lib.clock import Clock
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.admission.pod_security_configuration import PodSecurityConfiguration
from minikube_py.server.attributes import Admission, AdmissionPlugin

TEMPLATES: Final[Mapping[Resource, str]] = {
    PODTEMPLATES: "template",
    REPLICATIONCONTROLLERS: "spec.template",
    REPLICASETS: "spec.template",
    DEPLOYMENTS: "spec.template",
    STATEFULSETS: "spec.template",
    DAEMONSETS: "spec.template",
    JOBS: "spec.template",
    CRONJOBS: "spec.jobTemplate.spec.template",
}
"""Where the workloads have their pods' template."""
IGNORED: Final = frozenset(
    {"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"}
)
"""Subresources of pods that cannot change what a pod may do."""
PODS_CHECKED_MAX: Final = 3000
SECONDS_MAX: Final = 1.0
"""How many pods of a namespace are looked at, and how long, when its labels change."""

SLICE: Final = 50
"""Pods that are looked at before others have their turn: some 5 ms."""


class PodSecurity(AdmissionPlugin):
    """Holds pods to the Pod Security Standards."""

    name = "PodSecurity"
    resources = (PODS, NAMESPACES, *TEMPLATES)

    def __init__(
        self,
        namespaces: Lister,
        pods: Lister,
        clock: Clock,
        configuration: PodSecurityConfiguration | None = None,
    ) -> None:
        self._namespaces = namespaces
        self._pods = pods
        self._clock = clock
        self._config = configuration or PodSecurityConfiguration()

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check a pod, a workload or the labels of a namespace."""
        if admission.operation not in ("CREATE", "UPDATE") or admission.obj is None:
            return ()
        if admission.resource is PODS:
            return self._pod(admission, admission.obj)
        if admission.subresource:
            return ()
        if admission.resource is NAMESPACES:
            return await self._namespace(admission, admission.obj)
        path = TEMPLATES.get(admission.resource)
        return self._workload(admission, path) if path is not None else ()

    # Namespaces

    async def _namespace(self, admission: Admission, namespace: Obj) -> Sequence[str]:
        """Refuse labels that mean nothing; warn of pods that a stricter level would refuse."""
        policy, errors = self._policy(namespace)
        if admission.old is None:
            if errors:
                raise _invalid(admission, namespace, errors)
            return self._exempt_warning(namespace, policy)
        old, old_errors = self._policy(admission.old)
        if errors and errors != old_errors:
            raise _invalid(admission, namespace, errors)
        if not _is_stricter(policy.enforce, old.enforce):
            return ()
        name = namespace["metadata"]["name"]
        if name in self._config.namespaces:
            return self._exempt_warning(namespace, policy)
        return await self._of_existing(name, policy.enforce)

    def _exempt_warning(self, namespace: Obj, policy: Policy) -> Sequence[str]:
        """Warn where labels are set that an exemption makes void."""
        name, labels = namespace["metadata"]["name"], labels_of(namespace)
        if name not in self._config.namespaces or policy.is_privileged:
            return ()
        if policy.is_equivalent(self._config.defaults):
            return ()
        said = ", ".join(
            f"{mode}={chosen}"
            for mode, chosen in zip(MODES, policy, strict=True)
            if chosen.level != "privileged"
            and (f"{PREFIX}{mode}" in labels or f"{PREFIX}{mode}-version" in labels)
        )
        text = f"is exempt from Pod Security, and the policy ({said}) will be ignored"
        return (f"namespace {quote(name)} {text}",)

    async def _of_existing(self, namespace: str, enforce: LevelVersion) -> list[str]:
        """Return warnings of pods that the level would refuse, one for each kind of violation."""
        pods = self._prioritised(namespace)
        found, checked = await self._violating(pods[:PODS_CHECKED_MAX], enforce)
        warnings: list[str] = []
        if checked < len(pods):
            warnings.append(
                "new PodSecurity enforce level only checked against the first "
                f"{checked} of {len(pods)} existing pods"
            )
        if found:
            level = quote(str(enforce))
            warnings.append(
                f"existing pods in namespace {quote(namespace)} violate the new PodSecurity "
                f"enforce level {level}"
            )
        return [*warnings, *sorted(f"{_some(names)}: {text}" for text, names in found.items())]

    async def _violating(
        self, items: Sequence[Item], enforce: LevelVersion
    ) -> tuple[dict[str, list[str]], int]:
        """Return the names of pods by what they violate, and how many there was time for."""
        found: dict[str, list[str]] = {}
        end = self._clock.monotonic() + SECONDS_MAX
        for number, item in enumerate(items, 1):
            pod = item.obj
            violations = evaluate(enforce, pod["metadata"], pod["spec"])
            if violations:
                found.setdefault(reasons(violations), []).append(item.key.name)
            if self._clock.monotonic() >= end:
                return found, number
            if number % SLICE == 0:
                await asyncio.sleep(0)  # others' turn
        return found, len(items)

    def _prioritised(self, namespace: str) -> list[Item]:
        """Return the pods of a namespace, of each controller's one before all its others."""
        first: list[Item] = []
        rest: list[Item] = []
        seen: set[str] = set()
        exempt = self._config.runtime_classes
        for item in self._pods.items(namespace):
            if exempt and get(item.obj, "spec.runtimeClassName") in exempt:
                continue
            (rest if item.controller in seen else first).append(item)
            if item.controller:
                seen.add(item.controller)
        return first + rest

    # Pods and workloads

    def _pod(self, admission: Admission, pod: Obj) -> Sequence[str]:
        if admission.subresource in IGNORED or self._is_exempt(admission):
            return ()
        namespace = self._namespaces.get(Key("", admission.namespace))
        if namespace is None:
            raise InternalError(f"failed to lookup namespace {quote(admission.namespace)}")
        policy, errors = self._policy(namespace)
        if not errors and policy.is_privileged:
            admission.annotations.add(f"{PREFIX}enforce-policy", str(policy.enforce))
            return ()
        if admission.old is not None and not is_significant(pod, admission.old):
            return ()
        subject = Subject(pod["metadata"], pod["spec"], policy, errors)
        return self._evaluate(admission, subject, enforces=True)

    def _workload(self, admission: Admission, path: str) -> Sequence[str]:
        if self._is_exempt(admission):
            return ()
        namespace = self._namespaces.get(Key("", admission.namespace))
        if namespace is None:
            text = f"failed to lookup namespace {quote(admission.namespace)}: namespace not found"
            admission.annotations.add(f"{PREFIX}error", text)
            return ()
        policy, errors = self._policy(namespace)
        if not errors and policy.warn.level == policy.audit.level == "privileged":
            return ()
        template = get(admission.obj, path)
        if template is None:
            return ()
        metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
        subject = Subject(metadata, spec, policy, errors)
        return self._evaluate(admission, subject, enforces=False)

    def _is_exempt(self, admission: Admission) -> bool:
        for name, exempt, why in (
            (admission.namespace, self._config.namespaces, "namespace"),
            (admission.user.name, self._config.usernames, "user"),
        ):
            if name in exempt:
                admission.annotations.add(f"{PREFIX}exempt", why)
                return True
        return False

    def _evaluate(
        self, admission: Admission, subject: "Subject", *, enforces: bool
    ) -> Sequence[str]:
        if get(subject.spec, "runtimeClassName") in self._config.runtime_classes:
            admission.annotations.add(f"{PREFIX}exempt", "runtimeClass")
            return ()
        note, policy = admission.annotations.add, subject.policy
        if subject.errors:
            note(f"{PREFIX}error", f"Failed to parse policy: {_aggregate(subject.errors)}")
        if enforces:
            note(f"{PREFIX}enforce-policy", str(policy.enforce))
        audited = subject.violations(policy.audit)
        if audited:
            note(f"{PREFIX}audit-violations", f"would violate {_broken(policy.audit, audited)}")
        if enforces and (refused := subject.violations(policy.enforce)):
            raise forbidden(admission, f"violates {_broken(policy.enforce, refused)}")
        warned = subject.violations(policy.warn)
        return (f"would violate {_broken(policy.warn, warned)}",) if warned else ()

    def _policy(self, namespace: Obj) -> tuple[Policy, list[FieldError]]:
        return policy_of(labels_of(namespace), self._config.defaults)


class Subject(NamedTuple):
    """A pod, or the pod of a template, and the policy that it is held to."""

    metadata: Obj
    spec: Obj
    policy: Policy
    errors: Sequence[FieldError]
    """What is wrong with the labels of its namespace."""

    def violations(self, policy: LevelVersion) -> list[Violation]:
        """Return what is wrong at a level."""
        return evaluate(policy, self.metadata, self.spec)


def _broken(policy: LevelVersion, violations: Sequence[Violation]) -> str:
    return f"PodSecurity {quote(str(policy))}: {details(violations)}"


def _is_stricter(new: LevelVersion, old: LevelVersion) -> bool:
    """Tell whether pods that were allowed may not be so any more."""
    if new == old or new.level == "privileged":
        return False
    return new.minor != old.minor or new.strictness > old.strictness


def _some(names: Sequence[str]) -> str:
    """Return the first of some pods and how many more there are."""
    others = len(names) - 1
    if not others:
        return names[0]
    return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''})"


def _invalid(admission: Admission, namespace: Obj, errors: Sequence[FieldError]) -> InvalidError:
    name = namespace["metadata"]["name"]
    return InvalidError(
        invalid_message(admission.resource.group_kind, name, errors),
        details={"name": name, "kind": admission.resource.kind},
        causes=[error.cause() for error in errors],
    )


def _aggregate(errors: Iterable[FieldError]) -> str:
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def is_significant(pod: Obj, old: Obj) -> bool:
    """Tell whether an update of a pod may change what it can do: images, more containers."""
    spec, before = pod["spec"], old["spec"]
    for group in ("containers", "initContainers"):
        if len(spec.get(group) or ()) != len(before.get(group) or ()):
            return True
    images = {(group, c.get("name")): c.get("image") for group, _, c in visit_containers(before)}
    return any(
        (group, c.get("name")) not in images or images[group, c.get("name")] != c.get("image")
        for group, _, c in visit_containers(spec)
    )
