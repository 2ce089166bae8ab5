"""A pod's runtime class says what running it costs beside its containers, and where it can run.

The texts are those of upstream's `plugin/pkg/admission/runtimeclass`.
"""

from collections.abc import Sequence
from typing import Any, Final

from minikube_py.api.core import PODS
from minikube_py.api.core.quota import amounts
from minikube_py.api.fields import quote
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin

MISMATCH: Final = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
UNFOUNDED: Final = (
    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
)


class RuntimeClass(AdmissionPlugin):
    """Fills in overhead, node selector and tolerations of a pod's runtime class."""

    name = "RuntimeClass"
    resources = (PODS,)

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def admit(self, admission: Admission) -> Obj | None:
        """Complete a new pod."""
        pod = admission.obj
        if pod is None or not _is_new_pod(admission):
            return pod
        found = self._class_of(admission, pod)
        if found is None:
            return pod
        spec = {**pod["spec"], **_scheduling(admission, pod["spec"], found)}
        if found.get("overhead") is not None:
            fixed = get(found, "overhead.podFixed")
            given = spec.get("overhead")
            if given is not None and amounts(given) != amounts(fixed):
                raise forbidden(admission, MISMATCH)
            if fixed is not None:
                spec["overhead"] = fixed
        return {**pod, "spec": spec}

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Refuse an overhead that is not the class's."""
        pod = admission.obj
        if pod is None or not _is_new_pod(admission):
            return ()
        found, given = self._class_of(admission, pod), get(pod, "spec.overhead")
        if found is not None and found.get("overhead") is not None:
            if amounts(get(found, "overhead.podFixed")) != amounts(given):
                raise forbidden(admission, MISMATCH)
        elif given is not None:
            raise forbidden(admission, UNFOUNDED)
        return ()

    def _class_of(self, admission: Admission, pod: Obj) -> Obj | None:
        name = get(pod, "spec.runtimeClassName")
        if name is None:
            return None
        found = self._classes.get(Key("", name))
        if found is None:
            raise forbidden(admission, f"pod rejected: RuntimeClass {quote(name)} not found")
        return found


def _is_new_pod(admission: Admission) -> bool:
    return (
        admission.resource is PODS and admission.operation == "CREATE" and not admission.subresource
    )


def _scheduling(admission: Admission, spec: Obj, found: Obj) -> dict[str, Any]:
    """Return what the class changes of where the pod may run."""
    scheduling = found.get("scheduling")
    if scheduling is None:
        return {}
    wanted: Obj = scheduling.get("nodeSelector") or {}
    given: Obj = spec.get("nodeSelector") or {}
    for key, value in sorted(wanted.items()):
        if key in given and given[key] != value:
            raise forbidden(
                admission,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {given[key]}",
            )
    changed: dict[str, Any] = {}
    if wanted:
        changed["nodeSelector"] = {**given, **wanted}
    tolerations = merged(spec.get("tolerations") or (), scheduling.get("tolerations") or ())
    if tolerations:
        changed["tolerations"] = tolerations
    return changed


def merged(first: Sequence[Obj], second: Sequence[Obj]) -> list[Obj]:
    """Return the tolerations of both without those that another one includes.

    Of equal ones the first stays (upstream's `MergeTolerations`).
    """
    everything = [*first, *second]
    kept: list[Obj] = []
    for index, toleration in enumerate(everything):
        later = everything[index + 1 :]
        if any(_includes(other, toleration) for other in kept):
            continue
        if any(other != toleration and _includes(other, toleration) for other in later):
            continue
        kept.append(toleration)
    return kept


def _includes(wide: Obj, narrow: Obj) -> bool:
    """Tell whether one toleration tolerates all that another does, for at least as long."""
    if wide == narrow:
        return True
    exists = wide.get("operator") == "Exists"
    any_key = exists and not wide.get("key")
    if not any_key and wide.get("key", "") != narrow.get("key", ""):
        return False
    if wide.get("effect") and wide.get("effect") != narrow.get("effect"):
        return False
    if wide.get("effect") == "NoExecute" and not _as_long(wide, narrow):
        return False
    if wide.get("operator", "Equal") in ("", "Equal"):
        same = narrow.get("operator", "Equal") in ("", "Equal")
        return same and wide.get("value", "") == narrow.get("value", "")
    return exists


def _as_long(wide: Obj, narrow: Obj) -> bool:
    seconds, other = wide.get("tolerationSeconds"), narrow.get("tolerationSeconds")
    return seconds is None or (other is not None and seconds >= other)
