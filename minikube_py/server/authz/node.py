"""The Node authoriser: a kubelet reads only what the pods on its node refer to.

Upstream keeps a graph of all pods; here the pods of the node are asked when a kubelet asks, found
by the field that the cache keeps beside each pod. Kubelets ask about once per pod start, so
keeping a graph for every pod change would cost more.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.api.item import Item
from minikube_py.api.object import Key, get
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Attributes, Decision, User
from minikube_py.server.authz.policy import Rule, compile_rule
from minikube_py.server.authz.rbac import NO_OPINION
from minikube_py.server.authz.references import References, references_of

GROUP = "system:nodes"
PREFIX = "system:node:"
LEASE_NAMESPACE = "kube-node-lease"
REFERENCES_MAX = 10_000
"""Pods whose references are remembered, by uid and revision."""
ALLOWED = Decision(allowed=True)
OWN_VERBS = ("get", "create", "update", "patch", "delete")
READ_VERBS = ("get", "list", "watch")


@dataclass(frozen=True, kw_only=True)
class NodeListers:
    """The caches that the graph is read from."""

    pods: Lister
    claims: Lister
    volumes: Lister
    attachments: Lister


def node_of(user: User) -> tuple[bool, str]:
    """Return whether the user is a kubelet, and of which node; "" for a kubelet without a name."""
    if not user.name.startswith(PREFIX) or GROUP not in user.groups:
        return False, ""
    return True, user.name.removeprefix(PREFIX)


class NodeAuthorizer:
    """Allows a kubelet what its node needs; has no opinion on other users."""

    def __init__(self, listers: NodeListers, rules: Sequence[Mapping[str, Sequence[str]]]) -> None:
        """Take the rules of the role system:node, for all that is not subdivided."""
        self._listers = listers
        self._rules: tuple[Rule, ...] = tuple(compile_rule(rule) for rule in rules)
        self._references: OrderedDict[tuple[str, int], References] = OrderedDict()
        self._handlers: Mapping[tuple[str, str], Callable[[str, Attributes], Decision]] = {
            ("", "secrets"): self._read_namespaced,
            ("", "configmaps"): self._read_namespaced,
            ("", "persistentvolumeclaims"): self._claims,
            ("", "persistentvolumes"): self._get,
            ("", "serviceaccounts"): self._service_accounts,
            ("", "nodes"): _nodes,
            ("", "pods"): self._pods,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("storage.k8s.io", "csinodes"): _csi_nodes,
            ("coordination.k8s.io", "leases"): _leases,
        }

    def authorize(self, attributes: Attributes) -> Decision:
        """Decide for kubelets."""
        is_node, name = node_of(attributes.user)
        if not is_node:
            return NO_OPINION
        if not name:
            return _no(f'unknown node for user "{attributes.user.name}"')
        handler = self._handlers.get((attributes.group, attributes.resource))
        if attributes.is_resource and handler is not None:
            return handler(name, attributes)
        return self._by_rules(attributes)

    def _by_rules(self, attributes: Attributes) -> Decision:
        return Decision(allowed=any(rule.allows(attributes) for rule in self._rules))

    def _read_namespaced(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in READ_VERBS:
            return _no("can only read resources of this type")
        if attributes.subresource:
            return _no("cannot read subresource")
        if not attributes.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, attributes)

    def _get(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return _no("can only get individual resources of this type")
        if attributes.subresource:
            return _no("cannot get subresource")
        return self._related(node, attributes)

    def _claims(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource == "status":
            allowed = attributes.verb in ("get", "update", "patch")
            return self._related(node, attributes) if allowed else NO_OPINION
        return self._get(node, attributes)

    def _service_accounts(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource == "":
            return self._get(node, attributes)
        if attributes.verb != "create" or attributes.subresource != "token":
            return _no("can only create tokens for individual service accounts")
        return self._related(node, attributes)

    def _pods(self, node: str, attributes: Attributes) -> Decision:
        verb, subresource = attributes.verb, attributes.subresource
        if subresource == "" and verb == "get":
            return self._get(node, attributes)
        if subresource == "" and verb in ("list", "watch"):
            if f"spec.nodeName={node}" in attributes.field_selector.split(","):
                return ALLOWED
            return _no("can only list/watch pods with spec.nodeName field selector")
        verbs = {"": ("create", "delete"), "status": ("update", "patch"), "eviction": ("create",)}
        return Decision(allowed=verb in verbs.get(subresource, ()))

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return _no("No Object name found")
        if self._is_related(node, attributes):
            return ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _is_related(self, node: str, attributes: Attributes) -> bool:
        name = attributes.name
        if attributes.resource == "volumeattachments":
            attachment = self._listers.attachments.get(Key("", name))
            return attachment is not None and get(attachment, "spec.nodeName") == node
        if attributes.resource == "persistentvolumes":
            return self._has_volume(node, name)
        if attributes.resource == "pods":
            return any(pod.key.name == name for pod in self._pods_of(node, attributes.namespace))
        refers: Mapping[str, Callable[[References], bool]] = {
            "serviceaccounts": lambda ref: ref.service_account == name,
            "persistentvolumeclaims": lambda ref: name in ref.claims,
            "configmaps": lambda ref: name in ref.configmaps,
            "secrets": lambda ref: self._has_secret(ref, attributes.namespace, name),
        }
        is_meant = refers[attributes.resource]
        return any(is_meant(ref) for ref in self._refs(node, attributes.namespace))

    def _has_volume(self, node: str, name: str) -> bool:
        """A volume belongs to a node by the claim that it is bound to."""
        volume = self._listers.volumes.get(Key("", name))
        claim = get(volume, "spec.claimRef") or {}
        namespace, claim_name = claim.get("namespace", ""), claim.get("name", "")
        return any(claim_name in ref.claims for ref in self._refs(node, namespace))

    def _has_secret(self, ref: References, namespace: str, name: str) -> bool:
        return name in ref.secrets or any(
            name in self._volume_secrets(namespace, claim) for claim in ref.claims
        )

    def _volume_secrets(self, namespace: str, claim_name: str) -> set[str]:
        """Return the secrets that the volume of a claim needs when it is put into a pod."""
        claim = self._listers.claims.get(Key(namespace, claim_name))
        volume = self._listers.volumes.get(Key("", get(claim, "spec.volumeName", "")))
        paths = (
            "spec.csi.nodePublishSecretRef",
            "spec.csi.nodeStageSecretRef",
            "spec.csi.nodeExpandSecretRef",
        )
        references = (get(volume, path) or {} for path in paths)
        return {
            reference.get("name", "")
            for reference in references
            if reference.get("namespace") == namespace
        }

    def _pods_of(self, node: str, namespace: str) -> Iterator[Item]:
        for item in self._listers.pods.items(namespace):
            if item.fields.get("spec.nodeName") == node:
                yield item

    def _refs(self, node: str, namespace: str) -> Iterator[References]:
        for item in self._pods_of(node, namespace):
            key = (item.uid, item.revision)
            found = self._references.get(key)
            if found is None:
                found = self._references[key] = references_of(item.obj)
                if len(self._references) > REFERENCES_MAX:
                    self._references.popitem(last=False)
            yield found


def _no(reason: str) -> Decision:
    return Decision(allowed=False, reason=reason)


def _nodes(node: str, attributes: Attributes) -> Decision:
    """A kubelet reads its own Node; whose it writes is NodeRestriction's matter."""
    verb, name = attributes.verb, attributes.name
    if attributes.subresource == "status":
        return Decision(allowed=verb in ("update", "patch"))
    if attributes.subresource or verb not in (*READ_VERBS, "create", "update", "patch"):
        return NO_OPINION
    if verb not in READ_VERBS or name == node:
        return ALLOWED
    what = f"'{name}'" if name else "all nodes"
    return _no(f"node '{node}' cannot read {what}, only its own Node object")


def _leases(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in OWN_VERBS:
        return _no("can only get, create, update, patch, or delete a node lease")
    if attributes.namespace != LEASE_NAMESPACE:
        return _no(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if attributes.verb != "create" and attributes.name != node:
        return _no("can only access node lease with the same name as the requesting node")
    return ALLOWED


def _csi_nodes(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in OWN_VERBS:
        return _no("can only get, create, update, patch, or delete a CSINode")
    if attributes.subresource:
        return _no("cannot authorize CSINode subresources")
    if attributes.verb != "create" and attributes.name != node:
        return _no("can only access CSINode with the same name as the requesting node")
    return ALLOWED
