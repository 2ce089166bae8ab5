"""ValidatingAdmissionPolicy: expressions that must hold for a request, or it is refused.

What a broken rule does is for the binding to say: refuse, warn, note in the audit log. The rules,
texts and codes are those of apiserver's `admission/plugin/policy/validating`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from minikube_py.api.admissionregistration import expressions
from minikube_py.api.cel.values import kind_of
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj
from minikube_py.client.protocol import Lister
from minikube_py.lib.patience import patiently
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.admission.matching import Matcher
from minikube_py.server.admission.policy_calls import (
    ActivationOf,
    Call,
    Caller,
    Misconfigured,
    conditions_hold,
)
from minikube_py.server.admission.policy_expressions import (
    Activation,
    Budget,
    EvaluationError,
    Expression,
    OutOfBudgetError,
)
from minikube_py.server.admission.policy_params import Params
from minikube_py.server.admission.policy_set import Compiler, Policy, PolicySet, policy_of
from minikube_py.server.attributes import Admission, AdmissionPlugin, AuditAnnotations, Authorizer
from minikube_py.server.registry.versions import in_version

ANNOTATION_CHARACTERS_MAX: Final = 10 * 1024
FAILURE_KEY: Final = "validation.policy.admission.k8s.io/validation_failure"
CODES: Final = {
    "Unauthorized": 401,
    "Forbidden": 403,
    "RequestEntityTooLarge": 413,
    "Invalid": 422,
}
"""The HTTP status of each reason that a rule may give."""


@dataclass(frozen=True)
class Validation:
    """One rule."""

    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True)
class Rules:
    """What a policy checks, and what it tells the audit log."""

    validations: Sequence[Validation]
    annotations: Sequence[tuple[str, Expression]]


@dataclass(frozen=True)
class Denial:
    """A rule that is broken, or that could not be asked."""

    text: str
    reason: str = ""
    index: int = 0
    """The place of the rule in its policy."""


@dataclass
class Verdict:
    """What one policy says to one request."""

    denials: list[Denial] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[Denial] = field(default_factory=list)
    """Audit annotations that failed: they refuse whatever the binding says."""


class ValidatingAdmissionPolicy(AdmissionPlugin):
    """Asks the validating policies in force."""

    name = "ValidatingAdmissionPolicy"

    def __init__(
        self, matcher: Matcher, params: Params, authorizer: Authorizer, kinds: tuple[Lister, Lister]
    ) -> None:
        """Make the plugin; `kinds` are the caches of policies and of bindings."""
        policies = PolicySet(*kinds, compile_policy=compiled_policy)
        self._caller: Caller[Rules] = Caller(matcher, params, authorizer, policies)

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Ask all policies that are for the request; the first that denies it is named."""
        calls = self._caller.calls(admission)
        if not calls:
            return ()
        denied = _Denied()
        collected: dict[str, dict[str, list[str]]] = {}
        activation = self._caller.activation(admission)
        for call in calls:
            if isinstance(call, Misconfigured):
                if call.policy.fails:
                    denied.add(call.policy.name, call.binding, call.text, "")
                continue
            verdict = await decide(call, admission, activation)
            _act(call, verdict, admission, denied)
            for key, value in verdict.annotations:
                values = collected.setdefault(call.policy.name, {}).setdefault(key, [])
                if value not in values:
                    values.append(value)
        _publish(collected, admission.annotations)
        denied.refuse(admission)
        return ()


def compiled_policy(obj: Obj) -> Policy[Rules]:
    """Compile a policy."""
    return policy_of(obj, _rules)


def _rules(spec: Obj, compiler: Compiler) -> Rules:
    return Rules(
        tuple(_validation(each, compiler) for each in spec.get("validations") or ()),
        tuple(
            (each["key"], compiler.expression(each["valueExpression"], expressions.ANNOTATION))
            for each in spec.get("auditAnnotations") or ()
        ),
    )


def _validation(rule: Obj, compiler: Compiler) -> Validation:
    given = rule.get("messageExpression")
    message = compiler.expression(given, expressions.MESSAGE, authorizer=False) if given else None
    return Validation(
        expression=compiler.expression(rule["expression"], expressions.CONDITION),
        message=(rule.get("message") or "").strip(),
        message_expression=message,
        reason=rule.get("reason") or "Invalid",
    )


# --- deciding -------------------------------------------------------------------------------------


async def decide(
    call: Call[Rules], admission: Admission, activation: ActivationOf[Rules]
) -> Verdict:
    """Return what a policy says; it sees the objects in the version that it names."""
    resource, target = admission.resource, call.matched
    new = await in_version(resource, target, admission.obj)
    old = await in_version(resource, target, admission.old)
    return await patiently(lambda: _verdict(call, lambda: activation(call, new, old)))


