"""`eviction`: a delete that disruption budgets may refuse (upstream's `EvictionREST`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minikube_py.api import selectors, times
from minikube_py.api.core import PODS
from minikube_py.api.errors import BadRequestError, InternalError, TooManyRequestsError
from minikube_py.api.object import Obj, condition_of, evolve, get, is_deleting, labels_of
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.server.apiserver.call import SUCCESS, Call
from minikube_py.server.registry.hooks import Write
from minikube_py.server.registry.store import Store


class _NoReasonError(InternalError):
    reason = ""


class Eviction:
    """Evicts pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, call: Call, document: dict[str, Any]) -> Obj:
        """Delete the pod where its disruption budget allows that."""
        named = get(document, "metadata.name")
        if named and named != call.name:
            raise BadRequestError("name in URL does not match name in Eviction object")
        pod = self._store.get(PODS, call.namespace, call.name).obj
        options: Obj = document.get("deleteOptions") or {}
        if not _needs_no_budget(pod):
            await self._take_from_budget(call, pod)
        if not call.options.dry_run:
            now = times.now_string(self._store.clock)
            await self._store.update(_mark(call), lambda pod: disrupted(pod, now))
        write = replace(call.write("DELETE", options), trusted=True)
        await self._store.delete(write, options)
        return SUCCESS

    async def _take_from_budget(self, call: Call, pod: Obj) -> None:
        budgets = self._budgets(call.namespace, pod)
        if len(budgets) > 1:
            raise _NoReasonError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                "does not support."
            )
        if not budgets or (_is_unready(pod) and _allows_unready(budgets[0])):
            return
        name = budgets[0]["metadata"]["name"]
        write = Write(
            user=call.user,
            resource=PODDISRUPTIONBUDGETS,
            operation="UPDATE",
            namespace=call.namespace,
            name=name,
            subresource="status",
            dry_run=call.options.dry_run,
            trusted=True,
        )
        now = self._store.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        await self._store.update(write, lambda budget: take(budget, pod, now))

    def _budgets(self, namespace: str, pod: Obj) -> Sequence[Obj]:
        labels = labels_of(pod)
        budgets = (item.obj for item in self._store.kind(PODDISRUPTIONBUDGETS).items(namespace))
        return [
            b for b in budgets if selectors.from_object(get(b, "spec.selector")).matches(labels)
        ]


def _mark(call: Call) -> Write:
    return Write(
        user=call.user,
        resource=PODS,
        operation="UPDATE",
        namespace=call.namespace,
        name=call.name,
        subresource="status",
        trusted=True,
    )


def disrupted(pod: Obj, now: str) -> Obj:
    """Return the pod with the condition that says why it goes."""
    kept = [c for c in get(pod, "status.conditions", ()) if c.get("type") != "DisruptionTarget"]
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    return evolve(pod, "status.conditions", [*kept, condition])


def take(budget: Obj, pod: Obj, now: str) -> Obj:
    """Return the budget with one disruption less; raises TooManyRequestsError at zero."""
    name = budget["metadata"]["name"]
    if get(budget, "status.observedGeneration", 0) < get(budget, "metadata.generation", 0):
        raise TooManyRequestsError(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            causes=[
                {
                    "reason": "DisruptionBudget",
                    "message": f"The disruption budget {name} is still being processed by the "
                    "server.",
                }
            ],
            retry_after_seconds=10,
        )
    allowed = get(budget, "status.disruptionsAllowed", 0)
    if allowed <= 0:
        healthy, desired = (get(budget, f"status.{k}Healthy", 0) for k in ("current", "desired"))
        raise TooManyRequestsError(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            causes=[
                {
                    "reason": "DisruptionBudget",
                    "message": f"The disruption budget {name} needs {desired} healthy pods and "
                    f"has {healthy} currently",
                }
            ],
        )
    disrupted = {**get(budget, "status.disruptedPods", {}), pod["metadata"]["name"]: now}
    taken = evolve(budget, "status.disruptionsAllowed", allowed - 1)
    return evolve(taken, "status.disruptedPods", disrupted)


def _needs_no_budget(pod: Obj) -> bool:
    """Tell whether the pod counts for no budget: ended, not yet running, or on its way out."""
    phase = get(pod, "status.phase")
    return phase in ("Succeeded", "Failed", "Pending") or is_deleting(pod)


def _is_unready(pod: Obj) -> bool:
    ready = condition_of(pod, "Ready")
    return ready is None or ready.get("status") != "True"


def _allows_unready(budget: Obj) -> bool:
    if get(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    healthy, desired = (get(budget, f"status.{k}Healthy", 0) for k in ("current", "desired"))
    return bool(healthy >= desired > 0)
