"""Kubernetes' `authorizer`: an expression builds a question, the caller's authorizer answers it.

The caller binds `Opaque(AUTHORIZER, Question(ask))` to the variable `authorizer`, and a question of
type RESOURCE_CHECK about the request to `authorizer.requestResource`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from minikube_py.api.cel import cost
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import BOOL, STRING, Type
from minikube_py.api.cel.values import Opaque

AUTHORIZER: Final = Type("kubernetes.authorization.Authorizer")
PATH_CHECK: Final = Type("kubernetes.authorization.PathCheck")
GROUP_CHECK: Final = Type("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK: Final = Type("kubernetes.authorization.ResourceCheck")
DECISION: Final = Type("kubernetes.authorization.Decision")


class Decision(NamedTuple):
    """An answer; `error` is the text of what went wrong, or ""."""

    allowed: bool
    reason: str = ""
    error: str = ""


Ask = Callable[[Mapping[str, str]], Decision]
"""Answers a question: path, or group, resource, subresource, namespace, name, fieldSelector and
labelSelector; verb; and serviceAccount (`namespace/name`) where it is not about the requester."""


@dataclass(frozen=True, slots=True)
class Question:
    """What has been said so far, and who answers."""

    ask: Ask
    said: Mapping[str, str] = field(default_factory=dict)


def _say(key: str, type_: Type) -> Callable[[Opaque, str], Opaque]:
    def say(question: Opaque, value: str) -> Opaque:
        known = question.value
        return Opaque(type_, Question(known.ask, {**known.said, key: value}))

    return say


def _service_account(question: Opaque, namespace: str, name: str) -> Opaque:
    return _say("serviceAccount", AUTHORIZER)(question, f"{namespace}/{name}")


def _check(question: Opaque, verb: str) -> Opaque:
    known = question.value
    return Opaque(DECISION, known.ask({**known.said, "verb": verb}))


def _part(read: Callable[[Decision], Any]) -> Callable[[Opaque], Any]:
    return lambda decision: read(decision.value)


_STEPS: Final = ("subresource", "namespace", "name", "fieldSelector", "labelSelector")

OVERLOADS: Final[tuple[Overload, ...]] = (
    member("path", (AUTHORIZER, STRING), PATH_CHECK, _say("path", PATH_CHECK)),
    member("group", (AUTHORIZER, STRING), GROUP_CHECK, _say("group", GROUP_CHECK)),
    member("serviceAccount", (AUTHORIZER, STRING, STRING), AUTHORIZER, _service_account),
    member("resource", (GROUP_CHECK, STRING), RESOURCE_CHECK, _say("resource", RESOURCE_CHECK)),
    *(
        member(step, (RESOURCE_CHECK, STRING), RESOURCE_CHECK, _say(step, RESOURCE_CHECK))
        for step in _STEPS
    ),
    *(
        member("check", (each, STRING), DECISION, _check, cost.authorization)
        for each in (PATH_CHECK, RESOURCE_CHECK)
    ),
    member("allowed", (DECISION,), BOOL, _part(lambda decision: decision.allowed)),
    member("reason", (DECISION,), STRING, _part(lambda decision: decision.reason)),
    member("errored", (DECISION,), BOOL, _part(lambda decision: bool(decision.error))),
    member("error", (DECISION,), STRING, _part(lambda decision: decision.error)),
)
