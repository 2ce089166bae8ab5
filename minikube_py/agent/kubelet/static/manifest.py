"""From a manifest to a static pod: pure.

A static pod is the node's own: its name ends in the node's, its uid is a hash of what it is and
where it comes from, so that a changed manifest is another pod. It may need nothing of the API but
what the node can do by itself. The rules are those of kubelet's config sources.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import yaml

from minikube_py.api import metadata, schema_check
from minikube_py.api import yaml as api_yaml
from minikube_py.api.core import PODS
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, annotations_of, get
from minikube_py.api.schema_report import DecodeError

SOURCE, HASH = "kubernetes.io/config.source", "kubernetes.io/config.hash"
MIRROR = "kubernetes.io/config.mirror"
SIZE_MAX = 10 << 20
"""Bytes of a manifest."""
ERRORS_SHOWN_MAX = 8


class ManifestError(Exception):
    """A manifest is no pod that this node can run; the message says why."""


def is_static(pod: Obj) -> bool:
    """Tell whether a pod comes from a file or a URL."""
    return annotations_of(pod).get(SOURCE, "api") != "api"


def mirror_hash(pod: Obj) -> str:
    """Return which static pod a pod of the cluster stands for, "" where it is a pod of its own."""
    return annotations_of(pod).get(MIRROR, "")


def static_pods(data: bytes, source: str, origin: str, node_name: str) -> list[Obj]:
    """Return the pods of a manifest: a Pod or a PodList, as YAML or JSON.

    `source` is `file` or `http`, `origin` the path or URL.

    Raises:
        ManifestError: it is neither, or a pod of it cannot run here.

    """
    if len(data) > SIZE_MAX:
        raise ManifestError(f"the manifest is larger than {SIZE_MAX} bytes")
    try:
        document = api_yaml.load(data)
    except (ValueError, yaml.YAMLError) as error:
        raise ManifestError(api_yaml.error_text(error)) from None
    if not isinstance(document, dict) or document.get("apiVersion") != "v1":
        raise ManifestError('the manifest must be an object of apiVersion "v1"')
    if document.get("kind") == "PodList":
        items = document.get("items") or ()
        return [_static(item, source, origin, node_name) for item in items]
    if document.get("kind") != "Pod":
        raise ManifestError(f"a manifest holds a Pod or a PodList, not {document.get('kind')!r}")
    return [_static(document, source, origin, node_name)]


def _static(document: Any, source: str, origin: str, node_name: str) -> Obj:
    pod = _decoded(document)
    named = pod.get("metadata") or {}
    if not named.get("name"):
        raise ManifestError("metadata.name: Required value")
    uid = str(named.get("uid") or _hash(pod, origin, node_name))
    annotations = {**(named.get("annotations") or {}), SOURCE: source, HASH: uid}
    spec = pod.get("spec") or {}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **named,
            "name": f"{named['name']}-{node_name}".lower(),
            "namespace": named.get("namespace") or "default",
            "uid": uid,
            "annotations": annotations,
        },
        "spec": {
            **spec,
            "nodeName": node_name,
            # The node itself decides whether its pods run, not a taint.
            "tolerations": [
                *(spec.get("tolerations") or ()),
                {"operator": "Exists", "effect": "NoExecute"},
            ],
        },
        "status": {"phase": "Pending"},
    }
    return _checked(pod)


def _decoded(document: Any) -> Obj:
    kind = PODS.type
    if kind is None or not isinstance(document, dict):
        raise ManifestError("an item of the list is not an object")
    try:
        return schema_check.check(kind, document).obj
    except DecodeError as error:
        raise ManifestError(str(error)) from None


def _hash(pod: Obj, origin: str, node_name: str) -> str:
    text = orjson.dumps([node_name, origin, pod], option=orjson.OPT_SORT_KEYS)
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _checked(pod: Obj) -> Obj:
    try:
        pod = PODS.default(pod)
        wrong = [*metadata.validate_create(pod, PODS, custom=False), *PODS.validate(pod, None)]
    except StatusError as error:
        raise ManifestError(str(error)) from None
    if wrong:
        raise ManifestError("; ".join(map(str, wrong[:ERRORS_SHOWN_MAX])))
    for what in needs_of(pod):
        raise ManifestError(f"static pods may not reference {what}")
    return pod


def needs_of(pod: Obj) -> Iterator[str]:
    """Yield the kinds of objects of the cluster that a pod could not run without."""
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        yield "serviceaccounts"
    if spec.get("imagePullSecrets"):
        yield "secrets"
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    for volume in spec.get("volumes") or ():
        for part in (volume, *(get(volume, "projected.sources") or ())):
            yield from (name for key, name in VOLUME_NEEDS.items() if key in part)
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        given = [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
        for source in (*(container.get("envFrom") or ()), *given):
            yield from (name for key, name in ENV_NEEDS.items() if key in source)


VOLUME_NEEDS = {
    "configMap": "configmaps",
    "secret": "secrets",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims",
    "serviceAccountToken": "serviceaccounts",
    "clusterTrustBundle": "clustertrustbundles",
}
ENV_NEEDS = {
    "configMapRef": "configmaps",
    "configMapKeyRef": "configmaps",
    "secretRef": "secrets",
    "secretKeyRef": "secrets",
}
