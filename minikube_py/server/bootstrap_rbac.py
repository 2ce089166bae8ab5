"""The default roles and bindings as objects, made of the sentences in `bootstrap_roles`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.server.bootstrap_controller_roles import CONTROLLER_ROLES
from minikube_py.server.bootstrap_roles import (
    AGGREGATED,
    AGGREGATED_INTO,
    BINDINGS,
    NAMESPACE_BINDINGS,
    NAMESPACE_ROLES,
    OWN_ROLES,
    ROLES,
)

GROUP = "rbac.authorization.k8s.io"
API_VERSION = f"{GROUP}/v1"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
AGGREGATE = f"{GROUP}/aggregate-to-"
VERBS = {
    "read": ("get", "list", "watch"),
    "write": ("create", "delete", "deletecollection", "patch", "update"),
}


def parse_rule(sentence: str) -> dict[str, list[str]]:
    """Return the PolicyRule of a sentence; see `bootstrap_roles` for the grammar."""
    rest, _, names = sentence.partition(" named ")
    verbs, at, paths = rest.partition(" at ")
    if at:
        return {"nonResourceURLs": paths.split(), "verbs": _verbs(verbs)}
    rest, _, groups = rest.partition(" in ")
    verbs, _, resources = rest.partition(" of ")
    rule = {
        "apiGroups": ["" if group == "core" else group for group in groups.split() or ["core"]],
        "resources": resources.split(),
        "verbs": _verbs(verbs),
    }
    return {**rule, "resourceNames": names.split()} if names else rule


def _verbs(words: str) -> list[str]:
    return sorted(verb for word in words.split() for verb in VERBS.get(word, (word,)))


def _metadata(name: str, namespace: str = "", **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels},
        "annotations": {AUTOUPDATE: "true"},
    }
    return {**metadata, "namespace": namespace} if namespace else metadata


def _role(kind: str, metadata: dict[str, Any], sentences: Sequence[str]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "rules": [parse_rule(sentence) for sentence in sentences],
    }


def _binding(
    kind: str, metadata: dict[str, Any], role: tuple[str, str], subjects: Sequence[str]
) -> dict[str, Any]:
    binding: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": role[0], "name": role[1]},
    }
    return {**binding, "subjects": [_subject(text) for text in subjects]} if subjects else binding


def _subject(text: str) -> dict[str, str]:
    kind, _, name = text.partition(" ")
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": "kube-system"}
    return {"apiGroup": GROUP, "kind": kind, "name": name}


def node_rules() -> Sequence[Mapping[str, Sequence[str]]]:
    """Return the rules of the role system:node, which the Node authoriser applies by itself."""
    return [parse_rule(sentence) for sentence in ROLES["system:node"]]


def cluster_roles() -> Iterator[Obj]:
    """Yield the default ClusterRoles."""
    for name, sentences in ROLES.items():
        into = AGGREGATED_INTO.get(name)
        labels = {f"{AGGREGATE}{into}": "true"} if into else {}
        yield _role("ClusterRole", _metadata(name, **labels), sentences)
    for name, sentences in CONTROLLER_ROLES.items():
        yield _role("ClusterRole", _metadata(f"system:controller:{name}"), sentences)
    for name, into in AGGREGATED.items():
        labels = {f"{AGGREGATE}{into}": "true"} if into else {}
        selector = {"matchLabels": {f"{AGGREGATE}{name}": "true"}}
        yield {
            **_role("ClusterRole", _metadata(name, **labels), ()),
            "aggregationRule": {"clusterRoleSelectors": [selector]},
            "rules": None,
        }


def cluster_role_bindings() -> Iterator[Obj]:
    """Yield the default ClusterRoleBindings."""
    for name, subjects in BINDINGS.items():
        role = ("ClusterRole", name)
        yield _binding("ClusterRoleBinding", _metadata(name), role, subjects)
    for controller in CONTROLLER_ROLES:
        name = f"system:controller:{controller}"
        subject = f"ServiceAccount {controller}"
        yield _binding("ClusterRoleBinding", _metadata(name), ("ClusterRole", name), (subject,))


def roles() -> Iterator[Obj]:
    """Yield the default Roles."""
    for key, sentences in NAMESPACE_ROLES.items():
        namespace, _, name = key.partition("/")
        yield _role("Role", _metadata(name, namespace), sentences)


def role_bindings() -> Iterator[Obj]:
    """Yield the default RoleBindings."""
    for key, (role, subjects) in NAMESPACE_BINDINGS.items():
        namespace, _, name = key.partition("/")
        yield _binding("RoleBinding", _metadata(name, namespace), ("Role", role), subjects)


def metrics_reader() -> Obj:
    """Return the role by which metrics are seen, aggregated as metrics-server's manifest has it."""
    name = "system:aggregated-metrics-reader"
    labels = {f"{AGGREGATE}{role}": "true" for role in ("admin", "edit", "view")}
    rule = "read of pods nodes in metrics.k8s.io"
    return _role("ClusterRole", _metadata(name, **labels), (rule,))


def own_access(name: str) -> tuple[Obj, Obj]:
    """Return a role of `OWN_ROLES` and its binding."""
    sentences, subjects = OWN_ROLES[name]
    role = _role("ClusterRole", _metadata(name), sentences)
    return role, _binding("ClusterRoleBinding", _metadata(name), ("ClusterRole", name), subjects)


def certificate_renewal() -> Iterator[tuple[Obj, Obj]]:
    """Yield roles and bindings by which nodes renew their own certificates by request.

    Nodes have what they ask for approved; the controller may approve those of kubelets' servers,
    which upstream's does not do.
    """
    requests = "certificatesigningrequests"
    for name, sentence, subject in (
        (
            "kpy:node-certificate-renewal",
            f"create of {requests}/selfnodeclient {requests}/selfnodeserver in certificates.k8s.io",
            "Group system:nodes",
        ),
        (
            "kpy:kubelet-serving-approver",
            "approve of signers in certificates.k8s.io named kubernetes.io/kubelet-serving",
            "ServiceAccount certificate-controller",
        ),
    ):
        role = _role("ClusterRole", _metadata(name), (sentence,))
        reference = ("ClusterRole", name)
        yield role, _binding("ClusterRoleBinding", _metadata(name), reference, (subject,))
