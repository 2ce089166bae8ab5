"""Expressions of admission policies at work: what they see of a request, and what they may spend.

An `Activation` binds the variables of one request, with the params of one binding; the policy's own
variables are worked out when an expression first asks for them. A `Budget` is shared by expressions
that are paid for together. Texts are those of apiserver's `admission/plugin/cel`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.api import cel
from minikube_py.api.admissionregistration.expressions import ExpressionError
from minikube_py.api.cel.libraries.authorizer import AUTHORIZER, RESOURCE_CHECK, Question
from minikube_py.api.cel.libraries.authorizer import Decision as Answer
from minikube_py.api.cel.values import Opaque
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.attributes import Admission, Attributes, Authorizer, User
from minikube_py.server.authz.asking import asked_patiently
from minikube_py.server.authz.selection import fields_of, labels_of

Program = cel.Program | ExpressionError
"""A compiled expression, or why it did not compile: an old one may not fit a newer server."""
_OUT = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


class EvaluationError(Exception):
    """An expression has no value; the text says which and why."""


class OutOfBudgetError(Exception):
    """Nothing more may be evaluated."""

    def __init__(self) -> None:
        super().__init__(_OUT)


@dataclass(slots=True)
class Budget:
    """What is left to spend, in units of cost."""

    left: int

    def spend(self, units: int) -> None:
        """Take units; raises OutOfBudgetError where there are not so many."""
        if units > self.left:
            self.left = -1
            raise OutOfBudgetError
        self.left -= units


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression of a policy."""

    text: str
    program: Program


class Activation:
    """What expressions see of one request."""

    def __init__(
        self, bindings: Mapping[str, Any], composed: Mapping[str, Program] | None = None
    ) -> None:
        self._bindings: dict[str, Any] = dict(bindings)
        self._spent = 0
        if composed:
            self._bindings["variables"] = _Composed(composed, self._work_out)

    def evaluate(self, expression: Expression, budget: Budget) -> Any:
        """Return the value of an expression and pay for it.

        Raises:
            EvaluationError: it has none.
            OutOfBudgetError: it costs more than is left.

        """
        program = expression.program
        if isinstance(program, ExpressionError):
            raise EvaluationError(f"compilation error: {program}")
        try:
            result = program.run(self._bindings)
        except (cel.CelEvaluationError, cel.CelCostError) as error:
            self._pay(budget, error.spent)
            raise EvaluationError(
                f"expression '{expression.text}' resulted in error: {error}"
            ) from None
        self._pay(budget, result.cost)
        return result.value

    def _pay(self, budget: Budget, units: int) -> None:
        """Pay for an expression and for the variables that it worked out."""
        composed, self._spent = self._spent, 0
        budget.spend(composed)
        budget.spend(units)

    def _work_out(self, name: str, program: Program) -> Any:
        if isinstance(program, ExpressionError):
            text = f'composited variable "{name}" fails to compile: {program}'
            raise cel.CelEvaluationError(text)
        try:
            result = program.run(self._bindings)
        except (cel.CelEvaluationError, cel.CelCostError) as error:
            self._spent += error.spent
            text = f'composited variable "{name}" fails to evaluate: {error}'
            raise cel.CelEvaluationError(text) from None
        self._spent += result.cost
        return result.value


class _Composed(Mapping[str, Any]):
    """The variables of a policy, each worked out once, when it is first asked for."""

    def __init__(
        self, programs: Mapping[str, Program], work_out: Callable[[str, Program], Any]
    ) -> None:
        self._programs = programs
        self._work_out = work_out
        self._known: dict[str, Any] = {}
        self._failed: dict[str, cel.CelEvaluationError] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self._failed:
            raise self._failed[name]
        if name not in self._known:
            try:
                self._known[name] = self._work_out(name, self._programs[name])
            except cel.CelEvaluationError as error:
                self._failed[name] = error
                raise
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __len__(self) -> int:
        return len(self._programs)


# --- what is bound --------------------------------------------------------------------------------


def request_of(admission: Admission, matched: Resource) -> dict[str, Any]:
    """Return `request`: an AdmissionRequest without objects, for the version that matched."""
    document: dict[str, Any] = {
        "uid": "",
        "kind": _kind_of(matched, admission.subresource),
        "resource": _resource_of(matched),
        "subResource": admission.subresource,
        "requestKind": _kind_of(admission.resource, admission.subresource),
        "requestResource": _resource_of(admission.resource),
        "requestSubResource": admission.subresource,
        "name": admission.name,
        "namespace": admission.namespace,
    }
    document = {key: value for key, value in document.items() if value or key == "uid"}
    return {
        **document,
        "operation": admission.operation,
        "userInfo": _user_of(admission.user),
        "object": None,
        "oldObject": None,
        "dryRun": admission.dry_run,
        "options": admission.options or None,
    }


def _kind_of(resource: Resource, subresource: str) -> Obj:
    group, version, kind = resource.kind_at(subresource)
    return {"group": group, "version": version, "kind": kind}


def _resource_of(resource: Resource) -> Obj:
    return {
        "group": resource.group,
        "version": resource.version,
        "resource": resource.plural,
    }


def _user_of(user: User) -> Obj:
    document = {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    return {key: value for key, value in document.items() if value}


def authorizer_bindings(admission: Admission, authorizer: Authorizer) -> dict[str, Any]:
    """Return `authorizer` and `authorizer.requestResource`; they ask each question once."""
    known: dict[tuple[tuple[str, str], ...], Answer] = {}

    def ask(said: Mapping[str, str]) -> Answer:
        key = tuple(sorted(said.items()))
        if key not in known:
            known[key] = _answer(authorizer, _question(admission.user, said))
        return known[key]

    own = {
        "group": admission.resource.group,
        "resource": admission.resource.plural,
        "subresource": admission.subresource,
        "namespace": admission.namespace,
        "name": admission.name,
    }
    return {
        "authorizer": Opaque(AUTHORIZER, Question(ask)),
        "authorizer.requestResource": Opaque(RESOURCE_CHECK, Question(ask, own)),
    }


def _answer(authorizer: Authorizer, question: Attributes) -> Answer:
    try:
        decision = asked_patiently(authorizer, question)
    except StatusError as error:
        return Answer(allowed=False, error=str(error))
    return Answer(decision.allowed, decision.reason)


def _question(user: User, said: Mapping[str, str]) -> Attributes:
    account = said.get("serviceAccount")
    if account is not None:
        user = _service_account(*account.split("/", 1))
    if "path" in said:
        return Attributes(user=user, verb=said["verb"], path=said["path"], is_resource=False)
    return Attributes(
        user=user,
        verb=said["verb"],
        version="*",
        group=said.get("group", ""),
        resource=said.get("resource", ""),
        subresource=said.get("subresource", ""),
        namespace=said.get("namespace", ""),
        name=said.get("name", ""),
        field_selector=fields_of(said.get("fieldSelector", "")),
        label_selector=labels_of(said.get("labelSelector", "")),
    )


def _service_account(namespace: str, name: str) -> User:
    return User(
        f"system:serviceaccount:{namespace}:{name}",
        ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
    )
