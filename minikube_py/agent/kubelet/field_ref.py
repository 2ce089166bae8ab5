"""What a pod may learn of itself: fields of its own object and the resources of its containers."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

from minikube_py.agent.kubelet.pod import find_spec
from minikube_py.api import quantity
from minikube_py.api.object import Obj, annotations_of, get, labels_of, uid_of

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class FieldRefError(Exception):
    """A reference leads nowhere; the message is upstream's."""


def format_map(values: Mapping[str, str]) -> str:
    """Return labels or annotations as a file has them: one sorted `key="value"` a line."""
    return "\n".join(f"{key}={_quote(values[key])}" for key in sorted(values))


def _quote(text: str) -> str:
    # Go quotes like JSON in all that matters, but leaves letters of other scripts as they are.
    return json.dumps(text, ensure_ascii=False)


Runtime = Mapping[str, str | Sequence[str]]
"""Fields that the kubelet knows before they stand in the object: status.podIP and the like."""

_SIMPLE: Mapping[str, Callable[[Obj], str]] = {
    "metadata.name": lambda pod: str(pod["metadata"]["name"]),
    "metadata.namespace": lambda pod: str(pod["metadata"].get("namespace", "")),
    "metadata.uid": uid_of,
    "metadata.labels": lambda pod: format_map(labels_of(pod)),
    "metadata.annotations": lambda pod: format_map(annotations_of(pod)),
    "spec.nodeName": lambda pod: str(get(pod, "spec.nodeName", "")),
    "spec.serviceAccountName": lambda pod: str(get(pod, "spec.serviceAccountName", "")),
}


def field_value(pod: Obj, path: str, known: Runtime) -> str:
    """Return the text of a field; raises FieldRefError for one that is not offered."""
    if path in known:
        value = known[path]
        return value if isinstance(value, str) else ",".join(value)
    if path in _SIMPLE:
        return _SIMPLE[path](pod)
    if match := _SUBSCRIPT.fullmatch(path):
        values = labels_of(pod) if match[1] == "labels" else annotations_of(pod)
        return values.get(match[2], "")
    raise FieldRefError(f"unsupported fieldPath: {path}")


def resource_value(pod: Obj, container_name: str, ref: Obj, allocatable: Mapping[str, str]) -> str:
    """Return a limit or request of a container in units of the divisor, rounded up.

    A limit that is not set is what the node has to give.
    """
    name = ref.get("containerName") or container_name
    spec = find_spec(pod, name)
    if spec is None:
        raise FieldRefError(f"container {name} not found")
    which, _, resource = str(ref["resource"]).partition(".")
    if which not in ("limits", "requests"):
        raise FieldRefError(f"unsupported container resource : {ref['resource']}")
    text = get(spec.container, ("resources", which, resource))
    if text is None:
        text = allocatable.get(resource, "0") if which == "limits" else "0"
    amount = quantity.parse(str(text)).nanos
    divisor = quantity.parse(str(ref.get("divisor") or "0")).nanos or quantity.NANO
    return str(-(-amount // divisor))
