"""A kubelet writes its own node and its own pods, and nothing else.

Which requests a kubelet may make at all is the Node authoriser's matter; here it is about what
is in them. Texts are those of upstream's `plugin/pkg/admission/noderestriction`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.certificates import CERTIFICATESIGNINGREQUESTS
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
)
from minikube_py.api.core.pod_references import MIRROR, references_of
from minikube_py.api.errors import NotFoundError
from minikube_py.api.fields import quote
from minikube_py.api.object import Key, Obj, annotations_of, get, labels_of, owners_of, without
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import RESOURCESLICES
from minikube_py.api.storage import CSIDRIVERS, CSINODES
from minikube_py.client.protocol import Lister
from minikube_py.server.admission import node_restriction_objects as objects
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin, Attributes, Authorizer
from minikube_py.server.authz.node import node_of

CLAIM_STATUS = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
"""What a kubelet writes of a claim, once it has grown the volume's file system."""


class NodeRestriction(AdmissionPlugin):
    """Holds kubelets to what is theirs."""

    name = "NodeRestriction"

    def __init__(self, lister: Callable[[Resource], Lister], authorizer: Authorizer) -> None:
        self._pods, self._nodes = lister(PODS), lister(NODES)
        self._audiences = Audiences(lister, authorizer)
        self._checks: Mapping[object, Callable[[str, Admission], None]] = {
            PODS: self._pod,
            NODES: objects.check_node,
            PERSISTENTVOLUMECLAIMS: _claim,
            SERVICEACCOUNTS: self._token,
            LEASES: objects.check_lease,
            CSINODES: objects.check_csi_node,
            RESOURCESLICES: objects.check_slice,
            CERTIFICATESIGNINGREQUESTS: objects.check_signing_request,
        }

    async def admit(self, admission: Admission) -> Obj | None:
        """Check a create or update before anything else is filled in."""
        self._check(admission)
        return admission.obj

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check a delete, which nothing is filled into."""
        if admission.operation == "DELETE":
            self._check(admission)
        return ()

    def _check(self, admission: Admission) -> None:
        if admission.operation == "CONNECT":
            return
        is_node, node = node_of(admission.user)
        if not is_node:
            return
        if not node:
            user = admission.user.name
            raise forbidden(admission, f'could not determine node from user "{user}"')
        check = self._checks.get(admission.resource)
        if check is not None:
            check(node, admission)

    # Pods

    def _pod(self, node: str, admission: Admission) -> None:
        if admission.subresource == "":
            self._pod_itself(node, admission)
        elif admission.subresource == "status":
            _pod_status(node, admission)
        elif admission.subresource == "eviction":
            if get(self._existing(admission), "spec.nodeName") != node:
                text = f"node {node} can only evict pods with spec.nodeName set to itself"
                raise forbidden(admission, text)
        else:
            raise forbidden(
                admission,
                f'unexpected pod subresource "{admission.subresource}", '
                "only 'status' and 'eviction' are allowed",
            )

    def _pod_itself(self, node: str, admission: Admission) -> None:
        if admission.operation == "CREATE":
            self._mirror_pod(node, admission, admission.obj or {})
        elif admission.operation == "DELETE":
            pod = admission.old or self._existing(admission)
            if get(pod, "spec.nodeName") != node:
                text = f'node "{node}" can only delete pods with spec.nodeName set to itself'
                raise forbidden(admission, text)
        else:
            raise forbidden(
                admission,
                f'unexpected operation "{admission.operation}", node "{node}" can only create and '
                "delete mirror pods",
            )

    def _existing(self, admission: Admission) -> Obj:
        name = admission.name or get(admission.obj, "metadata.name", "")
        pod = self._pods.get(Key(admission.namespace, name))
        if pod is None:
            raise NotFoundError(f'pods "{name}" not found', details={"name": name, "kind": "pods"})
        return pod

    def _mirror_pod(self, node: str, admission: Admission, pod: Obj) -> None:
        if MIRROR not in annotations_of(pod):
            raise forbidden(
                admission,
                f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror '
                "pods",
            )
        if get(pod, "spec.nodeName") != node:
            raise forbidden(
                admission, f'node "{node}" can only create pods with spec.nodeName set to itself'
            )
        self._check_owner(node, admission, pod)
        if get(pod, "spec.serviceAccountName"):
            raise forbidden(
                admission, f'node "{node}" can not create pods that reference a service account'
            )
        for what in _foreign(pod):
            raise forbidden(admission, f'node "{node}" can not create pods that reference {what}')

    def _check_owner(self, node: str, admission: Admission, pod: Obj) -> None:
        owners = owners_of(pod)
        can = f'node "{node}" can only create pods with'
        if len(owners) > 1:
            raise forbidden(admission, f"{can} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise forbidden(admission, f"{can} an owner reference set to itself")
        if not owner.get("controller"):
            raise forbidden(admission, f"{can} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            text = f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            raise forbidden(admission, text)
        found = self._nodes.get(Key("", node))
        if found is None:
            details = {"name": node, "kind": "nodes"}
            raise NotFoundError(f'nodes "{node}" not found', details=details)
        uid, given = get(found, "metadata.uid", ""), owner.get("uid", "")
        if uid != given:
            raise forbidden(admission, f"node {node} UID mismatch: expected {given} got {uid}")

    # Tokens

    def _token(self, node: str, admission: Admission) -> None:
        """A kubelet asks for tokens only for the pods that run on it."""
        if admission.subresource != "token" or admission.operation != "CREATE":
            return
        reference: Any = get(admission.obj, "spec.boundObjectRef", {})
        if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not (
            reference.get("name")
        ):
            raise forbidden(admission, "node requested token not bound to a pod")
        if not reference.get("uid"):
            raise forbidden(admission, "node requested token with a pod binding without a uid")
        name = reference["name"]
        pod = self._pods.get(Key(admission.namespace, name))
        if pod is None:
            raise NotFoundError(f'pods "{name}" not found', details={"name": name, "kind": "pods"})
        if reference["uid"] != get(pod, "metadata.uid"):
            raise forbidden(
                admission,
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                "UID in record. The object might have been deleted and then recreated",
            )
        if get(pod, "spec.nodeName") != node:
            raise forbidden(
                admission, "node requested token bound to a pod scheduled on a different node"
            )
        self._audiences.check(admission, pod)


def _pod_status(node: str, admission: Admission) -> None:
    if admission.operation != "UPDATE":
        raise forbidden(admission, f'unexpected operation "{admission.operation}"')
    new, old = admission.obj or {}, admission.old or {}
    if get(old, "spec.nodeName") != node:
        text = "can only update pod status for pods with spec.nodeName set to itself"
        raise forbidden(admission, f'node "{node}" {text}')
    if labels_of(new) != labels_of(old):
        raise forbidden(admission, f'node "{node}" cannot update labels through pod status')
    claims = "status.resourceClaimStatuses"
    if (get(new, claims) or []) != (get(old, claims) or []):
        raise forbidden(admission, f'node "{node}" cannot update resource claim statues')


def _foreign(pod: Obj) -> Iterator[str]:
    """Yield the kinds of objects that a pod refers to, although its node makes it itself."""
    found = references_of(without(pod, "metadata.annotations"))
    if found.secrets:
        yield "secrets"
    if found.configmaps:
        yield "configmaps"
    volumes: Sequence[Obj] = get(pod, "spec.volumes", ())
    sources = [source for v in volumes for source in get(v, "projected.sources", ())]
    if any(source.get("clusterTrustBundle") is not None for source in sources):
        yield "clustertrustbundles"
    if any(volume.get("persistentVolumeClaim") is not None for volume in volumes):
        yield "persistentvolumeclaims"


def _claim(node: str, admission: Admission) -> None:
    if admission.subresource != "status":
        raise forbidden(admission, "may only update PVC status")
    if admission.operation != "UPDATE":
        raise forbidden(admission, f'unexpected operation "{admission.operation}"')
    if _compared(admission.obj) != _compared(admission.old):
        text = "is not allowed to update fields other than status.quantity and status.conditions"
        raise forbidden(admission, f'node "{node}" {text}')


def _compared(claim: Obj | None) -> Obj:
    """Return a claim without what its kubelet may change."""
    claim = claim or {}
    for field in CLAIM_STATUS:
        claim = without(claim, f"status.{field}")
    claim = without(claim, "metadata.resourceVersion")
    return without(claim, "metadata.managedFields")


class Audiences:
    """For whom a kubelet may ask for tokens: those that its pods' volumes name."""

    def __init__(self, lister: Callable[[Resource], Lister], authorizer: Authorizer) -> None:
        self._drivers = lister(CSIDRIVERS)
        self._claims, self._volumes = lister(PERSISTENTVOLUMECLAIMS), lister(PERSISTENTVOLUMES)
        self._authorizer = authorizer

    def check(self, admission: Admission, pod: Obj) -> None:
        """Refuse a token for an audience that neither the pod names nor an administrator allows."""
        audiences: Sequence[str] = get(admission.obj, "spec.audiences", ())
        if len(audiences) > 1:
            raise forbidden(admission, "node may only request 0 or 1 audiences")
        audience = audiences[0] if audiences else ""
        if audience in self._named(pod):
            return
        asked = Attributes(
            user=admission.user,
            verb="request-serviceaccounts-token-audience",
            version="v1",
            resource=audience,
            namespace=admission.namespace,
            name=admission.name,
        )
        if not self._authorizer.authorize(asked).allowed:
            raise forbidden(
                admission,
                f"audience {quote(audience)} not found in pod spec volume, "
                f"{admission.user.name} is not authorized to request tokens for this audience",
            )

    def _named(self, pod: Obj) -> Iterator[str]:
        for volume in get(pod, "spec.volumes", ()):
            for source in get(volume, "projected.sources", ()):
                if source.get("serviceAccountToken") is not None:
                    yield get(source, "serviceAccountToken.audience", "")
            yield from self._of_driver(get(volume, "csi.driver", ""))
            claim = get(volume, "persistentVolumeClaim.claimName", "")
            if volume.get("ephemeral") is not None:
                claim = f"{pod['metadata']['name']}-{volume['name']}"
            if claim:
                found = self._claims.get(Key(pod["metadata"]["namespace"], claim))
                bound = self._volumes.get(Key("", get(found, "spec.volumeName", "")))
                yield from self._of_driver(get(bound, "spec.csi.driver", ""))

    def _of_driver(self, name: str) -> Iterator[str]:
        driver = self._drivers.get(Key("", name)) if name else None
        for request in get(driver, "spec.tokenRequests", ()):
            yield request.get("audience", "")
