"""Which policies a request calls, with which bindings and params: what both kinds of policy share.

For each policy in force that matches, each of its bindings that matches, and each of the binding's
params there is one `Call`. Nothing of this is done for a request that no policy is for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from minikube_py.api.admissionregistration import expressions
from minikube_py.api.core import NAMESPACES
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.admission.matching import Matcher, is_exempt
from minikube_py.server.admission.policy_expressions import (
    Activation,
    Budget,
    EvaluationError,
    Expression,
    OutOfBudgetError,
    authorizer_bindings,
    request_of,
)
from minikube_py.server.admission.policy_params import ConfigurationError, Params
from minikube_py.server.admission.policy_set import Binding, Bound, Policy, PolicySet
from minikube_py.server.attributes import Admission, Authorizer

Rules = TypeVar("Rules")


@dataclass(frozen=True)
class Call(Generic[Rules]):
    """One policy, one binding, one object of params, and the version that the policy names."""

    policy: Policy[Rules]
    binding: Binding
    params: Obj | None
    matched: Resource


@dataclass(frozen=True)
class Misconfigured(Generic[Rules]):
    """A policy that matches and cannot be asked."""

    policy: Policy[Rules]
    binding: str | None
    """The binding's name, None where the policy itself is at fault."""
    text: str


class Caller(Generic[Rules]):
    """Finds what to call for a request."""

    def __init__(
        self, matcher: Matcher, params: Params, authorizer: Authorizer, policies: PolicySet[Rules]
    ) -> None:
        self._matcher = matcher
        self._params = params
        self._authorizer = authorizer
        self._policies = policies

    def calls(self, admission: Admission) -> Sequence[Call[Rules] | Misconfigured[Rules]]:
        """Return what a request calls, in the order of names."""
        active = self._policies.active()
        if not active or is_exempt(admission):
            return ()
        return [call for bound in active for call in self._of_policy(bound, admission)]

    def _of_policy(
        self, bound: Bound[Rules], admission: Admission
    ) -> Iterator[Call[Rules] | Misconfigured[Rules]]:
        policy = bound.policy
        try:
            matched = self._matcher.match(policy.criteria, admission)
        except StatusError as error:
            yield Misconfigured(policy, None, f"failed to configure policy: {error}")
            return
        if matched is None:
            return
        for binding in bound.bindings:
            try:
                if self._matcher.match(binding.criteria, admission) is None:
                    continue
                found = self._params.collect(
                    policy.param_kind, binding.param_ref, admission.namespace
                )
            except ConfigurationError as error:
                yield Misconfigured(policy, None if error.of_policy else binding.name, str(error))
                if error.of_policy:
                    return
                continue
            except StatusError as error:
                yield Misconfigured(policy, binding.name, f"failed to configure binding: {error}")
                continue
            yield from (Call(policy, binding, params, matched) for params in found)

    def activation(self, admission: Admission) -> "ActivationOf[Rules]":
        """Return what makes activations for a request; what they share is made once."""
        shared = {
            "namespaceObject": self._namespace(admission),
            **authorizer_bindings(admission, self._authorizer),
        }

        def make(call: Call[Rules], obj: Obj | None, old: Obj | None) -> Activation:
            bindings: dict[str, Any] = {
                **shared,
                "request": request_of(admission, call.matched),
                "object": obj,
                "oldObject": old,
                "params": call.params,
            }
            return Activation(bindings, call.policy.composed)

        return make

    def _namespace(self, admission: Admission) -> Obj | None:
        """Return the namespace of a request; a Namespace itself is in none."""
        if admission.resource is NAMESPACES or not admission.namespace:
            return None
        found = self._matcher.namespace(admission)
        if found is None:
            return None
        return {key: found[key] for key in ("metadata", "spec", "status") if key in found}


ActivationOf = Callable[[Call[Rules], Obj | None, Obj | None], Activation]


class Conditional(Protocol):
    """A policy or a webhook: it has match conditions, and fails with them or goes on without."""

    @property
    def conditions(self) -> Sequence[tuple[str, Expression]]:
        """Names and expressions."""

    @property
    def fails(self) -> bool:
        """Whether an error refuses the request."""


def conditions_hold(policy: Conditional, activation: Activation) -> bool:
    """Tell whether all match conditions hold; one that is false outweighs errors.

    Raises:
        EvaluationError: one failed, and the policy fails with it.

    """
    budget, failures = Budget(expressions.MATCH_BUDGET), []
    for _, condition in policy.conditions:
        try:
            if activation.evaluate(condition, budget) is False:
                return False
        except EvaluationError as error:
            failures.append(str(error))
        except OutOfBudgetError as error:
            failures = [str(error)]
            break
    if failures and policy.fails:
        unique = list(dict.fromkeys(failures))
        raise EvaluationError(unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
    return not failures
