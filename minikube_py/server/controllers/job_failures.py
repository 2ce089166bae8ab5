"""What a failed pod means for its job: the rules of podFailurePolicy, the first that matches."""

from collections.abc import Iterator
from typing import NamedTuple

from minikube_py.api.object import Obj, condition_of, get, key_of
from minikube_py.server.controllers.pods import phase_of


class Match(NamedTuple):
    """A rule that means a failed pod, and why."""

    action: str
    """FailJob, Ignore, Count or FailIndex."""
    message: str


def match(job: Obj, pod: Obj) -> Match | None:
    """Return the first rule that means the pod; None where none does or the pod has not failed."""
    if phase_of(pod) != "Failed":
        return None
    for number, rule in enumerate(get(job, "spec.podFailurePolicy.rules", ())):
        why = _why(rule, pod)
        if why is not None:
            action = rule["action"]
            return Match(action, f"{why} matching {action} rule at index {number}")
    return None


def action_for(job: Obj, pod: Obj) -> str:
    """Return what is to be done about a failed pod; without a rule it counts."""
    found = match(job, pod)
    return found.action if found is not None else "Count"


def _why(rule: Obj, pod: Obj) -> str | None:
    if rule.get("onExitCodes"):
        return next(_by_exit_code(rule["onExitCodes"], pod), None)
    for pattern in rule.get("onPodConditions") or ():
        found = condition_of(pod, pattern["type"])
        if found is not None and found.get("status") == pattern.get("status", "True"):
            return f"Pod {key_of(pod)} has condition {pattern['type']}"
    return None


def _by_exit_code(wanted: Obj, pod: Obj) -> Iterator[str]:
    name, values = wanted.get("containerName"), wanted.get("values") or ()
    for kind in ("containerStatuses", "initContainerStatuses"):
        for status in get(pod, f"status.{kind}", ()):
            code = get(status, "state.terminated.exitCode")
            if not code or name not in (None, status["name"]):
                continue
            if (code in values) == (wanted["operator"] == "In"):
                container = status["name"]
                yield f"Container {container} for pod {key_of(pod)} failed with exit code {code}"
