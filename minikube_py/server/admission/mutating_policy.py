"""MutatingAdmissionPolicy: expressions that give a change to the object of a request.

An ApplyConfiguration is merged as server-side apply merges, a list of JSONPatch values is carried
out as a JSON patch; either way the result is decoded and defaulted like a body. A policy is asked
again, once, where others changed the object after it and it says IfNeeded. The rules and texts are
those of apiserver's `admission/plugin/policy/mutating`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api.admissionregistration import expressions
from minikube_py.api.errors import ForbiddenError, ServiceUnavailableError, StatusError
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
from minikube_py.server.admission.policy_patches import PatchError, applied, defaulted, patched
from minikube_py.server.admission.policy_set import Compiler, Policy, PolicySet, policy_of
from minikube_py.server.attributes import Admission, AdmissionPlugin, Authorizer
from minikube_py.server.registry.versions import in_version

_FIELDS: Final = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


@dataclass(frozen=True)
class Mutation:
    """One change: an expression, and what its value is."""

    kind: str
    """ApplyConfiguration or JSONPatch."""
    expression: Expression


@dataclass(frozen=True)
class Rules:
    """What a policy changes."""

    mutations: Sequence[Mutation]
    again: bool
    """Whether it is asked again where the object changed after it (reinvocationPolicy IfNeeded)."""


class MutatingAdmissionPolicy(AdmissionPlugin):
    """Asks the mutating policies in force."""

    name = "MutatingAdmissionPolicy"

    def __init__(
        self, matcher: Matcher, params: Params, authorizer: Authorizer, kinds: tuple[Lister, Lister]
    ) -> None:
        """Make the plugin; `kinds` are the caches of policies and of bindings."""
        policies = PolicySet(*kinds, compile_policy=compiled_policy)
        self._caller: Caller[Rules] = Caller(matcher, params, authorizer, policies)

    async def admit(self, admission: Admission) -> Obj | None:
        """Return the object as the policies change it."""
        calls = self._caller.calls(admission)
        if not calls:
            return admission.obj
        refusals = [
            Refusal(call.policy.name, call.binding, call.text)
            for call in calls
            if isinstance(call, Misconfigured) and call.policy.fails
        ]
        wanted = [call for call in calls if isinstance(call, Call)]
        obj, failed = await _Run(admission, self._caller.activation(admission)).all(wanted)
        refusals.extend(failed)
        if refusals:
            raise _refused(admission, refusals)
        return obj


def compiled_policy(obj: Obj) -> Policy[Rules]:
    """Compile a policy."""
    return policy_of(obj, _rules, patches=True)


def _rules(spec: Obj, compiler: Compiler) -> Rules:
    mutations = []
    for mutation in spec.get("mutations") or ():
        field = _FIELDS[mutation["patchType"]]
        returns = (expressions.PATCH_RESULTS[field],)
        text = (mutation.get(field) or {}).get("expression", "")
        mutations.append(Mutation(mutation["patchType"], compiler.expression(text, returns)))
    return Rules(tuple(mutations), again=spec.get("reinvocationPolicy") == "IfNeeded")


@dataclass(frozen=True)
class Refusal:
    """Why a policy could not change the object."""

    policy: str
    binding: str | None
    text: str
    reason: str = ""

    def __str__(self) -> str:
        by = (
            f"'{self.policy}' with binding '{self.binding}'" if self.binding else f"'{self.policy}'"
        )
        return f"policy {by} denied request: {self.text}"


def _refused(admission: Admission, refusals: Sequence[Refusal]) -> StatusError:
    """Return the error that names all that failed; the first gives message and reason."""
    error: ForbiddenError = forbidden(
        admission, "", causes=[{"message": str(refusal)} for refusal in refusals]
    )
    error.message = str(refusals[0])
    error.args = (error.message,)
    if refusals[0].reason:
        error.reason = refusals[0].reason
    return error


class _Run:
    """One pass over the policies that a request calls."""

    def __init__(self, admission: Admission, activation: ActivationOf[Rules]) -> None:
        self._admission = admission
        self._activation = activation
        self._obj = admission.obj
        self._refusals: list[Refusal] = []

    async def all(self, calls: Sequence[Call[Rules]]) -> tuple[Obj | None, Sequence[Refusal]]:
        """Carry out the calls; return the object after them and what went wrong."""
        memory = self._admission.reinvocation.of(MutatingAdmissionPolicy.name)
        again = self._admission.reinvocation.again
        if again and memory.last != self._obj:
            memory.require_earlier()
        for call in calls:
            key = _identity(call)
            if not await self._applies(call) or (again and key not in memory.required):
                continue
            before = self._obj
            await self._mutate(call)
            if before != self._obj:
                memory.require_earlier()
                self._admission.reinvocation.wanted = True
            if call.policy.rules.again:
                memory.earlier.add(key)
        memory.last = self._obj
        return self._obj, self._refusals

    async def _applies(self, call: Call[Rules]) -> bool:
        try:
            see = await self._sight(call)
            return await patiently(lambda: conditions_hold(call.policy, see()))
        except EvaluationError as error:
            self._refuse(call, str(error))
            return False

    async def _sight(self, call: Call[Rules]) -> Callable[[], Activation]:
        """Return what makes activations over the object as it now is."""
        resource = self._admission.resource
        new = await in_version(resource, call.matched, self._obj)
        old = await in_version(resource, call.matched, self._admission.old)
        return lambda: self._activation(call, new, old)

    async def _mutate(self, call: Call[Rules]) -> None:
        for mutation in call.policy.rules.mutations:
            if self._obj is None:
                return
            try:
                self._obj = await self._changed(call, mutation, self._obj)
            except (EvaluationError, OutOfBudgetError, PatchError) as error:
                self._refuse(call, str(error))

    async def _changed(self, call: Call[Rules], mutation: Mutation, obj: Obj) -> Obj:
        resource, target = self._admission.resource, call.matched
        see = await self._sight(call)
        value: Any = await patiently(
            lambda: see().evaluate(mutation.expression, Budget(expressions.BUDGET))
        )
        before = await in_version(resource, target, obj) or obj
        kind = target.type
        if kind is None:
            group, version, name = target.kind_at("")
            raise ServiceUnavailableError(
                f"Resource kind {group}/{version}, Kind={name} not found. There can be a delay "
                "between when CustomResourceDefinitions are created and when they are available."
            )
        change = applied if mutation.kind == "ApplyConfiguration" else patched
        after = change(kind, before, value)
        if after is before:
            return obj
        return await in_version(target, resource, defaulted(target, after)) or obj

    def _refuse(self, call: Call[Rules], text: str) -> None:
        if call.policy.fails:
            self._refusals.append(
                Refusal(call.policy.name, call.binding.name, text, reason="Invalid")
            )


def _identity(call: Call[Rules]) -> tuple[str, str, str, str]:
    """Return what tells one call from another across the passes of a request."""
    metadata = (call.params or {}).get("metadata") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    return call.policy.name, call.binding.name, namespace, name
