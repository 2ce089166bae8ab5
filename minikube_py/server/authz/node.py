"""The Node authoriser: a kubelet reads only what the pods on its node refer to.

Upstream keeps a graph of all pods; here the pods of the node are asked when a kubelet asks, found
by the field that the cache keeps beside each pod. Kubelets ask about once per pod start, so
keeping a graph for every pod change would cost more.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.api.core.pod_references import References, references_of, secrets_of
from minikube_py.api.item import Item
from minikube_py.api.networking.ingress_ours import is_ours
from minikube_py.api.networking.ingress_ours import secrets_of as ingress_secrets_of
from minikube_py.api.object import Key, get
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Attributes, Decision, User
from minikube_py.server.authz.policy import Rule, compile_rule
from minikube_py.server.authz.rbac import NO_OPINION

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
    slices: Lister
    ingress_secrets: Callable[[str], Collection[str]] = lambda _namespace: ()
    """The secrets of a namespace that ingresses which nodes serve take certificates from."""


class IngressSecrets:
    """The secrets that nodes may read because ingresses that they serve name them."""

    def __init__(self, ingresses: Lister, classes: Lister) -> None:
        self._ingresses = ingresses
        self._classes = classes

    def of(self, namespace: str) -> Collection[str]:
        """Return the names of the secrets of a namespace that hold certificates of ingresses."""
        return {
            name
            for item in self._ingresses.items(namespace)
            if is_ours(item.obj, self._classes.get)
            for name in ingress_secrets_of(item.obj)
        }


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
            ("resource.k8s.io", "resourceclaims"): self._get,
            ("resource.k8s.io", "resourceslices"): self._slices,
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
        if attributes.subresource != "status":
            return self._get(node, attributes)
        if attributes.verb not in ("get", "update", "patch"):
            return _no("can only get/update/patch this type")
        return self._related(node, attributes)

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
            if attributes.field_selector.exact("spec.nodeName") == node:
                return ALLOWED
            if attributes.name:
                return self._related(node, attributes)
            return _no("can only list/watch pods with spec.nodeName field selector")
        verbs = {"": ("create", "delete"), "status": ("update", "patch"), "eviction": ("create",)}
        return Decision(allowed=verb in verbs.get(subresource, ()))

    def _slices(self, node: str, attributes: Attributes) -> Decision:
        """A kubelet has the slices of its own node; what it creates is NodeRestriction's matter."""
        verb = attributes.verb
        if attributes.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if verb == "create":
            return ALLOWED
        if verb in OWN_VERBS:
            return self._related(node, attributes)
        if verb not in ("watch", "list", "deletecollection"):
            return _no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, "
                "create, update, patch, delete, deletecollection"
            )
        if attributes.field_selector.exact("spec.nodeName") == node:
            return ALLOWED
        return _no(
            "can only list/watch/deletecollection resourceslices with nodeName field selector"
        )

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return _no("No Object name found")
        if self._is_related(node, attributes):
            return ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _is_related(self, node: str, attributes: Attributes) -> bool:
        of_cluster: Mapping[str, Callable[[str, str], bool]] = {
            "volumeattachments": self._has_attachment,
            "persistentvolumes": self._has_volume,
            "resourceslices": self._has_slice,
        }
        name, namespace = attributes.name, attributes.namespace
        if attributes.resource in of_cluster:
            return of_cluster[attributes.resource](node, name)
        if attributes.resource == "pods":
            return any(pod.key.name == name for pod in self._pods_of(node, namespace))
        refers: Mapping[str, Callable[[References], bool]] = {
            "serviceaccounts": lambda ref: ref.service_account == name,
            "persistentvolumeclaims": lambda ref: name in ref.claims,
            "resourceclaims": lambda ref: name in ref.resource_claims,
            "configmaps": lambda ref: name in ref.configmaps,
            "secrets": lambda ref: name in ref.secrets,
        }
        is_meant = refers[attributes.resource]
        if any(is_meant(ref) for _, ref in self._refs(node, namespace)):
            return True
        if attributes.resource != "secrets":
            return False
        if self._has_secret(node, (namespace, name)):
            return True
        return name in self._listers.ingress_secrets(namespace)

    def _has_attachment(self, node: str, name: str) -> bool:
        return bool(get(self._listers.attachments.get(Key("", name)), "spec.nodeName") == node)

    def _has_slice(self, node: str, name: str) -> bool:
        return bool(get(self._listers.slices.get(Key("", name)), "spec.nodeName") == node)

    def _has_volume(self, node: str, name: str) -> bool:
        """A volume belongs to a node by the claim that it is bound to."""
        claim = get(self._listers.volumes.get(Key("", name)), "spec.claimRef") or {}
        namespace, claim_name = claim.get("namespace", ""), claim.get("name", "")
        return any(claim_name in ref.claims for _, ref in self._refs(node, namespace))

    def _has_secret(self, node: str, secret: tuple[str, str]) -> bool:
        """Tell whether a volume of a pod on the node needs a secret, of whichever namespace."""
        return any(
            secret in self._volume_secrets(Key(namespace, claim))
            for namespace, ref in self._refs(node, "")
            for claim in ref.claims
        )

    def _volume_secrets(self, claim: Key) -> frozenset[tuple[str, str]]:
        """Return the secrets of the volume that a claim is bound to; it must say so too."""
        name = get(self._listers.claims.get(claim), "spec.volumeName", "")
        volume = self._listers.volumes.get(Key("", name)) if name else None
        bound = get(volume, "spec.claimRef") or {}
        if volume is None or (bound.get("namespace"), bound.get("name")) != claim:
            return frozenset()
        return secrets_of(volume)

    def _pods_of(self, node: str, namespace: str) -> Iterator[Item]:
        for item in self._listers.pods.items(namespace):
            if item.fields.get("spec.nodeName") == node:
                yield item

    def _refs(self, node: str, namespace: str) -> Iterator[tuple[str, References]]:
        for item in self._pods_of(node, namespace):
            key = (item.uid, item.revision)
            found = self._references.get(key)
            if found is None:
                found = self._references[key] = references_of(item.obj)
                if len(self._references) > REFERENCES_MAX:
                    self._references.popitem(last=False)
            yield item.key.namespace, found


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
