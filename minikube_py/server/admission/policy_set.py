"""The admission policies in force, compiled: each with its bindings.

Policies and bindings are read from the watch cache. As long as neither changes, asking costs two
comparisons; what has changed is compiled once, when the next write asks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from minikube_py.api.admissionregistration import expressions
from minikube_py.api.admissionregistration.expressions import Composition, ExpressionError
from minikube_py.api.cel.types import Type
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.matching import Criteria, policy_criteria
from minikube_py.server.admission.policy_expressions import Expression, Program

Rules = TypeVar("Rules")
"""What a policy does beyond matching: its validations, or its mutations."""


@dataclass(frozen=True, kw_only=True)
class Policy(Generic[Rules]):
    """What a policy says, compiled."""

    name: str
    criteria: Criteria
    fails: bool
    """Whether an error refuses the request (failurePolicy Fail) or is passed over."""
    param_kind: Obj | None
    conditions: Sequence[tuple[str, Expression]]
    composed: "dict[str, Program]"
    rules: Rules


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Where a policy applies, and with what."""

    name: str
    criteria: Criteria
    param_ref: Obj | None
    actions: Sequence[str] = ()


@dataclass(frozen=True)
class Bound(Generic[Rules]):
    """A policy with at least one binding."""

    policy: Policy[Rules]
    bindings: Sequence[Binding]


class Compiler:
    """Compiles the expressions of one policy, after its variables."""

    def __init__(self, spec: Obj, *, patches: bool = False) -> None:
        self._patches = patches
        self._composition = Composition(params=spec.get("paramKind") is not None, patches=patches)
        for variable in spec.get("variables") or ():
            self._composition.add(variable.get("name", ""), variable.get("expression", ""))

    @property
    def composed(self) -> dict[str, Program]:
        """The programs of the policy's variables."""
        return self._composition.programs

    def expression(
        self, text: str, returns: Sequence[Type], *, authorizer: bool = True
    ) -> Expression:
        """Compile one expression."""
        known = self._composition.variables(authorizer=authorizer)
        try:
            program: Program = expressions.compiled(text, known, returns, patches=self._patches)
        except ExpressionError as error:
            program = error
        return Expression(text, program)


def policy_of(
    obj: Obj, read: Callable[[Obj, Compiler], Rules], *, patches: bool = False
) -> Policy[Rules]:
    """Compile a policy; `read` compiles what its kind alone has, given its spec."""
    spec = obj["spec"]
    compiler = Compiler(spec, patches=patches)
    conditions = tuple(
        (each["name"], compiler.expression(each["expression"], expressions.CONDITION))
        for each in spec.get("matchConditions") or ()
    )
    return Policy(
        name=obj["metadata"]["name"],
        criteria=policy_criteria(spec.get("matchConstraints")),
        fails=spec.get("failurePolicy") != "Ignore",
        param_kind=spec.get("paramKind"),
        conditions=conditions,
        composed=compiler.composed,
        rules=read(spec, compiler),
    )


def binding_of(obj: Obj) -> Binding:
    """Read a binding."""
    spec = obj["spec"]
    return Binding(
        name=obj["metadata"]["name"],
        criteria=policy_criteria(spec.get("matchResources")),
        param_ref=spec.get("paramRef"),
        actions=tuple(spec.get("validationActions") or ()),
    )


@dataclass
class PolicySet(Generic[Rules]):
    """The policies of one kind; `compile_policy` is asked once for each state of a policy."""

    policies: Lister
    bindings: Lister
    compile_policy: Callable[[Obj], Policy[Rules]]
    _seen: tuple[int, int] = (-1, -1)
    _active: Sequence[Bound[Rules]] = ()
    _compiled: dict[str, tuple[int, Policy[Rules]]] = field(default_factory=dict)

    def active(self) -> Sequence[Bound[Rules]]:
        """Return the policies that have bindings, by name."""
        now = (self.policies.revision, self.bindings.revision)
        if now != self._seen:
            self._active = tuple(self._build())
            self._seen = now
        return self._active

    def _build(self) -> Iterable[Bound[Rules]]:
        bindings: defaultdict[str, list[Binding]] = defaultdict(list)
        for item in sorted(self.bindings.items(), key=_name):
            bindings[item.obj["spec"].get("policyName", "")].append(binding_of(item.obj))
        items = [item for item in self.policies.items() if item.key.name in bindings]
        known, self._compiled = self._compiled, {}
        for item in sorted(items, key=_name):
            name = item.key.name
            before = known.get(name)
            if before is None or before[0] != item.revision:
                before = (item.revision, self.compile_policy(item.obj))
            self._compiled[name] = before
            yield Bound(before[1], tuple(bindings[name]))


def _name(item: Item) -> str:
    return item.key.name