def _verdict(call: Call[Rules], see: Callable[[], Activation]) -> Verdict:
    seen = see()
    verdict, fails = Verdict(), call.policy.fails
    try:
        if not conditions_hold(call.policy, seen):
            return verdict
        verdict.denials = list(_broken(call.policy.rules, seen, fails=fails))
    except (EvaluationError, OutOfBudgetError) as error:
        verdict.denials = [Denial(str(error))] if fails else []
        return verdict
    _annotate(call, see(), verdict)
    return verdict


def _broken(rules: Rules, seen: Activation, *, fails: bool) -> Iterator[Denial]:
    budget = Budget(expressions.BUDGET)
    for index, rule in enumerate(rules.validations):
        try:
            if seen.evaluate(rule.expression, budget) is not True:
                yield Denial(_message(rule, seen, budget), rule.reason, index)
        except EvaluationError as error:
            if fails:
                yield Denial(str(error), "", index)


def _message(rule: Validation, seen: Activation, budget: Budget) -> str:
    text = ""
    if rule.message_expression is not None:
        try:
            value = seen.evaluate(rule.message_expression, budget)
        except EvaluationError:
            value = None
        text = value.strip() if isinstance(value, str) else ""
        if len(text.encode()) > expressions.MESSAGE_BYTES_MAX or "\n" in text:
            text = ""
    return text or rule.message or f"failed expression: {rule.expression.text.strip()}"


def _annotate(call: Call[Rules], seen: Activation, verdict: Verdict) -> None:
    budget = Budget(expressions.BUDGET)
    for key, expression in call.policy.rules.annotations:
        try:
            value = seen.evaluate(expression, budget)
        except OutOfBudgetError as error:
            verdict.denials = [Denial(str(error))] if call.policy.fails else []
            verdict.annotations.clear()
            return
        except EvaluationError as error:
            if call.policy.fails:
                verdict.refusals.append(Denial(str(error)))
            continue
        _take(verdict, key, value, expression)


def _take(verdict: Verdict, key: str, value: Any, expression: Expression) -> None:
    if isinstance(value, str):
        if value.strip():
            verdict.annotations.append((key, value.strip()[:ANNOTATION_CHARACTERS_MAX]))
    elif value is not None:
        text = (
            f"valueExpression '{expression.text}' resulted in unsupported return type: "
            f"{kind_of(value)}. Return type must be either string or null."
        )
        verdict.refusals.append(Denial(text))


# --- acting ---------------------------------------------------------------------------------------


class _Denied:
    """The first denial of a request."""

    def __init__(self) -> None:
        self._text = ""
        self._reason = ""

    def add(self, policy: str, binding: str | None, text: str, reason: str) -> None:
        """Note a denial."""
        if self._text:
            return
        by = f"'{policy}' with binding '{binding}'" if binding is not None else f"'{policy}'"
        self._text = f"ValidatingAdmissionPolicy {by} denied request: {text}"
        self._reason = reason or "Invalid"

    def refuse(self, admission: Admission) -> None:
        """Raise where there is a denial."""
        if not self._text:
            return
        error: StatusError = forbidden(admission, self._text, causes=({"message": self._text},))
        error.reason = self._reason
        error.code = CODES.get(self._reason, 422)
        raise error


def _act(call: Call[Rules], verdict: Verdict, admission: Admission, denied: _Denied) -> None:
    """Do with each denial what the binding says."""
    policy, binding = call.policy.name, call.binding
    for denial in verdict.denials:
        for action in binding.actions:
            if action == "Deny":
                denied.add(policy, binding.name, denial.text, denial.reason)
            elif action == "Audit":
                admission.annotations.add(FAILURE_KEY, _failure(call, denial))
            else:
                admission.warnings.append(
                    f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding "
                    f"'{binding.name}': {denial.text}"
                )
    for refusal in verdict.refusals:
        denied.add(policy, binding.name, refusal.text, "")


def _failure(call: Call[Rules], denial: Denial) -> str:
    failure = {
        "message": denial.text,
        "policy": call.policy.name,
        "binding": call.binding.name,
        "expressionIndex": denial.index,
        "validationActions": list(call.binding.actions),
    }
    return orjson.dumps([failure]).decode()


def _publish(collected: dict[str, dict[str, list[str]]], annotations: AuditAnnotations) -> None:
    for policy, texts in collected.items():
        for key, values in texts.items():
            annotations.add(f"{policy}/{key}", ", ".join(values))
