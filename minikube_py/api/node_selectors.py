"""Which nodes a pod may run on: nodeSelector and node affinity, compiled once per pod.

A node selector is a list of terms of which one must hold; a term is a list of expressions that
must all hold, and a term without any holds nowhere. The operators are those of label selectors
with the integer comparisons Gt and Lt.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from minikube_py.api.object import Obj, get
from minikube_py.api.selectors import Operator, Requirement

OPERATORS: Mapping[str, Operator] = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}
NodeTest = Callable[[str, Mapping[str, str]], bool]
"""(name, labels) -> whether a node is meant."""


def compile_term(term: Obj) -> NodeTest:
    """Return the test for one NodeSelectorTerm."""
    labels = _requirements(term.get("matchExpressions") or ())
    fields = _requirements(term.get("matchFields") or ())

    def test(name: str, node_labels: Mapping[str, str]) -> bool:
        if not labels and not fields:
            return False
        own = {"metadata.name": name}
        return all(one.matches(own) for one in fields) and all(
            one.matches(node_labels) for one in labels
        )

    return test


def _requirements(expressions: Iterable[Obj]) -> Sequence[Requirement]:
    return [
        Requirement(one["key"], OPERATORS[one["operator"]], tuple(one.get("values") or ()))
        for one in expressions
    ]


def compile_selector(selector: Obj) -> NodeTest:
    """Return the test for a NodeSelector: one of its terms holds."""
    terms = [compile_term(term) for term in selector.get("nodeSelectorTerms") or ()]
    return lambda name, labels: any(term(name, labels) for term in terms)


def required(pod: Obj) -> NodeTest | None:
    """Return the test that a pod's nodes must pass; None where it asks for nothing."""
    labels: Mapping[str, str] = get(pod, "spec.nodeSelector", {})
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    selector = get(pod, path)
    if not labels and selector is None:
        return None
    affine = compile_selector(selector) if selector is not None else None

    def test(name: str, node_labels: Mapping[str, str]) -> bool:
        if not labels.items() <= node_labels.items():
            return False
        return affine is None or affine(name, node_labels)

    return test


def preferred(pod: Obj) -> Sequence[tuple[int, NodeTest]]:
    """Return the preferences of a pod with their weights."""
    path = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"
    return [
        (int(one["weight"]), compile_term(one.get("preference") or {}))
        for one in get(pod, path, ())
    ]
